//! The parts of a standalone gateway, put together.

use std::sync::Arc;
use std::time::Duration;

use chunkd::scrub::ScrubSettings;
use tracing::info;

use super::known;
use super::stores::Stores;
use crate::chunks::WriterSettings;
use crate::cluster::{Membership, NodeTimeouts};
use crate::config::{GatewayConfig, StandaloneConfig};
use crate::data_dir::{self, DirectoryKind};
use crate::keys;
use crate::keys::RootKeys;
use crate::process::{self, Database, Listeners, Parts, StartError};
use crate::serve::{DATABASE_DIR, open_metastore};
use crate::signals::Signals;

/// Runs everything until SIGINT or SIGTERM.
///
/// # Errors
/// Whatever keeps it from starting, in a sentence that says what to do.
pub async fn run(config: StandaloneConfig) -> Result<(), StartError> {
    let listeners = Listeners::bind(&config.gateway).await?;
    data_dir::claim(&config.data, DirectoryKind::Standalone)?;
    let keys = keys::root_keys(&config.data, process::given_keys(&config.gateway))?;
    let secret = keys::cluster_secret(&config.data, None)?;
    let (durability, database) = (config.gateway.durability, config.data.join(DATABASE_DIR));
    let metastore = open_metastore(&database, durability)?;
    let key_ring = process::key_ring(&config.gateway, &config.data)?;
    process::load_users(&config.gateway, metastore.as_ref(), &key_ring).await?;
    let present = || Stores::present(&config.data).max(config.replicas);
    let stores = Stores::open(
        &config.data,
        config.nodes.unwrap_or_else(present),
        durability,
    )?;
    let membership = Arc::new(Membership::new(NodeTimeouts {
        down_after: Duration::from_secs(config.gateway.jobs.node_down_after),
        ..NodeTimeouts::default()
    }));
    let ids: Vec<_> = stores
        .registrations()
        .iter()
        .map(|store| store.node_id)
        .collect();
    known::remember(&ids, &config.data, &membership, metastore.as_ref()).await?;
    stores.register(&membership, metastore.as_ref()).await?;
    let care = stores.look_after(&membership, scrub_settings(&config));
    // On the disk of the metadata itself a backup would be worth nothing.
    let database = if stores.are_apart_from(&database) {
        info!("the chunk stores are on other disks than the metadata, and keep its backup");
        Database::Shipped(metastore.backup())
    } else {
        Database::Saved(metastore.backup())
    };

    let signals = Signals::watch().map_err(StartError::Signals)?;
    announce(&listeners, &config.gateway, &keys);
    let parts = Parts {
        database,
        metastore,
        transport: stores.transport(),
        membership,
        keys,
        secret,
        key_ring,
        keys_dir: config.data.clone(),
        writer: WriterSettings {
            replicas: config.replicas,
            write_quorum: None,
            finish_within: config.gateway.jobs.write_time_max(),
        },
    };
    Box::pin(process::run(listeners, signals, parts, &config.gateway)).await;
    drop(care);
    stores.close().await;
    Ok(())
}

/// How the stores are scrubbed, if they are.
fn scrub_settings(config: &StandaloneConfig) -> Option<ScrubSettings> {
    (config.scrub_period > 0).then(|| ScrubSettings {
        period: Duration::from_secs(config.scrub_period),
        rate_max_bytes_per_s: u64::from(config.scrub_rate_mib) << 20,
    })
}

#[expect(
    clippy::print_stdout,
    reason = "the welcome is for the person at the terminal"
)]
fn announce(listeners: &Listeners, config: &GatewayConfig, keys: &RootKeys) {
    let endpoint = listeners.endpoint();
    // A secret that was given is known to whoever gave it, and has no place in their logs.
    let secret = match config.secret_key {
        Some(_) => "<the secret key that you set>",
        None => &keys.secret_key,
    };
    println!(
        "Sextant is ready at {endpoint} (admin: {admin})\n\n\
         Paste into another terminal:\n\n  \
         export AWS_ACCESS_KEY_ID={access}\n  \
         export AWS_SECRET_ACCESS_KEY={secret}\n  \
         export AWS_DEFAULT_REGION={region}\n  \
         export AWS_ENDPOINT_URL={endpoint}\n  \
         aws s3 mb s3://my-bucket\n  \
         echo 'hello, world' | aws s3 cp - s3://my-bucket/hello.txt\n  \
         aws s3 cp s3://my-bucket/hello.txt -\n  \
         aws s3 ls s3://my-bucket\n\n\
         Stop with Ctrl-C.\n",
        admin = listeners.admin_endpoint(),
        access = keys.access_key,
        region = config.region,
    );
}
