//! Membership: which chunk servers there are, and how they are.

mod member;
mod membership;
mod phases;
mod reach;
mod remembered;

pub use member::{Episode, InFlight, NodeState, NodeStatus, NodeTimeouts};
pub use membership::{Membership, RegisterError};
pub use phases::{follow_phases, learn_phases};
pub use reach::{Probed, probe, watch_reach};
pub use remembered::remember_nodes;
