//! Which node a copy comes from. A source that does not yield a chunk to one target may yield it to another:
//! what keeps two nodes from reaching each other says nothing of either.

use chunkproto::NodeId;

/// What came of copying one chunk so far.
#[derive(Debug, Default)]
pub struct CopySources {
    /// Sources, and the targets that got nothing from them.
    failed: Vec<(NodeId, NodeId)>,
}

impl CopySources {
    /// Notes that `target` got nothing from `source`, though that has the chunk.
    pub fn note_unavailable(&mut self, source: NodeId, target: NodeId) {
        self.failed.push((source, target));
    }

    /// The one of `good` to copy to `target` from: of those that did not fail it, the one that failed the
    /// fewest others, the first one where several did.
    #[must_use]
    pub fn choose(&self, good: &[NodeId], target: NodeId) -> Option<NodeId> {
        let open = good
            .iter()
            .filter(|source| !self.is_failed(**source, target));
        let failures = |source: &&NodeId| {
            let failed = self.failed.iter();
            failed.filter(|(failed, _)| failed == *source).count()
        };
        open.min_by_key(failures).copied()
    }

    /// Targets that got nothing from any of `good`.
    #[must_use]
    pub fn cut_off(&self, good: &[NodeId]) -> Vec<NodeId> {
        let targets = self.failed.iter().map(|(_, target)| *target);
        let is_cut_off = |target: &NodeId| self.choose(good, *target).is_none();
        targets.filter(is_cut_off).collect()
    }

    fn is_failed(&self, source: NodeId, target: NodeId) -> bool {
        self.failed.contains(&(source, target))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(number: u8) -> NodeId {
        NodeId::from_bytes([number; 16])
    }

    #[test]
    fn every_good_copy_is_tried_before_a_target_is_given_up() {
        let (good, target) = ([node(1), node(2)], node(9));
        let mut sources = CopySources::default();
        for source in good {
            assert_eq!(sources.choose(&good, target), Some(source));
            assert_eq!(sources.cut_off(&good), []);
            sources.note_unavailable(source, target);
        }
        assert_eq!(sources.choose(&good, target), None);
        assert_eq!(sources.cut_off(&good)[0], target);
        assert!(sources.choose(&good, node(8)).is_some());
    }

    #[test]
    fn a_source_that_failed_one_target_is_the_last_for_others() {
        let good = [node(1), node(2)];
        let mut sources = CopySources::default();
        sources.note_unavailable(node(1), node(9));
        assert_eq!(sources.choose(&good, node(8)), Some(node(2)));
        assert_eq!(sources.choose(&good[..1], node(8)), Some(node(1)));
    }
}
