//! Uploads as the hints of their parts describe them. Nothing in a part says whether its upload was
//! completed, so what is made of it is the operator's choice.

use std::collections::BTreeMap;

use chunkproto::Crc64;
use md5::{Digest as _, Md5};
use metastore::{
    Bucket, ChecksumAlgorithm, ChecksumKind, ChunkLayout, CompleteUpload, MetaResult, ObjectData,
    ObjectKey, ObjectVersion, PART_MIN_BYTES, Part, PartNumber, Sequence, Upload, UploadId,
    VersionId, VersionOrder, WriteCondition,
};
use uuid::Uuid;

use super::found::{FoundBody, born_at};
use super::rebuild::{Described, Rebuild};
use crate::object_details::is_of_append;

/// The part that is appended to an object of one body.
const SECOND_PART: u16 = 2;

/// The parts of an upload that were found.
pub struct FoundUpload {
    pub id: Uuid,
    /// The newest whole revision of each part.
    whole: BTreeMap<u16, (Uuid, ChunkLayout)>,
    /// Bytes of parts of which no revision is whole.
    torn: BTreeMap<u16, u64>,
    details: Vec<u8>,
    /// Whether a part of it was appended to the object, which so was there.
    appended: bool,
}

impl FoundUpload {
    /// None of its parts yet.
    pub fn new(id: Uuid) -> Self {
        Self {
            id,
            whole: BTreeMap::new(),
            torn: BTreeMap::new(),
            details: Vec::new(),
            appended: false,
        }
    }

    /// Adds a revision of a part; later ones come later.
    pub fn add(
        &mut self,
        number: u16,
        sequence: Uuid,
        body: FoundBody,
        layout: Option<ChunkLayout>,
    ) {
        match layout {
            Some(layout) => {
                self.whole.insert(number, (sequence, layout));
                self.appended |= is_of_append(&body.details);
                self.details = body.details;
            }
            None => {
                self.torn.insert(number, body.found_bytes());
            }
        }
    }

    /// Parts of which no revision is whole, with the bytes that were found.
    pub fn torn(&self) -> Vec<(u16, u64)> {
        let is_torn = |(number, _): &(&u16, &u64)| !self.whole.contains_key(number);
        let torn = self.torn.iter().filter(is_torn);
        torn.map(|(number, bytes)| (*number, *bytes)).collect()
    }

    /// Whether the parts are 1 to n, and long enough for a completed upload.
    pub fn is_gapless(&self) -> bool {
        let numbers_fit = self.whole.keys().copied().eq((1..).take(self.whole.len()));
        let last = self.whole.len().saturating_sub(1);
        let mut all_but_last = self.whole.values().take(last);
        self.torn().is_empty()
            && numbers_fit
            && !self.whole.is_empty()
            && all_but_last.all(|(_, layout)| layout.size_bytes() >= PART_MIN_BYTES)
    }

    /// When bytes were appended to an object that was one body until then; `None` if the first part is
    /// there, or nothing was appended.
    pub fn appended_at(&self) -> Option<Uuid> {
        let (first, (sequence, _)) = self.whole.first_key_value()?;
        (self.appended && *first == SECOND_PART).then_some(*sequence)
    }

    /// The body that the others were appended to.
    pub fn begin_with(&mut self, sequence: Uuid, layout: ChunkLayout) {
        self.whole.insert(1, (sequence, layout));
    }

    /// Whether it is an object that was appended to, from its beginning.
    pub fn is_appended(&self) -> bool {
        let numbers_fit = self.whole.keys().copied().eq((1..).take(self.whole.len()));
        self.appended && numbers_fit && self.torn().is_empty()
    }

    /// Which parts there are, for the operator: `parts 1-3, 5`.
    fn part_numbers(&self) -> String {
        let mut runs: Vec<(u16, u16)> = Vec::new();
        for &number in self.whole.keys() {
            match runs.last_mut() {
                Some((_, last)) if last.checked_add(1) == Some(number) => *last = number,
                _ => runs.push((number, number)),
            }
        }
        let shown = runs.into_iter().map(|(first, last)| match first == last {
            true => first.to_string(),
            false => format!("{first}-{last}"),
        });
        format!("parts {}", shown.collect::<Vec<_>>().join(", "))
    }

    /// How many parts there are.
    pub fn parts(&self) -> usize {
        self.whole.len()
    }

