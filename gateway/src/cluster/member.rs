//! One node as this gateway sees it: what it said last, when, and what follows from that.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use chunkproto::Registration;
use metastore::NodePhase;
use tokio::time::Instant;
use uuid::Uuid;

use super::node_view::NodeView;

/// Timeouts of the failure detector.
#[derive(Debug, Clone, Copy)]
pub struct NodeTimeouts {
    /// A node that was silent for so long gets no new chunks.
    pub suspect_after: Duration,
    /// A node that was silent for so long is taken for gone: its chunks are repaired elsewhere.
    pub down_after: Duration,
}

impl Default for NodeTimeouts {
    fn default() -> Self {
        Self {
            suspect_after: Duration::from_secs(6),
            down_after: Duration::from_secs(600),
        }
    }
}

/// How a node is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeState {
    /// Heard from lately.
    Live,
    /// Silent, or heard and not reached for data, or it failed a request since it was last heard from.
    Suspect,
    /// Silent, or not reached, for so long that it is taken for gone.
    Down,
}

/// How the gateway learned of a node.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Voice {
    /// It spoke just now.
    Heard,
    /// It was only read of in the metastore.
    Unheard,
    /// It is part of this process, and so always live.
    Embedded,
}

/// A node for the operator's eyes.
#[derive(Debug, Clone)]
pub struct NodeStatus {
    /// What the node said last.
    pub registration: Registration,
    /// How it is.
    pub state: NodeState,
    /// What the operator wants of it.
    pub phase: NodePhase,
    /// Whether it is part of this process.
    pub is_embedded: bool,
    /// For how long it has not been heard from.
    pub silent: Duration,
    /// For how long it has not been reached for data, although it is heard; `None` if it is.
    pub unreached: Option<Duration>,
    /// Whether it takes new chunks.
    pub is_writable: bool,
    /// Requests of this gateway under way on it.
    pub in_flight: u32,
}

/// A period in which a node's contents cannot have changed behind the metadata's back. Each new one
/// triggers reconciliation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Episode {
    incarnation: Uuid,
    /// How often it was taken for gone and came back.
    returns: u32,
    /// Damaged chunks set aside.
    quarantined: u64,
    /// Whether a disk of it is taken for gone.
    is_crippled: bool,
}

