//! Walking through a segment: which groups it holds, and where some are missing. Reads little more
//! than the groups' heads.

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
    window: Bytes,
    window_at: u64,
}

/// A group, and what was not understood before it.
#[derive(Debug)]
pub(super) struct Scanned {
    pub group: Group,
    /// Where the group's head is.
    pub at: u64,
    /// Groups are missing before this one, and they were in these bytes.
    pub lost: Option<std::ops::Range<u64>>,
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
            window: Bytes::new(),
            window_at: 0,
        }
    }

    /// The next group; None at the end.
    pub fn next(&mut self) -> Result<Option<Scanned>, Fault> {
        while self.at < self.end {
            let at = self.at;
            if let Some(group) = self.group()? {
                let missing = group.ordinal != self.ordinal;
                let lost = (missing && self.understood < at).then_some(self.understood..at);
                self.ordinal = group.ordinal.wrapping_add(1);
                self.step(u64::from(group.bytes));
                return Ok(Some(Scanned { group, at, lost }));
            }
            match self.record()? {
                Some(record_bytes) => self.step(record_bytes),
                None => self.at += u64::from(ALIGN_BYTES),
            }
        }
        Ok(None)
    }

    fn step(&mut self, bytes: u64) {
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
        let nonce = self.file.nonce;
        let view = self.view(0)?;
        let Some(head_bytes) = RecordHead::announced_bytes(&view, nonce) else {
            return Ok(None);
        };
        let head = RecordHead::decode(&self.view(head_bytes)?, nonce);
        let bytes = head.map(|head| head.record_bytes());
        Ok(bytes.filter(|bytes| self.fits(*bytes)))
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
