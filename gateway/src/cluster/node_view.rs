//! A node as placement and rebalancing see it.

use chunkproto::NodeId;

/// What placement and rebalancing know of a node at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeView {
    /// The node.
    pub id: NodeId,
    /// Its failure zone; empty means that it is a zone of its own.
    pub zone: String,
    /// Whether it is live and takes new chunks.
    pub writable: bool,
    /// Requests under way: this gateway's own and those that the node last reported.
    pub in_flight: u32,
    /// Bytes of chunk data on it.
    pub used_bytes: u64,
    /// Bytes free on its disk.
    pub free_bytes: u64,
    /// Size of its disk.
    pub capacity_bytes: u64,
}
