//! The nodes as this gateway sees them: registered, heard from, suspected. In memory; what must
//! outlive a restart stands in the metastore's node rows.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use chunkproto::{Heartbeat, NodeId, Registration};
use metastore::NodePhase;

use super::member::{Episode, InFlight, Member, NodeState, NodeStatus, NodeTimeouts, Voice};
use super::node_view::NodeView;

/// The nodes of the cluster.
#[derive(Debug)]
pub struct Membership {
    members: RwLock<BTreeMap<NodeId, Member>>,
    /// What operators want, of nodes that are no members too.
    phases: RwLock<BTreeMap<NodeId, NodePhase>>,
    timeouts: NodeTimeouts,
}

/// Why a node was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// A later run with the same identity is known and not given up: two processes use one identity.
    #[error(
        "node {0} is already served by a later process; stop one of the two, and never copy a data directory. \
         (If there is only one, its clock went back: it is let in once the other was silent for --node-down-after.)"
    )]
    Superseded(NodeId),
    /// It was removed from the cluster.
    #[error(
        "node {0} was removed from the cluster; to use its disks again, empty its data directories: it then has another identity"
    )]
    Removed(NodeId),
}

/// Which nodes are called.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Probed {
    /// Those that were not reached, or failed a request, since they were last reached.
    Doubted,
    /// All.
    All,
}

impl Membership {
    /// No nodes yet; silent ones will be judged by `timeouts`.
    #[must_use]
    pub fn new(timeouts: NodeTimeouts) -> Self {
        Self {
            members: RwLock::default(),
            phases: RwLock::default(),
            timeouts,
        }
    }

    /// Takes a node in, or brings what is known of it up to date.
    ///
    /// # Errors
    /// [`RegisterError::Superseded`] for an older run of a node that is not given up.
    pub fn register(&self, registration: Registration) -> Result<(), RegisterError> {
        self.insert(registration, Voice::Heard)
    }

