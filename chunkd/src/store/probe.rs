//! A way for tests to own the faults: they are asked before each step that matters to durability.

use std::fmt;
use std::io;
use std::sync::Arc;

/// A step of the store, before it is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Writing a record that is longer than a group takes.
    WriteRecord,
    /// Beginning another life of a segment.
    BeginSegment,
    /// Writing a group.
    WriteGroup,
    /// Making a group durable.
    SyncGroup,
    /// Entering a durable group in the index.
    IndexGroup,
    /// Answering those whose changes are durable and visible.
    Answer,
    /// Moving a record out of a segment that is to be freed.
    MoveRecord,
    /// Making the index durable before a segment is freed.
    FlushIndex,
    /// Ending a segment's life.
    FreeSegment,
    /// Giving the file of a large chunk its name.
    NameFile,
    /// Removing the file of a large chunk.
    RemoveFile,
    /// Making a segment durable that was found after an unclean stop, before it is read.
    SyncFound,
    /// Entering a group that was found then.
    EnterFound,
    /// Ending the walk through such segments.
    EndRecovery,
}

impl Step {
    /// Those of a start after an unclean stop.
    pub const OF_RECOVERY: [Self; 3] = [Self::SyncFound, Self::EnterFound, Self::EndRecovery];

    /// Those of a store that is open.
    pub const ALL: [Self; 11] = [
        Self::WriteRecord,
        Self::WriteGroup,
        Self::SyncGroup,
        Self::IndexGroup,
        Self::Answer,
        Self::MoveRecord,
        Self::FlushIndex,
        Self::FreeSegment,
        Self::NameFile,
        Self::RemoveFile,
        Self::BeginSegment,
    ];
}

/// Is asked before each step; an error makes the step fail as if the disk had failed it. The
/// default lets everything pass.
#[derive(Clone, Default)]
pub struct Probe(Option<Arc<Ask>>);

type Ask = dyn Fn(Step) -> io::Result<()> + Send + Sync;

impl Probe {
    /// A probe that asks `ask`.
    #[must_use]
    pub fn new(ask: impl Fn(Step) -> io::Result<()> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(ask)))
    }

    /// Asks whether the step may be taken.
    pub(crate) fn at(&self, step: Step) -> io::Result<()> {
        self.0.as_ref().map_or(Ok(()), |ask| ask(step))
    }
}

impl fmt::Debug for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_some() {
            "Probe(..)"
        } else {
            "Probe"
        })
    }
}
