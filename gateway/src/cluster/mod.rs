//! Membership: which chunk servers there are, and how they are.

mod membership;

pub use membership::{InFlight, Membership, NodeState, NodeStatus, RegisterError, SUSPECT_AFTER};