    /// Takes in a node that lives in this process and is therefore always live.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_embedded(&self, registration: Registration) -> Result<(), RegisterError> {
        self.insert(registration, Voice::Embedded)
    }

    /// Takes in a node known from the metastore that has not been heard from yet.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn remember(&self, registration: Registration) -> Result<(), RegisterError> {
        self.insert(registration, Voice::Unheard)
    }

    fn insert(&self, registration: Registration, voice: Voice) -> Result<(), RegisterError> {
        let id = registration.node_id;
        let phase = self.phase(id);
        if phase == NodePhase::Removed {
            return Err(RegisterError::Removed(id));
        }
        let mut members = self.write();
        let address = registration.address.clone();
        let taken_in = Self::take_in(&mut members, registration, voice, phase, self.timeouts);
        if taken_in.is_ok() && voice == Voice::Heard && !address.is_empty() {
            // Whoever is there now, the others are no longer.
            let others = members.iter_mut().filter(|(other, _)| **other != id);
            let there = others.filter(|(_, other)| other.registration.address == address);
            there.for_each(|(_, other)| other.doubt());
        }
        taken_in
    }

    fn take_in(
        members: &mut BTreeMap<NodeId, Member>,
        registration: Registration,
        voice: Voice,
        phase: NodePhase,
        timeouts: NodeTimeouts,
    ) -> Result<(), RegisterError> {
        let id = registration.node_id;
        match members.get_mut(&id) {
            // One failed request, or a silence, must not bring an older run of a copied directory back.
            // A clock that went back makes an honest restart look older; it waits until the run before
            // it is given up.
            Some(member)
                if registration.incarnation < member.registration.incarnation
                    && member.state(timeouts) != NodeState::Down =>
            {
                Err(RegisterError::Superseded(id))
            }
            Some(member) => {
                member.registration = registration;
                member.hear(voice, timeouts);
                Ok(())
            }
            None => {
                members.insert(id, Member::new(registration, voice, phase));
                Ok(())
            }
        }
    }

    /// Takes a heartbeat in. False when the node, or this run of it, must register first.
    pub fn heartbeat(&self, node: NodeId, heartbeat: Heartbeat) -> bool {
        match self.write().get_mut(&node) {
            Some(member) if member.registration.incarnation == heartbeat.incarnation => {
                member.registration.state = heartbeat;
                member.hear(Voice::Heard, self.timeouts);
                true
            }
            _ => false,
        }
    }

    /// Notes that a request to the node failed as if it were gone: no new chunks until it is heard
    /// from again.
    pub fn suspect(&self, node: NodeId) {
        if let Some(member) = self.write().get_mut(&node) {
            member.doubt();
        }
    }

    /// Nodes that are processes of their own and made themselves heard lately.
    pub(crate) fn heard(&self, which: Probed) -> Vec<NodeId> {
        let members = self.read();
        let is_meant = |(_, member): &(&NodeId, &Member)| {
            member.is_heard(self.timeouts) && (which == Probed::All || member.is_doubted())
        };
        members.iter().filter(is_meant).map(|(id, _)| *id).collect()
    }

    /// Notes whether a node could be reached for data; true if that is news. One that is heard and not
    /// reached is suspect, and down after as long as one that is silent.
    pub(crate) fn note_reach(&self, node: NodeId, is_reached: bool) -> bool {
        let mut members = self.write();
        let member = members.get_mut(&node);
        member.is_some_and(|member| member.note_reach(is_reached, self.timeouts))
    }

    /// The cluster as placement sees it.
    #[must_use]
    pub fn view(&self) -> Vec<NodeView> {
        let members = self.read();
        members
            .values()
            .map(|member| member.view(self.timeouts))
            .collect()
    }

    /// How many nodes take new chunks now.
    #[must_use]
    pub fn writable_count(&self) -> usize {
        self.read()
            .values()
            .filter(|member| member.is_writable(self.timeouts))
            .count()
    }

    /// How the node is; one that was never heard of is down.
    #[must_use]
    pub fn state(&self, node: NodeId) -> NodeState {
        let members = self.read();
        members
            .get(&node)
            .map_or(NodeState::Down, |member| member.state(self.timeouts))
    }

    /// Whether the node is not live and should be: one that is only known from the metadata has a while
    /// to make itself heard.
    #[must_use]
    pub fn is_missing(&self, node: NodeId) -> bool {
        let members = self.read();
        members
            .get(&node)
            .is_none_or(|member| member.is_missing(self.timeouts))
    }

    /// What the operator wants of a node.
    #[must_use]
    pub fn phase(&self, node: NodeId) -> NodePhase {
        let phases = self.phases.read().unwrap_or_else(PoisonError::into_inner);
        phases.get(&node).copied().unwrap_or_default()
    }

    /// Notes what the operator wants of a node. One that was removed is forgotten.
    pub fn set_phase(&self, node: NodeId, phase: NodePhase) {
        let mut phases = self.phases.write().unwrap_or_else(PoisonError::into_inner);
        phases.insert(node, phase);
        drop(phases);
        let mut members = self.write();
        if phase == NodePhase::Removed {
            members.remove(&node);
        } else if let Some(member) = members.get_mut(&node) {
            member.phase = phase;
        }
    }

    /// Whether the node is live, is to hold chunks, and is a process of its own.
    #[must_use]
    pub fn is_active(&self, node: NodeId) -> bool {
        let members = self.read();
        members
            .get(&node)
            .is_some_and(|member| member.is_active(self.timeouts))
    }

    /// The failure zones with a node that is to hold chunks and is in such a state.
    #[must_use]
    pub fn zones(&self, is_meant: impl Fn(NodeState) -> bool) -> BTreeSet<String> {
        let members = self.read();
        let is_there = |member: &&Member| {
            member.phase == NodePhase::Active && is_meant(member.state(self.timeouts))
        };
        let there = members.values().filter(is_there);
        let zones = there.map(|member| member.registration.zone.clone());
        zones.filter(|zone| !zone.is_empty()).collect()
    }

    /// Notes whether an operator says that a node's orphans are garbage, however many they are. It holds
    /// until they were dealt with once, or this process ends: what was put into quarantine is remembered
    /// by the metadata.
    pub fn accept_orphans(&self, node: NodeId, are_accepted: bool) {
        if let Some(member) = self.write().get_mut(&node) {
            member.are_orphans_accepted = are_accepted;
        }
    }

    /// Whether an operator said so.
    #[must_use]
    pub fn are_orphans_accepted(&self, node: NodeId) -> bool {
        let members = self.read();
        let member = members.get(&node);
        member.is_some_and(|member| member.are_orphans_accepted)
    }

    /// Requests under way on a node, as far as this gateway knows.
    #[must_use]
    pub fn load(&self, node: NodeId) -> u32 {
        self.read().get(&node).map_or(0, Member::load)
    }

    /// The nodes that were removed, in order of their ids.
    #[must_use]
    pub fn removed(&self) -> Vec<NodeId> {
        let phases = self.phases.read().unwrap_or_else(PoisonError::into_inner);
        let is_removed =
            |(node, phase): (&NodeId, &NodePhase)| (*phase == NodePhase::Removed).then_some(*node);
        let mut removed: Vec<_> = phases.iter().filter_map(is_removed).collect();
        removed.sort_unstable();
        removed
    }

    /// How long silence is borne.
    #[must_use]
    pub fn timeouts(&self) -> NodeTimeouts {
        self.timeouts
    }

    /// The stretch of its life that a live node is in.
    #[must_use]
    pub fn episode(&self, node: NodeId) -> Option<Episode> {
        let members = self.read();
        let member = members.get(&node)?;
        let is_live = member.state(self.timeouts) == NodeState::Live;
        is_live.then(|| member.episode(self.timeouts))
    }

    /// Whether one of the node's disks is taken for gone.
    #[must_use]
    pub fn is_crippled(&self, node: NodeId) -> bool {
        let members = self.read();
        members
            .get(&node)
            .is_some_and(|member| member.is_crippled(self.timeouts))
    }

    /// Nodes of which chunks cannot be read now and are expected to return, in order of their ids.
    #[must_use]
    pub fn awaited(&self) -> Vec<NodeId> {
        let members = self.read();
        let is_awaited = |(_, member): &(&NodeId, &Member)| member.is_awaited(self.timeouts);
        let mut awaited: Vec<_> = members
            .iter()
            .filter(is_awaited)
            .map(|(id, _)| *id)
            .collect();
        awaited.sort_unstable();
        awaited
    }

    /// Whether the node is heard from.
    #[must_use]
    pub fn is_live(&self, node: NodeId) -> bool {
        self.state(node) == NodeState::Live
    }

    /// How every node is, in order of their ids.
    #[must_use]
    pub fn states(&self) -> Vec<(NodeId, NodeState)> {
        let members = self.read();
        let state = |(id, member): (&NodeId, &Member)| (*id, member.state(self.timeouts));
        let mut states: Vec<_> = members.iter().map(state).collect();
        states.sort_unstable_by_key(|(id, _)| *id);
        states
    }

    /// Base URL of a node's chunk API.
    #[must_use]
    pub fn address(&self, node: NodeId) -> Option<String> {
        self.read()
            .get(&node)
            .map(|member| member.registration.address.clone())
    }

    /// Puts `nodes` in the order in which to read from them: live ones first, then those with
    /// fewest requests in flight.
    pub fn order_for_reading(&self, nodes: &mut [NodeId]) {
        let members = self.read();
        nodes.sort_by_key(|node| match members.get(node) {
            Some(member) => (
                member.state(self.timeouts) != NodeState::Live,
                member.load(),
            ),
            None => (true, u32::MAX),
        });
    }

    /// Counts a copy to or from the node, which a job makes, until the guard is dropped.
    #[must_use]
    pub fn begin_copy(&self, node: NodeId) -> Option<InFlight> {
        Some(self.read().get(&node)?.begin_copy())
    }

    /// Whether a request that a client made of the node through this gateway began within this time.
    #[must_use]
    pub fn serves_clients(&self, node: NodeId, within: Duration) -> bool {
        let members = self.read();
        members
            .get(&node)
            .is_some_and(|member| member.serves_clients(within))
    }

    /// Counts a client's request to the node until the guard is dropped.
    #[must_use]
    pub fn begin_request(&self, node: NodeId) -> Option<InFlight> {
        Some(self.read().get(&node)?.begin_request())
    }

    /// All nodes, in order of their ids.
    #[must_use]
    pub fn status(&self) -> Vec<NodeStatus> {
        let mut nodes: Vec<_> = self
            .read()
            .values()
            .map(|member| member.status(self.timeouts))
            .collect();
        nodes.sort_by_key(|node| node.registration.node_id);
        nodes
    }

    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<NodeId, Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<NodeId, Member>> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use uuid::Uuid;

    use super::*;

    fn short_timeouts() -> NodeTimeouts {
        NodeTimeouts {
            suspect_after: Duration::ZERO,
            down_after: Duration::MAX,
        }
    }

    fn registration(incarnation: Uuid) -> Registration {
        Registration {
            node_id: NodeId::from_bytes([1; 16]),
            incarnation,
            address: "http://127.0.0.1:1".into(),
            zone: String::new(),
            state: Heartbeat {
                incarnation,
                capacity_bytes: 100,
                used_bytes: 0,
                free_bytes: 100,
                chunk_count: 0,
                in_flight: 0,
                disk_errors: 0,
                quarantined: 0,
                writable: true,
                fenced_disks: Vec::new(),
                scrub: None,
            },
        }
    }

    #[tokio::test]
    async fn a_silent_node_gets_no_new_chunks_until_it_is_heard_again() {
        let membership = Membership::new(NodeTimeouts::default());
        let node = registration(Uuid::now_v7());
        membership.register(node.clone()).unwrap();
        assert_eq!(membership.writable_count(), 1);

        membership.suspect(node.node_id);
        assert_eq!(membership.writable_count(), 0);

        assert!(membership.heartbeat(node.node_id, node.state));
        assert_eq!(membership.writable_count(), 1);
    }

    #[tokio::test]
    async fn silence_alone_makes_a_node_suspect() {
        let membership = Membership::new(short_timeouts());
        membership.register(registration(Uuid::now_v7())).unwrap();
        assert_eq!(membership.status()[0].state, NodeState::Suspect);
    }

    #[tokio::test]
    async fn a_node_that_stays_silent_is_down_and_so_is_a_stranger() {
        let membership = Membership::new(NodeTimeouts {
            suspect_after: Duration::ZERO,
            down_after: Duration::ZERO,
        });
        let node = registration(Uuid::now_v7());
        membership.register(node.clone()).unwrap();
        assert_eq!(membership.state(node.node_id), NodeState::Down);
        assert_eq!(membership.state(NodeId::generate()), NodeState::Down);
    }

    #[tokio::test]
    async fn a_node_whose_address_another_one_has_now_is_suspect() {
        let membership = Membership::new(NodeTimeouts::default());
        let (first, second) = (Uuid::now_v7(), Uuid::now_v7());
        let former = registration(first);
        membership.register(former.clone()).unwrap();
        let newcomer = Registration {
            node_id: NodeId::generate(),
            ..registration(second)
        };
        membership.register(newcomer.clone()).unwrap();
        assert_eq!(membership.state(former.node_id), NodeState::Suspect);
        assert_eq!(membership.state(newcomer.node_id), NodeState::Live);
    }

    #[tokio::test]
    async fn an_older_run_of_a_node_is_refused() {
        let membership = Membership::new(NodeTimeouts::default());
        let (older, newer) = (Uuid::now_v7(), Uuid::now_v7());
        membership.register(registration(newer)).unwrap();
        assert!(membership.register(registration(older)).is_err());
        assert!(!membership.heartbeat(registration(older).node_id, registration(older).state));
    }

    #[tokio::test]
    async fn an_older_run_is_refused_though_a_request_to_the_newer_one_has_failed() {
        let membership = Membership::new(NodeTimeouts::default());
        let (older, newer) = (Uuid::now_v7(), Uuid::now_v7());
        let node = registration(newer);
        membership.register(node.clone()).unwrap();
        membership.suspect(node.node_id);
        assert!(membership.register(registration(older)).is_err());
        assert!(membership.heartbeat(node.node_id, node.state));
    }

    #[tokio::test]
    async fn an_older_run_takes_over_from_one_that_was_given_up() {
        let membership = Membership::new(NodeTimeouts {
            suspect_after: Duration::ZERO,
            down_after: Duration::ZERO,
        });
        let (older, newer) = (Uuid::now_v7(), Uuid::now_v7());
        membership.register(registration(newer)).unwrap();
        assert!(membership.register(registration(older)).is_ok());
    }

    #[tokio::test]
    async fn copies_are_load_and_no_client() {
        let membership = Membership::new(NodeTimeouts::default());
        let node = registration(Uuid::now_v7());
        membership.register(node.clone()).unwrap();
        let (node, day) = (node.node_id, Duration::from_secs(86_400));
        let _copy = membership.begin_copy(node);
        assert_eq!(membership.load(node), 1);
        assert!(!membership.serves_clients(node, day));
        drop(membership.begin_request(node));
        assert!(membership.serves_clients(node, day));
        assert!(!membership.serves_clients(node, Duration::ZERO));
    }

    #[tokio::test]
    async fn requests_in_flight_count_while_they_live() {
        let membership = Membership::new(NodeTimeouts::default());
        let node = registration(Uuid::now_v7());
        membership.register(node.clone()).unwrap();
        let request = membership.begin_request(node.node_id);
        assert_eq!(membership.view()[0].in_flight, 1);
        drop(request);
        assert_eq!(membership.view()[0].in_flight, 0);
    }
}
