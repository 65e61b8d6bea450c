//! `gateway standalone`: gateway, metadata and chunk stores in one process. The only file that names
//! `chunkd`: it reaches the stores without a network hop, through the same trait as remote ones.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkd::{Admitted, ChunkStore, Fences, IndexCache, StoreOptions, digest_of};
use chunkproto::wire::ListPage;
use chunkproto::{
    ByteRange, ChunkError, ChunkId, ChunkInfo, ChunkPut, ChunkRead, ChunkReceipt, ChunkResult,
    ChunkStream, Durability, Fence, Heartbeat, IdRange, InventoryDigest, NodeId, OwnerHint,
    Registration,
};
use futures::future::join_all;
use metastore::{Metastore, NodeRow, Timestamp};
use tracing::warn;
use uuid::Uuid;

use crate::chunks::{ChunkTransport, WriterSettings};
use crate::cluster::{Membership, Patience};
use crate::config::{GatewayConfig, StandaloneConfig};
use crate::data_dir::{self, DirectoryError, Purpose};
use crate::keys;
use crate::process::{self, Listeners, Parts, StartError};
use crate::s3::RootKeys;
use crate::serve::{DATABASE_DIR, open_metastore};

/// Directory of the chunk stores inside the data directory.
const NODES_DIR: &str = "nodes";
/// How often the stores' state is looked at for placement.
const STATE_PERIOD: Duration = Duration::from_secs(1);

/// At shutdown, the stores may take so long to close.
const CLOSE_MAX: Duration = Duration::from_secs(10);

/// Runs everything until SIGINT or SIGTERM.
///
/// # Errors
/// Whatever keeps it from starting, in a sentence that says what to do.
pub async fn run(config: StandaloneConfig) -> Result<(), StartError> {
    let listeners = Listeners::bind(&config.gateway).await?;
    data_dir::claim(&config.data, Purpose::Standalone)?;
    let keys = keys::root_keys(&config.data, process::given_keys(&config.gateway))?;
    let secret = keys::cluster_secret(&config.data, None)?;
    let durability = config.gateway.durability;
    let metastore = open_metastore(&config.data.join(DATABASE_DIR), durability)?;
    let key_ring = process::key_ring(&config.gateway, &config.data)?;
    process::load_users(&config.gateway, metastore.as_ref(), &key_ring).await?;
    let count = config
        .nodes
        .unwrap_or_else(|| stores_in(&config.data).max(config.replicas));
    let stores = open_stores(&config.data, count, durability)?;
    let membership = Arc::new(Membership::new(Patience::default()));
    let incarnation = Uuid::now_v7();
    for store in &stores {
        register(store, incarnation, &membership, metastore.as_ref()).await?;
    }
    tokio::spawn(watch_stores(
        stores.clone(),
        incarnation,
        Arc::clone(&membership),
    ));

    announce(&listeners, &config.gateway, &keys);
    let parts = Parts {
        // On the same disk it would be worth nothing.
        backup: None,
        metastore,
        transport: Arc::new(EmbeddedTransport::new(&stores)),
        membership,
        keys,
        secret,
        key_ring,
        writer: WriterSettings {
            replicas: config.replicas,
            write_quorum: None,
            finish_within: config.gateway.jobs.write_time_max(),
        },
    };
    process::run(listeners, parts, &config.gateway).await;
    close(stores).await;
    Ok(())
}

