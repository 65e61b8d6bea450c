//! `gateway serve`: this gateway over separate chunk servers.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use chunkproto::{Durability, Heartbeat, Registration};
use metastore::{Metastore as _, NodeRow, RocksMetastore, RocksOptions};
use uuid::Uuid;

use crate::chunks::{HttpTransport, WriterSettings};
use crate::cluster::{Membership, Patience, learn_phases};
use crate::config::{MetadataUrl, ServeConfig};
use crate::data_dir::{self, Purpose};
use crate::keys;
pub use crate::process::StartError;
use crate::process::{self, Listeners, Parts};
use crate::s3::RootKeys;

/// Directory of the database inside the metadata directory; keys stand beside it.
pub(crate) const DATABASE_DIR: &str = "metadata";

/// Runs the gateway until SIGINT or SIGTERM.
///
/// # Errors
/// Whatever keeps it from starting, in a sentence that says what to do.
pub async fn run(config: ServeConfig) -> Result<(), StartError> {
    let listeners = Listeners::bind(&config.gateway).await?;
    let MetadataUrl::RocksDb(dir) = &config.metadata;
    data_dir::claim(dir, Purpose::Metadata)?;
    let metastore = open_metastore(&dir.join(DATABASE_DIR), config.gateway.durability)?;
    let keys = keys::root_keys(dir, process::given_keys(&config.gateway))?;
    let secret = keys::cluster_secret(dir, config.cluster_secret.clone())?;

    let key_ring = process::key_ring(&config.gateway, dir)?;
    process::load_users(&config.gateway, metastore.as_ref(), &key_ring).await?;

    let membership = Arc::new(Membership::new(Patience {
        down_after: Duration::from_secs(config.gateway.jobs.node_down_after),
        ..Patience::default()
    }));
    learn_phases(metastore.as_ref(), &membership).await?;
    for node in metastore.nodes().await? {
        // A node that registers meanwhile is at least as new as its row.
        let _ = membership.remember(unheard(node));
    }
    let transport = HttpTransport::new(Arc::clone(&membership), &secret)
        .map_err(|error| StartError::Unfit(format!("the HTTP client cannot be set up: {error}")))?;
    announce(&listeners, dir, &keys);
    let parts = Parts {
        backup: Some(metastore.backup()),
        metastore,
        transport: Arc::new(transport),
        membership,
        keys,
        secret,
        key_ring,
        writer: WriterSettings {
            replicas: config.replicas,
            write_quorum: config.write_quorum,
            finish_within: config.gateway.jobs.write_time_max(),
        },
    };
    process::run(listeners, parts, &config.gateway).await;
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

/// A node as its row remembers it, before it was heard from.
fn unheard(node: NodeRow) -> Registration {
    let incarnation = Uuid::nil();
    Registration {
        node_id: node.id,
        incarnation,
        address: node.address,
        zone: node.zone,
        state: Heartbeat {
            incarnation,
            capacity_bytes: node.capacity_bytes,
            used_bytes: 0,
            free_bytes: 0,
            chunk_count: 0,
            in_flight: 0,
            disk_errors: 0,
            quarantined: 0,
            writable: false,
            fenced_disks: Vec::new(),
            scrub: None,
        },
    }
}
