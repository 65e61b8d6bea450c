//! Walking through a segment: which groups it holds, and where some are missing. Reads little more
//! than the groups' heads.

use std::ops::Range;

use bytes::Bytes;

use super::super::fault::Fault;
use super::file::{SegmentFile, read_up_to};
use super::group::Group;
use super::header::HEADER_BYTES;
use super::record::RecordHead;
use super::{ALIGN_BYTES, aligned};

/// How much is read at a time; at least the longest head.
const WINDOW_BYTES: usize = 64 << 10;

/// A walk through one life of a segment.
pub(super) struct Scan<'a> {
    file: &'a SegmentFile,
    at: u64,
    end: u64,
    /// Number of the group that should come next.
    ordinal: u32,
    /// Where the last thing ended that was understood.
    understood: u64,
    /// What was not understood since the last group.
    unread: Vec<Range<u64>>,
    /// Where records with room of their own begin, each with the number of the last group before.
    records: Vec<(u64, u64)>,
    /// Number of the last group among all of the store.
    sequence: u64,
    /// Heads that look damaged, behind the last group.
    traces: Vec<Trace>,
    window: Bytes,
    window_at: u64,
}

/// A group, and what was not understood before it.
#[derive(Debug)]
pub(super) struct Scanned {
    pub group: Group,
    /// Where the group's head is.
    pub at: u64,
    /// Number of the group before it, among all of the store; 0 if none was read.
    pub after: u64,
    /// Groups are missing before this one, and they were in these bytes; nowhere if none is.
    pub lost: Vec<Range<u64>>,
}

/// What is left of a group's head that is damaged.
#[derive(Debug, Clone, Copy)]
pub(super) struct Trace {
    /// Where it is.
    pub at: u64,
    /// Number of the last group before it; 0 if none was read.
    pub after: u64,
    /// The number of the group, if that is not damaged too.
    pub sequence: u64,
}

impl<'a> Scan<'a> {
    /// A walk from `from` on, where group `ordinal` is expected next.
    pub fn new(file: &'a SegmentFile, from: u32, ordinal: u32, segment_bytes: u32) -> Self {
        let from = u64::from(from.max(HEADER_BYTES));
        Self {
            file,
            at: from,
            end: u64::from(segment_bytes.saturating_sub(HEADER_BYTES)),
            ordinal,
            understood: from,
            unread: Vec::new(),
            records: Vec::new(),
            sequence: 0,
            traces: Vec::new(),
            window: Bytes::new(),
            window_at: 0,
        }
    }

    /// The next group; `None` at the end.
    pub fn next(&mut self) -> Result<Option<Scanned>, Fault> {
        while self.at < self.end {
            let at = self.at;
            if let Some(group) = self.group()? {
                let missing = group.ordinal != self.ordinal;
                self.ordinal = group.ordinal.wrapping_add(1);
                // A damaged head before it shows in the ordinals.
                self.traces.clear();
                let after = std::mem::replace(&mut self.sequence, group.sequence);
                self.step(u64::from(group.bytes));
                let unread = std::mem::take(&mut self.unread);
                let lost = if missing { unread } else { Vec::new() };
                return Ok(Some(Scanned {
                    group,
                    at,
                    after,
                    lost,
                }));
            }
            match self.record()? {
                Some(record_bytes) => {
                    self.records.push((at, self.sequence));
                    self.step(record_bytes);
                }
                None => {
                    self.look_for_trace()?;
                    self.at += u64::from(ALIGN_BYTES);
                }
            }
        }
        Ok(None)
    }

    /// Where the records with room of their own begin that were passed, each with the number of the last group
    /// before it; 0 where there is none.
    pub fn records(&self) -> &[(u64, u64)] {
        &self.records
    }

    /// What is left of damaged heads behind the last group, at the end.
    pub fn traces(&self) -> &[Trace] {
        &self.traces
    }

    /// The head of the record that begins at `at`.
    pub fn record_at(&mut self, at: u64) -> Result<Option<RecordHead>, Fault> {
        self.at = at;
        self.record_head()
    }

    /// Passes something that was understood.
    fn step(&mut self, bytes: u64) {
        if self.understood < self.at {
            self.unread.push(self.understood..self.at);
        }
        self.at += aligned(bytes);
        self.understood = self.at;
    }

    fn group(&mut self) -> Result<Option<Group>, Fault> {
        let nonce = self.file.nonce;
        let view = self.view(0)?;
        let Some(head_bytes) = Group::announced_bytes(&view, nonce) else {
            return Ok(None);
        };
        let view = self.view(head_bytes)?;
        Ok(Group::decode(&view, nonce).filter(|group| self.fits(group.bytes.into())))
    }

    /// The length of the record that begins here: one that was written to reserved room.
    fn record(&mut self) -> Result<Option<u64>, Fault> {
        let head = self.record_head()?;
        let bytes = head.map(|head| head.record_bytes());
        Ok(bytes.filter(|bytes| self.fits(*bytes)))
    }

    fn record_head(&mut self) -> Result<Option<RecordHead>, Fault> {
        let nonce = self.file.nonce;
        let view = self.view(0)?;
        let Some(head_bytes) = RecordHead::announced_bytes(&view, nonce) else {
            return Ok(None);
        };
        Ok(RecordHead::decode(&self.view(head_bytes)?, nonce))
    }

    fn look_for_trace(&mut self) -> Result<(), Fault> {
        let sequence = Group::traced_sequence(&self.view(0)?, self.file.nonce);
        // What a crash has cut off in the number itself shows an earlier one.
        let sequence = sequence.filter(|sequence| *sequence > self.sequence);
        self.traces.extend(sequence.map(|sequence| Trace {
            at: self.at,
            after: self.sequence,
            sequence,
        }));
        Ok(())
    }

    fn fits(&self, bytes: u64) -> bool {
        bytes <= self.end - self.at
    }

    /// The bytes from here on, at least `bytes` unless the file ends or a window is shorter.
    fn view(&mut self, bytes: usize) -> Result<Bytes, Fault> {
        let wanted = bytes.max(ALIGN_BYTES as usize) as u64;
        let window_end = self.window_at + self.window.len() as u64;
        if self.at < self.window_at || self.at + wanted > window_end {
            let mut window = vec![0; WINDOW_BYTES];
            let read = read_up_to(self.file.file(), &mut window, self.at);
            window.truncate(read.map_err(Fault::io("read", self.file.path()))?);
            self.window = window.into();
            self.window_at = self.at;
        }
        let start = usize::try_from(self.at - self.window_at).expect("inside the window");
        Ok(self.window.slice(start.min(self.window.len())..))
    }
}
