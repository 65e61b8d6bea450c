//! The nodes as this gateway sees them: registered, heard from, suspected. In memory; what must
//! outlive a restart stands in the metastore's node rows.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use chunkproto::{Heartbeat, NodeId, Registration};
use tokio::time::Instant;

use crate::chunks::NodeView;

/// A node that was silent for so long gets no new chunks, unless told otherwise.
pub const SUSPECT_AFTER: Duration = Duration::from_secs(6);

/// The nodes of the cluster.
#[derive(Debug)]
pub struct Membership {
    members: RwLock<HashMap<NodeId, Member>>,
    suspect_after: Duration,
}

#[derive(Debug)]
struct Member {
    registration: Registration,
    /// None when the node is part of this process, or was only read from the metastore.
    heard_at: Option<Instant>,
    embedded: bool,
    in_flight: Arc<AtomicU32>,
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Heard from lately.
    Live,
    /// Silent, or it failed a request since it was last heard from.
    Suspect,
}

/// A node for the operator's eyes.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// What the node said last.
    pub registration: Registration,
    /// How it is.
    pub state: NodeState,
    /// Requests of this gateway under way on it.
    pub in_flight: u32,
}

/// Why a node was not taken in.
#[derive(Debug, thiserror::Error)]
pub enum RegisterError {
    /// A later run with the same identity is alive: two processes use one identity.
    #[error(
        "node {0} is already served by a later process; stop one of the two, and never copy a data directory"
    )]
    Superseded(NodeId),
}

