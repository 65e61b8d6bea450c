//! Membership: which chunk servers there are, and how they are.

mod member;
mod membership;
mod node_view;
mod phases;
mod refusals;
mod remembered;

pub use member::{Episode, InFlight, NodeState, NodeStatus, NodeTimeouts};
pub use membership::{Membership, Probed, RegisterError};
pub use node_view::NodeView;
pub use phases::{follow_phases, learn_phases};
pub use refusals::{Refusal, Refusals};
pub use remembered::remember_nodes;
