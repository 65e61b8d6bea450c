//! What replacing a row means for its old bytes, and which chunks need repair. Decided the same way in
//! every implementation.

use chunkproto::NodeId;

use crate::{BodyId, ChunkRef, CommitObject, GcEntry, GcItem, ObjectData, ObjectVersion, UploadId};

/// Old bytes to reclaim.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unlinked {
    /// Nothing goes.
    Nothing,
    /// These chunks go.
    Chunks(Vec<ChunkRef>),
    /// All parts of a multipart object go, with its part set.
    Parts(UploadId),
    /// This inline body goes, at once: whoever reads it has read all of it.
    Body(BodyId),
}

impl CommitObject {
    /// Whether the commit can stand without the bytes of the row before it: chunks are durable on
    /// their nodes, an inline body comes along; parts are those of a completed upload.
    pub(crate) fn brings_its_bytes(&self) -> bool {
        match &self.object.data {
            ObjectData::Chunks(_) => true,
            ObjectData::Parts(_) => false,
            ObjectData::Inline(_) => self.inline_body.is_some(),
        }
    }
}

impl ObjectVersion {
    /// The chunks that stand in this row.
    pub(crate) fn chunks(&self) -> &[ChunkRef] {
        match &self.data {
            ObjectData::Chunks(layout) => &layout.chunks,
            ObjectData::Parts(_) | ObjectData::Inline(_) => &[],
        }
    }

    /// Whether the row names any bytes. Two empty objects look alike and share nothing.
    pub(crate) fn holds_bytes(&self) -> bool {
        !matches!(&self.data, ObjectData::Chunks(layout) if layout.chunks.is_empty())
    }

    /// What goes when `next` takes this row's place, or nothing does.
    pub(crate) fn unlinked_by(&self, next: Option<&Self>) -> Unlinked {
        match &self.data {
            data if next.is_some_and(|next| next.data == *data) => Unlinked::Nothing,
            ObjectData::Parts(upload) => Unlinked::Parts(*upload),
            ObjectData::Inline(body) => Unlinked::Body(*body),
            ObjectData::Chunks(layout) => {
                let kept = next.map(Self::chunks).unwrap_or_default();
                Unlinked::Chunks(chunks_without(&layout.chunks, kept))
            }
        }
    }
}

/// Those of `chunks` that are not in `kept`. A chunk that stands in the new row must not be
/// collected with the old one: a part that is committed twice keeps its bytes.
pub(crate) fn chunks_without(chunks: &[ChunkRef], kept: &[ChunkRef]) -> Vec<ChunkRef> {
    let is_kept = |chunk: &&ChunkRef| kept.iter().any(|other| other.id == chunk.id);
    chunks
        .iter()
        .filter(|chunk| !is_kept(chunk))
        .cloned()
        .collect()
}

impl GcEntry {
    /// The upload whose parts are to be expanded.
    ///
    /// # Panics
    /// For an entry of chunks: there is nothing to expand, so the caller has a bug.
    pub(crate) fn parts_to_expand(&self) -> UploadId {
        match self.item {
            GcItem::Parts(upload) => upload,
            GcItem::Chunks(_) | GcItem::Copies(_) => {
                panic!("only an entry of parts can be expanded")
            }
        }
    }

    /// What was deleted on every node that the entry names.
    ///
    /// # Panics
    /// For an entry of parts: its chunks are named by rows still, and would leak.
    pub(crate) fn deleted(&self) -> DeletedChunks<'_> {
        match &self.item {
            GcItem::Chunks(chunks) => DeletedChunks::Chunks(chunks),
            GcItem::Copies(chunk) => DeletedChunks::Copies(chunk),
            GcItem::Parts(_) => panic!("an entry of parts ends by being expanded"),
        }
    }
}

/// What a finished GC entry deleted.
pub(crate) enum DeletedChunks<'e> {
    /// These chunks are nowhere.
    Chunks(&'e [ChunkRef]),
    /// This chunk is no longer on these nodes.
    Copies(&'e ChunkRef),
}

impl GcItem {
    /// What is left of the item once its chunks are gone from the nodes `done`; `None` if nothing is.
    ///
    /// # Panics
    /// For parts: they are expanded first.
    pub(crate) fn without(&self, done: &[NodeId]) -> Option<Self> {
        let narrowed = |chunk: &ChunkRef| {
            let mut chunk = chunk.clone();
            chunk.replicas.retain(|node| !done.contains(node));
            (!chunk.replicas.is_empty()).then_some(chunk)
        };
        match self {
            Self::Chunks(chunks) => {
                let left: Vec<_> = chunks.iter().filter_map(narrowed).collect();
                (!left.is_empty()).then_some(Self::Chunks(left))
            }
            Self::Copies(chunk) => narrowed(chunk).map(Self::Copies),
            Self::Parts(_) => panic!("an entry of parts ends by being expanded"),
        }
    }

    /// The chunks that are to be deleted.
    ///
    /// # Panics
    /// For parts.
    pub(crate) fn chunks(&self) -> &[ChunkRef] {
        match self {
            Self::Chunks(chunks) => chunks,
            Self::Copies(chunk) => std::slice::from_ref(chunk),
            Self::Parts(_) => panic!("an entry of parts ends by being expanded"),
        }
    }
}
