//! The chunk stores of this process: opened, registered, watched, scrubbed, closed. Each is a node of
//! its own with one disk, below `nodes/` in the data directory.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use chunkd::scrub::ScrubSettings;
use chunkd::{ChunkNode, IndexCache, NodeOptions, StoreOptions};
use chunkproto::{Durability, Heartbeat, Registration};
use futures::future::join_all;
use metastore::{Metastore, NodeRow, Timestamp};
use tokio::task::JoinSet;
use tracing::warn;
use uuid::Uuid;

use super::transport::EmbeddedTransport;
use crate::chunks::ChunkTransport;
use crate::cluster::{Membership, RegisterError};
use crate::data_dir::{self, DirectoryError};
use crate::process::StartError;

/// Directory of the chunk stores inside the data directory.
const NODES_DIR: &str = "nodes";
/// How often the stores' state is looked at for placement.
const STATE_PERIOD: Duration = Duration::from_secs(1);
/// At shutdown, the stores may take so long to close.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// The open stores of a data directory.
pub struct Stores {
    nodes: Vec<ChunkNode>,
    dirs: Vec<PathBuf>,
    incarnation: Uuid,
}

impl Stores {
    /// Opens `count` stores, and makes those that are not there yet.
    ///
    /// # Errors
    /// What keeps one from being opened; further ones that hold data from an earlier start.
    pub fn open(data: &Path, count: u8, durability: Durability) -> Result<Self, StartError> {
        let below = data.join(NODES_DIR);
        data_dir::create(&below).map_err(|source| DirectoryError::Io {
            path: below.clone(),
            source,
        })?;
        if below.join(count.to_string()).exists() {
            return Err(StartError::Unfit(format!(
                "{} holds more than {count} chunk stores; start with at least as many --nodes as before, \
                 or their objects cannot be read",
                below.display()
            )));
        }
        let cache = IndexCache::new(StoreOptions::INDEX_CACHE_BYTES);
        let dirs: Vec<_> = (0..count)
            .map(|number| below.join(number.to_string()))
            .collect();
        let open = |dir: &PathBuf| {
            let mut options = NodeOptions::new([dir]);
            options.store.index_cache = cache.clone();
            options.store.durability = durability;
            ChunkNode::open(options).map_err(|error| StartError::Store(error.into()))
        };
        let nodes = dirs.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self {
            nodes,
            dirs,
            incarnation: Uuid::now_v7(),
        })
    }

    /// How many there are from earlier starts.
    pub fn present(data: &Path) -> u8 {
        let is_there = |number: &u8| data.join(NODES_DIR).join(number.to_string()).exists();
        let count = (0..u8::MAX).take_while(is_there).count();
        u8::try_from(count).expect("fewer than 255")
    }

    /// The way to them.
    pub fn transport(&self) -> Arc<dyn ChunkTransport> {
        Arc::new(EmbeddedTransport::new(&self.nodes))
    }

    /// What they say of themselves. Their directories stand where others have an address.
    pub fn registrations(&self) -> Vec<Registration> {
        let both = self.nodes.iter().zip(&self.dirs);
        both.map(|(node, dir)| Registration {
            node_id: node.node_id(),
            incarnation: self.incarnation,
            address: dir.display().to_string(),
            zone: String::new(),
            state: state_of(node, self.incarnation),
        })
        .collect()
    }

    /// Takes them into `membership`, and notes them in the metadata. Those that were removed stay out.
    pub async fn register(
        &self,
        membership: &Membership,
        metastore: &dyn Metastore,
    ) -> Result<(), StartError> {
        for registration in self.registrations() {
            let row = NodeRow {
                id: registration.node_id,
                incarnation: registration.incarnation,
                address: registration.address.clone(),
                zone: registration.zone.clone(),
                capacity_bytes: registration.state.capacity_bytes,
                first_seen_at: Timestamp::now(),
            };
            match membership.register_embedded(registration) {
                Ok(()) => metastore.put_node(row).await?,
                Err(RegisterError::Removed(node)) => {
                    warn!(%node, dir = row.address, "a chunk store that was removed is not used");
                }
                Err(error) => return Err(StartError::Unfit(error.to_string())),
            }
        }
        Ok(())
    }

    /// Whether every store lies on another filesystem than `dir`.
    pub fn are_apart_from(&self, dir: &Path) -> bool {
        let device = device_of(dir);
        let mut devices = self.dirs.iter().map(|dir| device_of(dir));
        device.is_some() && devices.all(|other| other.is_some() && other != device)
    }

    /// Looks after the stores, and scrubs them, until what is returned is dropped.
    pub fn look_after(
        &self,
        membership: &Arc<Membership>,
        scrub: Option<ScrubSettings>,
    ) -> JoinSet<()> {
        let mut tasks = JoinSet::new();
        tasks.spawn(tell_states(
            self.nodes.clone(),
            self.incarnation,
            Arc::clone(membership),
        ));
        let shared = self.shared_devices();
        for (node, dir) in self.nodes.iter().zip(&self.dirs) {
            let watched = node.clone();
            tasks.spawn(async move { watched.watch_disks().await });
            if let Some(mut settings) = scrub {
                // The rate is a disk's, and stores share disks.
                let sharing = device_of(dir).and_then(|device| shared.get(&device).copied());
                settings.rate_max_bytes_per_s /= sharing.unwrap_or(1);
                let scrubbed = node.clone();
                tasks.spawn(async move { scrubbed.scrub(settings).await });
            }
        }
        tasks
    }

    /// How many stores lie on each filesystem.
    fn shared_devices(&self) -> HashMap<u64, u64> {
        let mut shared = HashMap::new();
        for device in self.dirs.iter().filter_map(|dir| device_of(dir)) {
            *shared.entry(device).or_default() += 1;
        }
        shared
    }

    /// Leaves the mark in each store that spares its next start a walk, if that does not take long.
    pub async fn close(self) {
        let closing = join_all(self.nodes.iter().map(ChunkNode::close));
        match tokio::time::timeout(CLOSE_MAX, closing).await {
            Ok(outcomes) => {
                for error in outcomes.into_iter().filter_map(Result::err) {
                    warn!(%error, "a store was not closed cleanly; its next start takes longer");
                }
            }
            Err(_) => {
                warn!("the stores still wrote after {CLOSE_MAX:?}; their next start takes longer")
            }
        }
    }
}

async fn tell_states(nodes: Vec<ChunkNode>, incarnation: Uuid, membership: Arc<Membership>) {
    let mut ticks = tokio::time::interval(STATE_PERIOD);
    loop {
        ticks.tick().await;
        for node in &nodes {
            membership.heartbeat(node.node_id(), state_of(node, incarnation));
        }
    }
}

fn state_of(node: &ChunkNode, incarnation: Uuid) -> Heartbeat {
    // The gateway counts its own requests; the store's count would be the same ones again.
    Heartbeat {
        in_flight: 0,
        ..node.heartbeat(incarnation)
    }
}

/// The filesystem that a directory lies on.
fn device_of(dir: &Path) -> Option<u64> {
    fs::metadata(dir).map(|found| found.dev()).ok()
}

/// The stores below the data directory, for recovery: the way to them, and what they say of
/// themselves.
pub(crate) fn open_nodes(
    data: &Path,
) -> Result<(Arc<dyn ChunkTransport>, Vec<Registration>), StartError> {
    let stores = Stores::open(data, Stores::present(data), Durability::PowerSafe)?;
    Ok((stores.transport(), stores.registrations()))
}
