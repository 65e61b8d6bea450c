//! `gateway serve`: this gateway over separate chunk servers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chunkproto::Durability;
use metastore::{RocksMetastore, RocksOptions};

use crate::chunks::{HttpTransport, WriterSettings};
use crate::cluster::{Membership, NodeTimeouts, learn_phases, remember_nodes};
use crate::config::{MetadataUrl, ServeConfig};
use crate::data_dir::{self, DirectoryKind};
use crate::keys;
use crate::keys::RootKeys;
pub use crate::process::StartError;
use crate::process::{self, Database, Listeners, Parts};
use crate::signals::Signals;

/// Directory of the database inside the metadata directory; keys stand beside it.
pub(crate) const DATABASE_DIR: &str = "metadata";

/// Runs the gateway until SIGINT or SIGTERM.
///
/// # Errors
/// Whatever keeps it from starting, in a sentence that says what to do.
pub async fn run(config: ServeConfig) -> Result<(), StartError> {
    let listeners = Listeners::bind(&config.gateway).await?;
    let MetadataUrl::RocksDb(dir) = &config.metadata;
    data_dir::claim(dir, DirectoryKind::Metadata)?;
    let metastore = open_metastore(&dir.join(DATABASE_DIR), config.gateway.durability)?;
    let keys = keys::root_keys(dir, process::given_keys(&config.gateway))?;
    let secret = keys::cluster_secret(dir, config.cluster_secret.clone())?;

    let key_ring = process::key_ring(&config.gateway, dir)?;
    process::load_users(&config.gateway, metastore.as_ref(), &key_ring).await?;

    let membership = Arc::new(Membership::new(NodeTimeouts {
        down_after: Duration::from_secs(config.gateway.jobs.node_down_after),
        ..NodeTimeouts::default()
    }));
    learn_phases(metastore.as_ref(), &membership).await?;
    remember_nodes(metastore.as_ref(), &membership).await?;
    let transport = HttpTransport::new(Arc::clone(&membership), &secret)
        .map_err(|error| StartError::Unfit(format!("the HTTP client cannot be set up: {error}")))?;
    let signals = Signals::watch().map_err(StartError::Signals)?;
    announce(&listeners, dir, &keys);
    let parts = Parts {
        database: Database::Shipped(metastore.backup()),
        metastore,
        transport: Arc::new(transport),
        membership,
        keys,
        secret,
        key_ring,
        keys_dir: dir.clone(),
        writer: WriterSettings {
            replicas: config.replicas,
            write_quorum: config.write_quorum,
            finish_within: config.gateway.jobs.write_time_max(),
        },
    };
    Box::pin(process::run(listeners, signals, parts, &config.gateway)).await;
    Ok(())
}

/// Opens the database of a gateway. Says so, if it is not to be trusted with data.
pub(crate) fn open_metastore(
    path: &Path,
    durability: Durability,
) -> Result<Arc<RocksMetastore>, StartError> {
    if let Some(warning) = durability.warning() {
        tracing::warn!("{warning}");
    }
    let options = RocksOptions {
        durability,
        ..RocksOptions::default()
    };
    Ok(Arc::new(RocksMetastore::open_with(path, &options)?))
}

#[expect(
    clippy::print_stdout,
    reason = "the welcome is for the person at the terminal"
)]
fn announce(listeners: &Listeners, dir: &Path, keys: &RootKeys) {
    println!(
        "Sextant is ready at {} (admin: {}) for access key {}; secrets are kept in {}",
        listeners.endpoint(),
        listeners.admin_endpoint(),
        keys.access_key,
        dir.display(),
    );
}
