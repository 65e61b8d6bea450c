//! The life of a gateway once its parts are there: serve both listeners until told to stop, then drain.

use tokio::sync::watch;
use tracing::{info, warn};

use super::assemble::{Parts, Reports, admin_parts, job_parts, outbox_and_inbox, s3_server};
use super::listeners::{Listeners, reload_on_hangup};
use crate::admin::AdminServer;
use crate::config::GatewayConfig;
use crate::http::{ListenerLimits, serve_connections};
use crate::jobs::run_jobs;
use crate::signals::{Signals, StopSignals};

/// Serves until SIGINT or SIGTERM, then drains.
pub async fn run(
    listeners: Listeners,
    Signals {
        stop: stop_signals,
        hangup,
    }: Signals,
    mut parts: Parts,
    config: &GatewayConfig,
) {
    let reports = Reports::default();
    let admin = AdminServer::new(admin_parts(&parts, &reports, config));
    let (stop, stopped) = watch::channel(());
    let (outbox, inbox) = outbox_and_inbox();
    let jobs = run_jobs(
        job_parts(&mut parts, reports, inbox, config),
        &config.jobs,
        stopped.clone(),
    );
    let s3 = s3_server(parts, outbox, config);
    let stopping = |mut stopped: watch::Receiver<()>| async move {
        let _ = stopped.changed().await;
    };
    let limits = ListenerLimits::default();
    let (tls, certificate) = listeners.tls.unzip();
    let reloads = reload_on_hangup(hangup, certificate, stopped.clone());
    let serve_s3 = serve_connections(
        listeners.s3,
        tls,
        limits,
        move |request| {
            let s3 = s3.clone();
            async move { s3.handle(request).await }
        },
        stopping(stopped.clone()),
    );
    let serve_admin = serve_connections(
        listeners.admin,
        None,
        limits,
        move |request| {
            let admin = admin.clone();
            async move { admin.handle(request).await }
        },
        stopping(stopped),
    );
    tokio::join!(
        serve_s3,
        serve_admin,
        jobs,
        reloads,
        announce_stop(stop_signals, stop)
    );
}

/// Closes `stop` at the first signal; ends the process at the second.
async fn announce_stop(mut signals: StopSignals, stop: watch::Sender<()>) {
    signals.next().await;
    info!("stopping: no new requests; waiting for those under way; a second signal ends it now");
    drop(stop);
    tokio::spawn(async move {
        signals.next().await;
        warn!("stopped by a second signal");
        std::process::exit(1);
    });
}