    /// The newest revision of any part.
    pub fn sequence(&self) -> Uuid {
        let sequences = self.whole.values().map(|(sequence, _)| *sequence);
        sequences.max().unwrap_or(self.id)
    }
}

/// An upload's rows are written; its parts, with the digests of their bytes.
struct Written {
    parts: Vec<(PartNumber, Sequence)>,
    md5_of_md5s: Md5,
    crc64: Crc64,
    size_bytes: u64,
    described: Described,
}

impl Rebuild {
    /// Makes the upload's parts an object; whether they could all be read.
    pub(super) async fn assemble(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: FoundUpload,
    ) -> MetaResult<bool> {
        let (sequence, count) = (upload.sequence(), upload.whole.len());
        let is_known = upload.is_appended();
        let id = UploadId(upload.id);
        let written = self.write_upload(bucket, key, upload).await?;
        if written.parts.len() < count {
            self.report.uploads.add(1);
            return Ok(false);
        }
        let object = ObjectVersion {
            version: VersionId::Null,
            sequence: Sequence(sequence),
            modified_at: born_at(sequence),
            size_bytes: written.size_bytes,
            etag: format!("{}-{count}", hex::encode(written.md5_of_md5s.finalize())),
            checksum: written.described.checksum(written.crc64),
            headers: written.described.headers,
            user_metadata: written.described.user_metadata,
            owner: written.described.owner,
            data: ObjectData::Parts(id),
            order: VersionOrder::FIRST,
            attributes: written.described.attributes,
        };
        self.report.objects.add(1);
        self.report.object_bytes.add(object.size_bytes);
        if !is_known {
            self.report.assembled.add(1);
            self.report.note(format!(
                "{}/{key}: put together from the {count} parts of upload {id}; whether it was completed is not known",
                bucket.name
            ));
        }
        let complete = CompleteUpload {
            bucket: bucket.id,
            key: key.clone(),
            upload: id,
            object,
            parts: written.parts,
            condition: WriteCondition::Always,
        };
        self.metastore.complete_upload(complete).await?;
        Ok(true)
    }

    /// Writes the upload as one that is under way.
    pub(super) async fn leave(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: FoundUpload,
    ) -> MetaResult<()> {
        if upload.whole.is_empty() {
            return Ok(());
        }
        self.report.uploads.add(1);
        self.report.note(format!(
            "{}/{key}: upload {} with {} is left under way; if it was completed before, complete it again: \
             it expires after --multipart-expiry from now",
            bucket.name,
            UploadId(upload.id),
            upload.part_numbers()
        ));
        self.write_upload(bucket, key, upload).await?;
        Ok(())
    }

    async fn write_upload(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        upload: FoundUpload,
    ) -> MetaResult<Written> {
        let id = UploadId(upload.id);
        let described = Described::by(&upload.details, self);
        let row = Upload {
            id,
            // IMPORTANT: not when it was begun. Then it would expire with the gateway's first look, and
            // it may be an object that was acknowledged.
            initiated_at: self.now,
            owner: described.owner.clone(),
            headers: described.headers.clone(),
            user_metadata: described.user_metadata.clone(),
            checksum: Some((ChecksumAlgorithm::Crc64Nvme, ChecksumKind::FullObject)),
            attributes: described.attributes.clone(),
            initiator: String::new(),
        };
        self.metastore.create_upload(bucket.id, key, row).await?;
        let mut written = Written {
            parts: Vec::new(),
            md5_of_md5s: Md5::new(),
            crc64: Crc64::of(b""),
            size_bytes: 0,
            described,
        };
        for (number, (sequence, layout)) in upload.whole {
            let Some(md5) = self.md5(bucket, key, &layout).await else {
                continue;
            };
            let Ok(number) = PartNumber::parse(i64::from(number)) else {
                continue;
            };
            let stored_bytes = layout.size_bytes();
            let size_bytes = written.described.plain_bytes(stored_bytes);
            let crc64 = layout.crc64();
            written.parts.push((number, Sequence(sequence)));
            written.md5_of_md5s.update(md5);
            written.crc64 = written.crc64.then(crc64, stored_bytes);
            written.size_bytes += size_bytes;
            let part = Part {
                number,
                sequence: Sequence(sequence),
                modified_at: born_at(sequence),
                size_bytes,
                etag: hex::encode(md5),
                checksum: written.described.checksum(crc64),
                layout,
            };
            self.metastore
                .put_part(bucket.id, key, id, part, self.replicas)
                .await?;
        }
        Ok(written)
    }
}