/// Counts one request to a node while it lives.
#[derive(Debug)]
pub struct InFlight(Arc<AtomicU32>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Membership {
    /// No nodes yet; one that is silent for `suspect_after` will be suspected.
    #[must_use]
    pub fn new(suspect_after: Duration) -> Self {
        Self {
            members: RwLock::default(),
            suspect_after,
        }
    }

    /// Takes a node in, or brings what is known of it up to date.
    ///
    /// # Errors
    /// [`RegisterError::Superseded`] for an older run of a node that is heard from.
    pub fn register(&self, registration: Registration) -> Result<(), RegisterError> {
        self.insert(registration, Some(Instant::now()), false)
    }

    /// Takes in a node that lives in this process and is therefore always live.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn register_embedded(&self, registration: Registration) -> Result<(), RegisterError> {
        self.insert(registration, None, true)
    }

    /// Takes in a node known from the metastore that has not been heard from yet.
    ///
    /// # Errors
    /// As [`register`](Self::register).
    pub fn remember(&self, registration: Registration) -> Result<(), RegisterError> {
        self.insert(registration, None, false)
    }

    fn insert(
        &self,
        registration: Registration,
        heard_at: Option<Instant>,
        embedded: bool,
    ) -> Result<(), RegisterError> {
        let mut members = self.write();
        let id = registration.node_id;
        match members.get_mut(&id) {
            // A clock that went back makes an honest restart look older; the run before it is silent.
            Some(member)
                if registration.incarnation < member.registration.incarnation
                    && member.is_live(self.suspect_after) =>
            {
                Err(RegisterError::Superseded(id))
            }
            Some(member) => {
                member.registration = registration;
                member.heard_at = heard_at;
                Ok(())
            }
            None => {
                let in_flight = Arc::default();
                members.insert(
                    id,
                    Member {
                        registration,
                        heard_at,
                        embedded,
                        in_flight,
                    },
                );
                Ok(())
            }
        }
    }

    /// Takes a heartbeat in. False when the node, or this run of it, must register first.
    pub fn heartbeat(&self, node: NodeId, heartbeat: Heartbeat) -> bool {
        match self.write().get_mut(&node) {
            Some(member) if member.registration.incarnation == heartbeat.incarnation => {
                member.registration.state = heartbeat;
                member.heard_at = Some(Instant::now());
                true
            }
            _ => false,
        }
    }

    /// Notes that a request to the node failed as if it were gone: no new chunks until it is heard
    /// from again.
    pub fn suspect(&self, node: NodeId) {
        if let Some(member) = self.write().get_mut(&node)
            && !member.embedded
        {
            member.heard_at = None;
        }
    }

    /// The cluster as placement sees it.
    #[must_use]
    pub fn view(&self) -> Vec<NodeView> {
        let members = self.read();
        members
            .values()
            .map(|member| member.view(self.suspect_after))
            .collect()
    }

    /// How many nodes take new chunks now.
    #[must_use]
    pub fn writable_count(&self) -> usize {
        self.read()
            .values()
            .filter(|member| member.is_writable(self.suspect_after))
            .count()
    }

    /// Whether the node is heard from.
    #[must_use]
    pub fn is_live(&self, node: NodeId) -> bool {
        let members = self.read();
        members
            .get(&node)
            .is_some_and(|member| member.is_live(self.suspect_after))
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
            Some(member) => (!member.is_live(self.suspect_after), member.load()),
            None => (true, u32::MAX),
        });
    }

    /// Counts a request to the node until the guard is dropped.
    #[must_use]
    pub fn begin_request(&self, node: NodeId) -> Option<InFlight> {
        let in_flight = Arc::clone(&self.read().get(&node)?.in_flight);
        in_flight.fetch_add(1, Ordering::Relaxed);
        Some(InFlight(in_flight))
    }

    /// All nodes, in order of their ids.
    #[must_use]
    pub fn status(&self) -> Vec<NodeStatus> {
        let mut nodes: Vec<_> = self
            .read()
            .values()
            .map(|member| member.status(self.suspect_after))
            .collect();
        nodes.sort_by_key(|node| node.registration.node_id);
        nodes
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<NodeId, Member>> {
        self.members.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<NodeId, Member>> {
        self.members.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Member {
    fn is_live(&self, suspect_after: Duration) -> bool {
        self.embedded || self.heard_at.is_some_and(|at| at.elapsed() < suspect_after)
    }

    fn is_writable(&self, suspect_after: Duration) -> bool {
        self.is_live(suspect_after) && self.registration.state.writable
    }

    fn load(&self) -> u32 {
        self.in_flight
            .load(Ordering::Relaxed)
            .saturating_add(self.registration.state.in_flight)
    }

    fn view(&self, suspect_after: Duration) -> NodeView {
        let state = &self.registration.state;
        NodeView {
            id: self.registration.node_id,
            zone: self.registration.zone.clone(),
            writable: self.is_writable(suspect_after),
            in_flight: self.load(),
            used_bytes: state.used_bytes,
            free_bytes: state.free_bytes,
            capacity_bytes: state.capacity_bytes,
        }
    }

    fn status(&self, suspect_after: Duration) -> NodeStatus {
        NodeStatus {
            registration: self.registration.clone(),
            state: if self.is_live(suspect_after) {
                NodeState::Live
            } else {
                NodeState::Suspect
            },
            in_flight: self.in_flight.load(Ordering::Relaxed),
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

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
                writable: true,
                fenced_disks: Vec::new(),
            },
        }
    }

    #[tokio::test]
    async fn a_silent_node_gets_no_new_chunks_until_it_is_heard_again() {
        let membership = Membership::new(SUSPECT_AFTER);
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
        let membership = Membership::new(Duration::ZERO);
        membership.register(registration(Uuid::now_v7())).unwrap();
        assert_eq!(membership.status()[0].state, NodeState::Suspect);
    }

    #[tokio::test]
    async fn an_older_run_of_a_node_is_refused() {
        let membership = Membership::new(SUSPECT_AFTER);
        let (older, newer) = (Uuid::now_v7(), Uuid::now_v7());
        membership.register(registration(newer)).unwrap();
        assert!(membership.register(registration(older)).is_err());
        assert!(!membership.heartbeat(registration(older).node_id, registration(older).state));
    }

    #[tokio::test]
    async fn an_older_run_takes_over_from_a_silent_one() {
        let membership = Membership::new(Duration::ZERO);
        let (older, newer) = (Uuid::now_v7(), Uuid::now_v7());
        membership.register(registration(newer)).unwrap();
        assert!(membership.register(registration(older)).is_ok());
    }

    #[tokio::test]
    async fn requests_in_flight_count_while_they_live() {
        let membership = Membership::new(SUSPECT_AFTER);
        let node = registration(Uuid::now_v7());
        membership.register(node.clone()).unwrap();
        let request = membership.begin_request(node.node_id);
        assert_eq!(membership.view()[0].in_flight, 1);
        drop(request);
        assert_eq!(membership.view()[0].in_flight, 0);
    }
}
