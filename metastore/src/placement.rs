//! Where a row's chunks are, and what a change of that means. Decided the same way in every
//! implementation.

use chunkproto::{ChunkId, NodeId};

use crate::{
    ChunkLayout, ChunkOwner, ChunkRef, MetaError, MetaResult, ObjectData, ObjectVersion, Part,
    Placement, ReplicaChange,
};

/// A row that names chunks.
#[expect(
    clippy::large_enum_variant,
    reason = "one lives for the length of a look-up"
)]
pub(crate) enum OwnerRow {
    Object(ObjectVersion),
    Part(Part),
}

/// What a change of replicas comes to.
pub(crate) struct Moved {
    /// Nodes that are named from now on.
    pub(crate) added: Vec<NodeId>,
    /// The chunk with the nodes that are no longer named.
    pub(crate) removed: ChunkRef,
}

impl OwnerRow {
    /// Where the row places a chunk, if it names it.
    pub(crate) fn placement(&self, owner: ChunkOwner, chunk: ChunkId) -> Option<Placement> {
        let found = self.layout()?.chunks.iter().find(|own| own.id == chunk);
        found.cloned().map(|chunk| Placement { owner, chunk })
    }

    /// Changes the row.
    ///
    /// # Errors
    /// `NoSuchChunk`; `Conflict` where the row names other nodes than the caller saw.
    pub(crate) fn apply(&mut self, change: &ReplicaChange) -> MetaResult<Moved> {
        assert!(
            !change.replicas.is_empty(),
            "a chunk is never named nowhere"
        );
        let mut chunks = self
            .layout_mut()
            .into_iter()
            .flat_map(|layout| &mut layout.chunks);
        let chunk = chunks
            .find(|own| own.id == change.chunk)
            .ok_or(MetaError::NoSuchChunk(change.chunk))?;
        if chunk.replicas != change.expected {
            return Err(MetaError::Conflict);
        }
        let without = |nodes: &[NodeId], others: &[NodeId]| {
            let rest = nodes.iter().filter(|node| !others.contains(node));
            rest.copied().collect::<Vec<_>>()
        };
        let moved = Moved {
            added: without(&change.replicas, &chunk.replicas),
            removed: ChunkRef {
                replicas: without(&chunk.replicas, &change.replicas),
                ..chunk.clone()
            },
        };
        chunk.replicas.clone_from(&change.replicas);
        Ok(moved)
    }

    fn layout(&self) -> Option<&ChunkLayout> {
        match self {
            Self::Object(object) => match &object.data {
                ObjectData::Chunks(layout) => Some(layout),
                ObjectData::Parts(_) | ObjectData::Inline(_) => None,
            },
            Self::Part(part) => Some(&part.layout),
        }
    }

    fn layout_mut(&mut self) -> Option<&mut ChunkLayout> {
        match self {
            Self::Object(object) => object.data.layout_mut(),
            Self::Part(part) => Some(&mut part.layout),
        }
    }
}

impl ObjectData {
    fn layout_mut(&mut self) -> Option<&mut ChunkLayout> {
        match self {
            Self::Chunks(layout) => Some(layout),
            Self::Parts(_) | Self::Inline(_) => None,
        }
    }
}

impl ObjectVersion {
    /// Takes over where the chunks are that stand in the current row too: a job may have moved them
    /// since the caller looked, and what it moved them from is garbage.
    pub(crate) fn keep_places(&mut self, current: &Self) {
        if let Some(layout) = self.data.layout_mut() {
            keep_places(layout, current.chunks());
        }
    }
}

/// As [`ObjectVersion::keep_places`], for any layout.
pub(crate) fn keep_places(layout: &mut ChunkLayout, current: &[ChunkRef]) {
    for chunk in &mut layout.chunks {
        if let Some(current) = current.iter().find(|current| current.id == chunk.id) {
            chunk.replicas.clone_from(&current.replicas);
        }
    }
}