/// Counts one request to a node while it lives.
#[derive(Debug)]
pub struct InFlight(Arc<Requests>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What this gateway asks of a node.
#[derive(Debug)]
struct Requests {
    in_flight: AtomicU32,
    since: Instant,
    /// When the last request of a client began, in milliseconds since `since`; 0 for never.
    client_at_ms: AtomicU64,
}

impl Requests {
    fn new() -> Self {
        Self {
            in_flight: AtomicU32::new(0),
            since: Instant::now(),
            client_at_ms: AtomicU64::new(0),
        }
    }

    fn now_ms(&self) -> u64 {
        u64::try_from(self.since.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A node.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) registration: Registration,
    pub(super) phase: NodePhase,
    voice: Voice,
    /// When it spoke last; for one that never spoke, when it came to be known.
    heard_at: Instant,
    /// Since when it has had a disk that cannot be read.
    crippled_at: Option<Instant>,
    /// Since when it has not been reached for data.
    unreached_at: Option<Instant>,
    /// Whether a request failed since it was last reached.
    is_doubted: bool,
    returns: u32,
    /// Whether an operator said that what it holds beside its rows is garbage, and that was not dealt
    /// with yet.
    pub(super) are_orphans_accepted: bool,
    requests: Arc<Requests>,
}

impl Member {
    pub(super) fn new(registration: Registration, voice: Voice, phase: NodePhase) -> Self {
        Self {
            registration,
            phase,
            voice,
            heard_at: Instant::now(),
            crippled_at: None,
            unreached_at: None,
            // It was never reached, until it is.
            is_doubted: true,
            returns: 0,
            are_orphans_accepted: false,
            requests: Arc::new(Requests::new()),
        }
    }

    /// Notes that it spoke, or was read of; what it said stands in its registration by now.
    pub(super) fn hear(&mut self, voice: Voice, timeouts: NodeTimeouts) {
        if self.heard_state(timeouts) == NodeState::Down {
            self.returns += 1;
        }
        // After a silence it may have another address; it will be seen whether that can be reached.
        if self.heard_at.elapsed() >= timeouts.suspect_after {
            (self.unreached_at, self.is_doubted) = (None, true);
        }
        if self.voice != Voice::Embedded {
            self.voice = voice;
        }
        let now = Instant::now();
        self.heard_at = now;
        let disks = &self.registration.state.fenced_disks;
        self.crippled_at = match disks.iter().any(|disk| !disk.readable) {
            true => self.crippled_at.or(Some(now)),
            false => None,
        };
    }

    /// Whether one of its disks could not be read for so long that it is taken for gone.
    pub(super) fn is_crippled(&self, timeouts: NodeTimeouts) -> bool {
        self.crippled_at
            .is_some_and(|at| at.elapsed() >= timeouts.down_after)
    }

    /// Whether chunks on it cannot be read now and are expected to return: it is silent, or one of its
    /// disks cannot be read.
    pub(super) fn is_awaited(&self, timeouts: NodeTimeouts) -> bool {
        match self.state(timeouts) {
            NodeState::Live => self.crippled_at.is_some() && !self.is_crippled(timeouts),
            NodeState::Suspect => true,
            NodeState::Down => false,
        }
    }

    pub(super) fn episode(&self, timeouts: NodeTimeouts) -> Episode {
        Episode {
            incarnation: self.registration.incarnation,
            returns: self.returns,
            quarantined: self.registration.state.quarantined,
            is_crippled: self.is_crippled(timeouts),
        }
    }

    /// Notes that a request to it failed as if it were gone.
    pub(super) fn doubt(&mut self) {
        self.is_doubted = true;
        if self.voice == Voice::Heard {
            self.voice = Voice::Unheard;
        }
    }

    /// Notes whether it could be reached for data; true if that is news.
    pub(super) fn note_reach(&mut self, is_reached: bool, timeouts: NodeTimeouts) -> bool {
        let is_news = self.unreached_at.is_none() != is_reached;
        match is_reached {
            true => {
                if self.is_cut_off(timeouts) {
                    self.returns += 1;
                }
                (self.unreached_at, self.is_doubted) = (None, false);
            }
            false if is_news => self.unreached_at = Some(Instant::now()),
            false => {}
        }
        is_news
    }

    /// Whether it is a process of its own that made itself heard lately.
    pub(super) fn is_heard(&self, timeouts: NodeTimeouts) -> bool {
        self.voice != Voice::Embedded && self.heard_at.elapsed() < timeouts.suspect_after
    }

    /// Whether a request failed since it was last reached, or it never was since.
    pub(super) fn is_doubted(&self) -> bool {
        self.is_doubted || self.unreached_at.is_some()
    }

    /// Whether it has not been reached for so long that it is taken for gone.
    fn is_cut_off(&self, timeouts: NodeTimeouts) -> bool {
        self.unreached_at
            .is_some_and(|at| at.elapsed() >= timeouts.down_after)
    }

    pub(super) fn state(&self, timeouts: NodeTimeouts) -> NodeState {
        match self.heard_state(timeouts) {
            NodeState::Live | NodeState::Suspect if self.is_cut_off(timeouts) => NodeState::Down,
            NodeState::Live if self.unreached_at.is_some() => NodeState::Suspect,
            heard => heard,
        }
    }

    /// Whether it is not live, and had the time to make itself heard.
    pub(super) fn is_missing(&self, timeouts: NodeTimeouts) -> bool {
        match self.state(timeouts) {
            NodeState::Live => false,
            NodeState::Suspect => {
                self.voice != Voice::Unheard || self.heard_at.elapsed() >= timeouts.suspect_after
            }
            NodeState::Down => true,
        }
    }

    /// How it is as far as its heartbeats tell.
    fn heard_state(&self, timeouts: NodeTimeouts) -> NodeState {
        let silent = self.heard_at.elapsed();
        match self.voice {
            Voice::Embedded => NodeState::Live,
            Voice::Heard if silent < timeouts.suspect_after => NodeState::Live,
            _ if silent < timeouts.down_after => NodeState::Suspect,
            _ => NodeState::Down,
        }
    }

    pub(super) fn is_writable(&self, timeouts: NodeTimeouts) -> bool {
        self.phase == NodePhase::Active
            && self.state(timeouts) == NodeState::Live
            && self.registration.state.writable
    }

    /// Whether it is live, is to hold chunks, and is a process of its own.
    pub(super) fn is_active(&self, timeouts: NodeTimeouts) -> bool {
        let is_remote = self.voice != Voice::Embedded;
        is_remote && self.phase == NodePhase::Active && self.state(timeouts) == NodeState::Live
    }

    /// Requests under way: this gateway's own and those that the node last reported.
    pub(super) fn load(&self) -> u32 {
        let in_flight = self.requests.in_flight.load(Ordering::Relaxed);
        in_flight.saturating_add(self.registration.state.in_flight)
    }

    /// Counts a client's request until the guard is dropped.
    pub(super) fn begin_request(&self) -> InFlight {
        let now_ms = self.requests.now_ms().max(1);
        self.requests.client_at_ms.store(now_ms, Ordering::Relaxed);
        self.begin_copy()
    }

    /// Counts a copy to or from it, which a job makes, until the guard is dropped.
    pub(super) fn begin_copy(&self) -> InFlight {
        self.requests.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight(Arc::clone(&self.requests))
    }

    /// Whether a client's request to it began within this time.
    pub(super) fn serves_clients(&self, within: Duration) -> bool {
        match self.requests.client_at_ms.load(Ordering::Relaxed) {
            0 => false,
            at_ms => u128::from(self.requests.now_ms().saturating_sub(at_ms)) < within.as_millis(),
        }
    }

    pub(super) fn view(&self, timeouts: NodeTimeouts) -> NodeView {
        let state = &self.registration.state;
        NodeView {
            id: self.registration.node_id,
            zone: self.registration.zone.clone(),
            writable: self.is_writable(timeouts),
            in_flight: self.load(),
            used_bytes: state.used_bytes,
            free_bytes: state.free_bytes,
            capacity_bytes: state.capacity_bytes,
        }
    }

    pub(super) fn status(&self, timeouts: NodeTimeouts) -> NodeStatus {
        NodeStatus {
            registration: self.registration.clone(),
            state: self.state(timeouts),
            phase: self.phase,
            is_embedded: self.voice == Voice::Embedded,
            silent: self.heard_at.elapsed(),
            unreached: self
                .unreached_at
                .filter(|_| self.is_heard(timeouts))
                .map(|at| at.elapsed()),
            is_writable: self.is_writable(timeouts),
            in_flight: self.requests.in_flight.load(Ordering::Relaxed),
        }
    }
}
