//! Where the copies of a backup's chunks are. No row names them, so nobody repairs them: the job looks
//! here whether it needs another checkpoint, and whether the one that it has could be restored.

use std::collections::BTreeSet;

use chunkproto::NodeId;
use metastore::ChunkRef;

/// For each chunk the nodes that hold it; once where several chunks are on the same nodes.
#[derive(Debug, Clone, Default)]
pub struct Spread(BTreeSet<Vec<NodeId>>);

impl Spread {
    /// Adds chunks as they were written.
    pub fn add(&mut self, chunks: &[ChunkRef]) {
        for chunk in chunks {
            let mut nodes = chunk.replicas.clone();
            nodes.sort_unstable();
            self.0.insert(nodes);
        }
    }

    /// Adds what another one has.
    pub fn merge(&mut self, other: Self) {
        self.0.extend(other.0);
    }

    /// Whether any copy is on a node that is so.
    pub fn has_copies_on(&self, is_so: impl Fn(NodeId) -> bool) -> bool {
        self.0.iter().flatten().any(|node| is_so(*node))
    }

    /// Whether some chunk has copies on such nodes alone.
    pub fn has_chunks_only_on(&self, is_so: impl Fn(NodeId) -> bool) -> bool {
        let mut chunks = self.0.iter();
        chunks.any(|nodes| nodes.iter().all(|node| is_so(*node)))
    }
}

#[cfg(test)]
mod tests {
    use chunkproto::{ChunkId, Crc64};

    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    fn on(nodes: &[u8]) -> ChunkRef {
        ChunkRef {
            id: ChunkId::generate_for_metadata(),
            length_bytes: 1,
            crc64: Crc64(1),
            replicas: nodes.iter().map(|number| node(*number)).collect(),
        }
    }

    #[test]
    fn a_chunk_is_lost_only_with_all_of_its_nodes() {
        let mut spread = Spread::default();
        spread.add(&[on(&[2, 1]), on(&[1, 2]), on(&[3, 1])]);
        let gone =
            |numbers: &'static [u8]| move |is: NodeId| numbers.iter().any(|one| node(*one) == is);
        assert!(spread.has_copies_on(gone(&[3])) && !spread.has_copies_on(gone(&[4])));
        assert!(!spread.has_chunks_only_on(gone(&[2, 3])));
        assert!(spread.has_chunks_only_on(gone(&[1, 3])));
        assert!(!Spread::default().has_chunks_only_on(|_| true));
    }
}