/// Leaves the mark in each store that spares its next start a walk, if that does not take long.
async fn close(stores: Vec<ChunkStore>) {
    let closing = join_all(stores.iter().map(ChunkStore::close));
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

/// How many stores there are from earlier starts.
fn stores_in(data: &Path) -> u8 {
    let present = |number: &u8| data.join(NODES_DIR).join(number.to_string()).exists();
    let count = (0..u8::MAX).take_while(present).count();
    u8::try_from(count).expect("fewer than 255")
}

/// Opens `count` stores, and any further ones that hold data from an earlier start.
fn open_stores(
    data: &Path,
    count: u8,
    durability: Durability,
) -> Result<Vec<ChunkStore>, StartError> {
    let nodes = data.join(NODES_DIR);
    data_dir::create(&nodes).map_err(|source| DirectoryError::Io {
        path: nodes.clone(),
        source,
    })?;
    if nodes.join(count.to_string()).exists() {
        return Err(StartError::Unfit(format!(
            "{} holds more than {count} chunk stores; start with at least as many --nodes as before, \
             or their objects cannot be read",
            nodes.display()
        )));
    }
    let cache = IndexCache::new(StoreOptions::INDEX_CACHE_BYTES);
    (0..count)
        .map(|number| {
            let options = StoreOptions {
                index_cache: cache.clone(),
                durability,
                ..StoreOptions::new(nodes.join(number.to_string()))
            };
            ChunkStore::open(options).map_err(StartError::from)
        })
        .collect()
}

/// The stores below the data directory, for recovery: the way to them, and what they say of
/// themselves.
pub(crate) fn open_nodes(
    data: &Path,
) -> Result<(Arc<dyn ChunkTransport>, Vec<Registration>), StartError> {
    let stores = open_stores(data, stores_in(data), Durability::PowerSafe)?;
    let incarnation = Uuid::now_v7();
    let nodes = stores.iter().map(|store| Registration {
        node_id: store.node_id(),
        incarnation,
        address: String::new(),
        zone: String::new(),
        state: state_of(store, incarnation),
    });
    let nodes = nodes.collect();
    Ok((Arc::new(EmbeddedTransport::new(&stores)), nodes))
}

async fn register(
    store: &ChunkStore,
    incarnation: Uuid,
    membership: &Membership,
    metastore: &dyn Metastore,
) -> Result<(), StartError> {
    let state = state_of(store, incarnation);
    let row = NodeRow {
        id: store.node_id(),
        incarnation,
        address: String::new(),
        zone: String::new(),
        capacity_bytes: state.capacity_bytes,
        first_seen_at: Timestamp::now(),
    };
    let registration = Registration {
        node_id: row.id,
        incarnation,
        address: row.address.clone(),
        zone: row.zone.clone(),
        state,
    };
    membership
        .register_embedded(registration)
        .map_err(|error| StartError::Unfit(error.to_string()))?;
    metastore.put_node(row).await?;
    Ok(())
}

async fn watch_stores(stores: Vec<ChunkStore>, incarnation: Uuid, membership: Arc<Membership>) {
    let mut ticks = tokio::time::interval(STATE_PERIOD);
    loop {
        ticks.tick().await;
        for store in &stores {
            membership.heartbeat(store.node_id(), state_of(store, incarnation));
        }
    }
}

fn state_of(store: &ChunkStore, incarnation: Uuid) -> Heartbeat {
    let heartbeat = store.state().heartbeat(incarnation);
    // The gateway counts its own requests; the store's count would be the same ones again.
    Heartbeat {
        in_flight: 0,
        ..heartbeat
    }
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

/// The chunk transport to stores inside this process.
pub struct EmbeddedTransport {
    stores: HashMap<NodeId, (ChunkStore, Fences)>,
}

impl EmbeddedTransport {
    /// A transport to these stores, each under its own node id.
    #[must_use]
    pub fn new(stores: &[ChunkStore]) -> Self {
        let by_node = |store: &ChunkStore| (store.node_id(), (store.clone(), Fences::fresh()));
        Self {
            stores: stores.iter().map(by_node).collect(),
        }
    }

    fn store(&self, node: NodeId) -> ChunkResult<&ChunkStore> {
        self.fenced_store(node).map(|(store, _)| store)
    }

    fn fenced_store(&self, node: NodeId) -> ChunkResult<&(ChunkStore, Fences)> {
        self.stores
            .get(&node)
            .ok_or_else(|| ChunkError::Unreachable(format!("there is no store {node} here")))
    }

    /// Lets a job's operation in by its fence, until what is returned is dropped.
    async fn admit(&self, node: NodeId, fence: Option<&Fence>) -> ChunkResult<Option<Admitted>> {
        let (_, fences) = self.fenced_store(node)?;
        match fence {
            Some(fence) => fences.admit(fence.clone()).await.map(Some),
            None => Ok(None),
        }
    }
}

#[async_trait]
impl ChunkTransport for EmbeddedTransport {
    async fn put(
        &self,
        node: NodeId,
        put: ChunkPut,
        body: ChunkStream,
    ) -> ChunkResult<ChunkReceipt> {
        self.store(node)?.put(put, body).await
    }

    async fn get(
        &self,
        node: NodeId,
        chunk: ChunkId,
        range: Option<ByteRange>,
    ) -> ChunkResult<ChunkRead> {
        self.store(node)?.get(chunk, range).await
    }

    async fn head(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<ChunkInfo> {
        self.store(node)?.head(chunk).await
    }

    async fn delete(&self, node: NodeId, chunk: ChunkId, fence: Option<&Fence>) -> ChunkResult<()> {
        let _admitted = self.admit(node, fence).await?;
        self.store(node)?.delete(chunk).await
    }

    async fn digest(&self, node: NodeId, range: IdRange) -> ChunkResult<InventoryDigest> {
        let store = self.store(node)?;
        digest_of(range, |after, limit| store.list(after, limit)).await
    }

    async fn list(
        &self,
        node: NodeId,
        after: Option<ChunkId>,
        limit: usize,
    ) -> ChunkResult<ListPage> {
        let mut chunks = self.store(node)?.list(after, limit + 1).await?;
        let truncated = chunks.len() > limit;
        chunks.truncate(limit);
        Ok(ListPage {
            chunks,
            truncated,
            incomplete: false,
        })
    }

    async fn owner(&self, node: NodeId, chunk: ChunkId) -> ChunkResult<Option<OwnerHint>> {
        let (_, owner) = self.store(node)?.head_with_owner(chunk).await?;
        Ok(owner)
    }

    async fn copy(
        &self,
        target: NodeId,
        chunk: ChunkId,
        source: NodeId,
        fence: Option<&Fence>,
    ) -> ChunkResult<ChunkReceipt> {
        let _admitted = self.admit(target, fence).await?;
        let source = self.store(source)?;
        let owner = source.owner(chunk).await?;
        let read = source.get(chunk, None).await?;
        let put = ChunkPut {
            id: chunk,
            length_bytes: read.info.length_bytes,
            owner,
        };
        self.store(target)?.put(put, read.stream).await
    }
}
