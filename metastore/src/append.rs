//! Appends: an object that bytes were put behind is a list of parts, like one that was uploaded in
//! parts, and its list grows. Decided the same way in every implementation.

use crate::placement::keep_places;
use crate::{
    BucketId, MetaError, MetaResult, ObjectData, ObjectKey, ObjectVersion, Part, PartEntry,
    PartNumber, PartSet, Sequence, UploadId, Versioning,
};

/// Bytes that are to be put behind those of a key's current version.
#[derive(Debug, Clone)]
pub struct AppendObject {
    /// The bucket. It keeps no versions: a version never changes.
    pub bucket: BucketId,
    /// The key.
    pub key: ObjectKey,
    /// The revision that the caller saw.
    pub seen: Sequence,
    /// The row from now on; its data is `Parts`, of the same id where it is that already.
    pub object: ObjectVersion,
    /// What was there, as the first part, where that is one body with any bytes.
    pub first: Option<Part>,
    /// The new bytes; the number is the one behind the last part's.
    pub part: Part,
    /// Replicas that each chunk should have; chunks with fewer get a repair row in this commit.
    pub replicas_wanted: u8,
}

/// What an append writes.
pub(crate) struct Appended {
    /// Names the parts.
    pub(crate) upload: UploadId,
    /// The new parts.
    pub(crate) parts: Vec<Part>,
    /// All parts.
    pub(crate) set: PartSet,
    /// The row.
    pub(crate) object: ObjectVersion,
}

impl AppendObject {
    /// What is to be written where `standing` is current, whose part set is `set` if it has one. The
    /// caller holds whatever keeps the key's current version from changing.
    ///
    /// # Errors
    /// `Conflict` where the caller saw something else; `TooManyParts`.
    pub(crate) fn onto(
        &self,
        standing: &ObjectVersion,
        set: Option<PartSet>,
        versioning: Versioning,
    ) -> MetaResult<Appended> {
        let ObjectData::Parts(upload) = self.object.data else {
            return Err(MetaError::Conflict);
        };
        let is_seen = standing.sequence == self.seen && versioning == Versioning::Off;
        let fits = match (&standing.data, &self.first) {
            (ObjectData::Parts(own), None) => *own == upload && set.is_some(),
            (ObjectData::Chunks(layout), None) => layout.chunks.is_empty(),
            (ObjectData::Chunks(_) | ObjectData::Inline(_), Some(_)) => true,
            _ => false,
        };
        if !is_seen || !fits {
            return Err(MetaError::Conflict);
        }
        let mut first = self.first.clone();
        if let Some(first) = &mut first {
            // A job may have moved its chunks since the caller looked.
            keep_places(&mut first.layout, standing.chunks());
        }
        let mut set = set.unwrap_or_else(|| PartSet {
            bucket: self.bucket,
            key: self.key.clone(),
            sequence: self.object.sequence,
            etag: String::new(),
            parts: Vec::new(),
        });
        let parts: Vec<_> = first.into_iter().chain([self.part.clone()]).collect();
        for part in &parts {
            if part.number != next_number(&set.parts)? {
                return Err(MetaError::Conflict);
            }
            set.parts.push(PartEntry {
                number: part.number,
                size_bytes: part.size_bytes,
            });
        }
        set.etag.clone_from(&self.object.etag);
        let mut object = self.object.clone();
        (object.version, object.order) = (standing.version, standing.order);
        Ok(Appended {
            upload,
            parts,
            set,
            object,
        })
    }
}

/// The number of the part behind `parts`.
///
/// # Errors
/// `TooManyParts`.
pub fn next_number(parts: &[PartEntry]) -> MetaResult<PartNumber> {
    let last = parts.last().map_or(0, |part| part.number.get());
    PartNumber::parse(i64::from(last) + 1).map_err(|_| MetaError::TooManyParts)
}
