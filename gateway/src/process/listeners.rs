//! The listeners of a gateway, and the certificate that SIGHUP reloads.

use tokio::net::TcpListener;
use tokio::signal::unix::Signal;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tracing::{error, info};

use super::start_error::StartError;
use crate::config::GatewayConfig;
use crate::http::{Certificate, TlsError};

/// The bound listeners of a gateway.
pub struct Listeners {
    pub(super) s3: TcpListener,
    pub(super) tls: Option<(TlsAcceptor, Certificate)>,
    pub(super) admin: TcpListener,
}

impl Listeners {
    /// Binds both listeners, before anything slow happens: a taken address is told at once.
    pub async fn bind(config: &GatewayConfig) -> Result<Self, StartError> {
        let bind = async |address| {
            TcpListener::bind(address)
                .await
                .map_err(|source| StartError::Bind { address, source })
        };
        Ok(Self {
            tls: tls_of(config)?,
            s3: bind(config.listen).await?,
            admin: bind(config.admin_listen).await?,
        })
    }

    /// Base URL of the S3 listener, with the port that the system chose where 0 was asked for.
    pub fn endpoint(&self) -> String {
        url_of(&self.s3, if self.tls.is_some() { "https" } else { "http" })
    }

    /// Base URL of the admin listener.
    pub fn admin_endpoint(&self) -> String {
        url_of(&self.admin, "http")
    }
}

fn tls_of(config: &GatewayConfig) -> Result<Option<(TlsAcceptor, Certificate)>, TlsError> {
    let (Some(chain), Some(key)) = (&config.tls_cert, &config.tls_key) else {
        return Ok(None);
    };
    let certificate = Certificate::load(chain, key)?;
    Ok(Some((certificate.acceptor()?, certificate)))
}

/// Reads the certificate anew at each SIGHUP, which ends nothing.
pub(super) async fn reload_on_hangup(
    mut hangup: Signal,
    certificate: Option<Certificate>,
    mut stopped: watch::Receiver<()>,
) {
    loop {
        tokio::select! {
            _ = stopped.changed() => return,
            _ = hangup.recv() => {}
        }
        match certificate.as_ref().map(Certificate::reload) {
            Some(Ok(())) => info!("TLS certificate reloaded; new connections get it"),
            Some(Err(failure)) => {
                error!(%failure, "cannot reload the TLS certificate; keeping the current one");
            }
            None => info!("SIGHUP received; TLS is not configured, nothing to reload"),
        }
    }
}

fn url_of(listener: &TcpListener, scheme: &str) -> String {
    match listener.local_addr() {
        Ok(address) => format!("{scheme}://{address}"),
        Err(error) => format!("unknown address ({error})"),
    }
}
