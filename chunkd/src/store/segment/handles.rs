//! The open files of segments: a bounded number, the least recently used closed first.

use std::collections::HashMap;
use std::sync::Arc;

use super::file::SegmentFile;

/// Open segment files by slot.
pub(super) struct Handles {
    /// Most files kept open; reads and writes under way may keep more for their duration.
    open_max: usize,
    open: HashMap<u32, (Arc<SegmentFile>, u64)>,
    clock: u64,
}

impl Handles {
    /// No open files yet, and `open_max` at most.
    pub fn new(open_max: usize) -> Self {
        Self {
            open_max,
            open: HashMap::new(),
            clock: 0,
        }
    }

    /// The file of a slot if it is open.
    pub fn get(&mut self, slot: u32) -> Option<Arc<SegmentFile>> {
        self.clock += 1;
        let (file, used) = self.open.get_mut(&slot)?;
        *used = self.clock;
        Some(Arc::clone(file))
    }

    /// Keeps a file that was opened, unless another one of the same life is kept already; returns the one
    /// that is.
    pub fn keep(&mut self, file: Arc<SegmentFile>) -> Arc<SegmentFile> {
        match self.get(file.slot) {
            Some(kept) if kept.generation == file.generation => kept,
            _ => {
                self.insert(Arc::clone(&file));
                file
            }
        }
    }

    /// Keeps an open file, in place of an earlier life's.
    pub fn insert(&mut self, file: Arc<SegmentFile>) {
        if self.open.len() >= self.open_max {
            self.close_oldest();
        }
        self.clock += 1;
        self.open.insert(file.slot, (file, self.clock));
    }

    /// Closes the file of a slot; false if somebody still reads or writes it.
    pub fn close(&mut self, slot: u32) -> bool {
        if self
            .open
            .get(&slot)
            .is_some_and(|(file, _)| Arc::strong_count(file) > 1)
        {
            return false;
        }
        self.open.remove(&slot);
        true
    }

    fn close_oldest(&mut self) {
        let unused = self
            .open
            .values()
            .filter(|(file, _)| Arc::strong_count(file) == 1);
        let oldest = unused.min_by_key(|(_, used)| *used);
        if let Some(slot) = oldest.map(|(file, _)| file.slot) {
            self.open.remove(&slot);
        }
    }
}
