//! Membership: which chunk servers there are, and how they are.

mod member;
mod membership;

pub use member::{Episode, InFlight, NodeState, NodeStatus, Patience};
pub use membership::{Membership, RegisterError};
