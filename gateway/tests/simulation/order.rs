//! The verdict, once nothing goes wrong any longer: by itself the cluster comes to hold exactly what
//! rows name, three good copies of each chunk in as many zones, and all that was acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chunkproto::{ChunkId, Crc64, NodeId};
use gateway::admin::NodeOrder;
use metastore::{
    ListEntry, ListQuery, Metastore as _, NodePhase, ObjectKey, Timestamp, Upkeep as _, UploadQuery,
};
use tokio::time::{Instant, sleep};

use crate::gateway::Asked;
use crate::node::Mood;
use crate::register::Action;
use crate::settings::{KEYS, REPLICAS, SETTLE_MAX, ZONES};
use crate::world::World;

/// Between two looks whether all is in order.
const LOOK_PERIOD: Duration = Duration::from_secs(5);

impl World {
    /// Ends all faults.
    pub async fn heal(&self) {
        self.network.mend_all();
        for node in self.network.nodes.values() {
            node.become_so(Mood::Well);
        }
        for gateway in &self.gateways {
            gateway.set_clock_ahead(0);
            gateway.start().await;
        }
        // Until the nodes are heard again.
        sleep(Duration::from_secs(10)).await;
        for (node, phase) in self.metastore.node_phases().await.unwrap() {
            if phase == NodePhase::Draining {
                let undrain = self.gateways[0]
                    .ask(async |process| process.admin.carry_out(node, NodeOrder::Undrain).await);
                assert!(matches!(undrain.await, Asked::Answered(Ok(()))));
            }
        }
    }

    /// Waits until all is in order, and asserts that it is, and that nobody saw or did what must not be.
    pub async fn settle(&self) {
        let began = Instant::now();
        while let Some(disorder) = self.disorder().await {
            assert!(
                began.elapsed() < SETTLE_MAX,
                "{disorder}; {:?}",
                self.witness.accusations()
            );
            sleep(LOOK_PERIOD).await;
        }
        let mut present = BTreeSet::new();
        for number in 0..KEYS {
            let key = format!("key-{number}");
            let moment = self.history.moment();
            let gateway = &self.gateways[usize::from(number % 2 == 1)];
            let read = gateway
                .ask(async |process| process.get(&key, None).await)
                .await;
            let Asked::Answered(Some(seen)) = read else {
                panic!("{key} cannot be read");
            };
            self.history.saw(&key, moment, Action::Read(seen));
            if seen.is_some() {
                present.insert(key);
            }
        }
        assert_eq!(self.listed().await, present);
        self.history.assert_registers();
        let accusations = self.witness.accusations();
        assert!(accusations.is_empty(), "{accusations:#?}");
    }

    /// What nodes hold beside or short of what rows name, or what jobs still have to do.
    async fn disorder(&self) -> Option<String> {
        let mut wanted: BTreeMap<NodeId, BTreeMap<ChunkId, Crc64>> = BTreeMap::new();
        for chunk in self.witness.named().into_values() {
            if chunk.replicas.len() != usize::from(REPLICAS) {
                return Some(format!("too few or too many copies: {chunk:?}"));
            }
            let zones = chunk
                .replicas
                .iter()
                .map(|node| self.network.nodes[node].zone());
            if zones.collect::<BTreeSet<_>>().len() != usize::from(ZONES) {
                return Some(format!("several copies in one zone: {chunk:?}"));
            }
            for node in chunk.replicas {
                wanted
                    .entry(node)
                    .or_default()
                    .insert(chunk.id, chunk.crc64);
            }
        }
        for (id, node) in &self.network.nodes {
            let wanted = wanted.remove(id).unwrap_or_default();
            let held = node
                .disk()
                .inventory()
                .into_iter()
                .map(|held| (held.id, held.crc64));
            let held: BTreeMap<_, _> = held.collect();
            if held != wanted {
                return Some(format!("{id} holds {held:?}, but named are {wanted:?}"));
            }
            if let Some(rotten) = held.keys().find(|chunk| node.disk().is_rotten(**chunk)) {
                return Some(format!("{rotten} is rotten on {id}"));
            }
        }
        self.left_to_do().await
    }

    /// Chunks that rows name, but none of an object that can be read.
    async fn unreachable(&self) -> Option<String> {
        let mut named: BTreeSet<ChunkId> = self.witness.named().into_keys().collect();
        for key in self.listed().await {
            let key = ObjectKey::parse(key).unwrap();
            let object = self.metastore.object(self.bucket, &key).await.unwrap();
            let process = self.gateways[0].process().unwrap();
            for slice in process.slices(&object).await.unwrap() {
                named.remove(&slice.chunk.id);
            }
        }
        (!named.is_empty()).then(|| format!("of no object: {named:?}"))
    }

    /// What stands in the queues of jobs.
    async fn left_to_do(&self) -> Option<String> {
        let metastore = &self.metastore;
        let garbage = metastore
            .gc_due(Timestamp(u64::MAX), None, 1)
            .await
            .unwrap();
        let repairs = metastore.repairs_by_danger(None, 1).await.unwrap();
        let query = UploadQuery {
            bucket: self.bucket,
            prefix: String::new(),
            delimiter: None,
            after: None,
            limit: 1,
        };
        let uploads = metastore.list_uploads(query).await.unwrap().entries.len();
        let is_done = garbage.is_empty() && repairs.is_empty() && uploads == 0;
        if !is_done {
            return Some(format!("{garbage:?}, {repairs:?}, {uploads} uploads"));
        }
        self.unreachable().await
    }

    async fn listed(&self) -> BTreeSet<String> {
        let query = ListQuery {
            bucket: self.bucket,
            prefix: String::new(),
            delimiter: None,
            after: None,
            limit: 1000,
        };
        let page = self.metastore.list_objects(query).await.unwrap();
        let key = |entry| match entry {
            ListEntry::Item(object) => {
                let object: metastore::ListedObject = object;
                object.key.to_string()
            }
            ListEntry::CommonPrefix(prefix) => panic!("{prefix}"),
        };
        page.entries.into_iter().map(key).collect()
    }
}
