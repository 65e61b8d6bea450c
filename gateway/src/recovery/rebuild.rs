//! Rows from owner hints: buckets, then key by key the newest revision that is whole, or in a bucket
//! with versioning all of them in their order. Bytes are read once, for ETags and as proof that they
//! are there. What a row would name and no node has is reported, and not invented.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chunkproto::Crc64;
use futures::{TryStreamExt as _, stream};
use md5::{Digest as _, Md5};
use metastore::{
    Bucket, BucketId, BucketName, BucketSettings, ChecksumAlgorithm, ChecksumKind, ChunkLayout,
    CommitObject, MetaResult, Metastore, ObjectAttributes, ObjectChecksum, ObjectData, ObjectKey,
    ObjectVersion, Sequence, SystemHeaders, Timestamp, VersionId, VersionOrder, Versioning,
    WriteCondition,
};
use uuid::Uuid;

use super::found::{BodyName, FoundBodies, FoundBody, born_at};
use super::read_back::read_body;
use super::report::Report;
use super::uploads::FoundUpload;
use crate::chunks::ChunkTransport;
use crate::object_details::KnownDetails;
use crate::sealing::plain_bytes;

/// Keys that are worked on at the same time.
const KEYS_PARALLEL: usize = 16;

/// Writes rows for what was found.
pub struct Rebuild {
    pub metastore: Arc<dyn Metastore>,
    pub transport: Arc<dyn ChunkTransport>,
    /// Replicas that each chunk should have; repair makes those that are missing.
    pub replicas: u8,
    /// Owner (canonical id) for objects and buckets whose hints name none.
    pub owner: String,
    /// Whether uploads whose parts have no gap become objects.
    pub assemble_uploads: bool,
    /// When uploads that stay under way begin anew.
    pub now: Timestamp,
    pub report: Report,
}

/// A bucket as the hints in it describe it.
pub(super) struct FoundBucket {
    name: String,
    first: Uuid,
    newest: Uuid,
    /// By the newest hint that says it.
    owner: Option<String>,
    versioning: Versioning,
}

/// All that was found under one key.
struct FoundKey {
    bucket: Arc<Bucket>,
    key: ObjectKey,
    bodies: Vec<(BodyName, FoundBody)>,
}

/// Something whole that can stand under a key.
enum Candidate {
    Body(Uuid, ChunkLayout, Box<FoundBody>),
    Upload(FoundUpload),
}

impl Candidate {
    /// Its place among the revisions of the key.
    fn sequence(&self) -> Uuid {
        match self {
            Self::Body(sequence, ..) => *sequence,
            Self::Upload(upload) => upload.sequence(),
        }
    }
}

impl Rebuild {
    /// Writes the rows.
    ///
    /// # Errors
    /// What keeps the metadata from being written.
    pub async fn run(&self, bodies: FoundBodies) -> MetaResult<()> {
        let buckets = self.make_buckets(&bodies).await?;
        let keys = self.by_key(bodies, &buckets);
        stream::iter(keys.into_iter().map(Ok))
            .try_for_each_concurrent(KEYS_PARALLEL, async |key| self.rebuild_key(key).await)
            .await?;
        for bucket in buckets.into_values() {
            self.settle(&bucket).await?;
        }
        Ok(())
    }

    /// Suspends versioning where it was suspended. Not before all versions are written: while it is,
    /// each would take the place of the one before.
    async fn settle(&self, bucket: &Bucket) -> MetaResult<()> {
        if bucket.settings.versioning != Versioning::Suspended {
            return Ok(());
        }
        let mut settled = bucket.clone();
        settled.settings.revision = Sequence::generate();
        let seen = bucket.settings.revision;
        self.metastore.amend_bucket(settled, seen).await
    }

    async fn make_buckets(&self, bodies: &FoundBodies) -> MetaResult<BTreeMap<Uuid, Arc<Bucket>>> {
        let found = buckets_of(bodies);
        let mut newest: BTreeMap<&str, (Uuid, Uuid)> = BTreeMap::new();
        for (id, bucket) in &found {
            let of_name = newest.entry(&bucket.name).or_insert((bucket.newest, *id));
            *of_name = (*of_name).max((bucket.newest, *id));
        }
        let mut made = BTreeMap::new();
        for (id, found) in &found {
            if newest[found.name.as_str()].1 != *id {
                self.report.note(format!(
                    "bucket {}: an earlier bucket of that name (id {id}) is left out",
                    found.name
                ));
                continue;
            }
            let Ok(name) = BucketName::parse(&found.name) else {
                self.report
                    .note(format!("bucket '{}': the name is not valid", found.name));
                continue;
            };
            let bucket = Bucket {
                id: BucketId(*id),
                name,
                created_at: born_at(found.first),
                owner: found.owner.clone().unwrap_or_else(|| self.owner.clone()),
                region: String::new(),
                settings: BucketSettings {
                    versioning: found.versioning,
                    ..BucketSettings::default()
                },
            };
            let mut written = bucket.clone();
            if found.versioning == Versioning::Suspended {
                written.settings.versioning = Versioning::Enabled;
            }
            self.metastore.create_bucket(written).await?;
            self.report.buckets.add(1);
            made.insert(*id, Arc::new(bucket));
        }
        Ok(made)
    }

    fn by_key(&self, bodies: FoundBodies, buckets: &BTreeMap<Uuid, Arc<Bucket>>) -> Vec<FoundKey> {
        let mut keys: Vec<FoundKey> = Vec::new();
        for (name, body) in bodies {
            let Some(bucket) = buckets.get(&name.bucket_id) else {
                self.report.older.add(1);
                continue;
            };
            if let Some(last) = keys.last_mut()
                && last.bucket.id == bucket.id
                && last.key.as_str() == name.key
            {
                last.bodies.push((name, body));
                continue;
            }
            match ObjectKey::parse(name.key.as_str()) {
                Ok(key) => keys.push(FoundKey {
                    bucket: Arc::clone(bucket),
                    key,
                    bodies: vec![(name, body)],
                }),
                Err(error) => self.report.note(format!("{}: {error}", bucket.name)),
            }
        }
        keys
    }

    async fn rebuild_key(&self, found: FoundKey) -> MetaResult<()> {
        let FoundKey {
            bucket,
            key,
            bodies,
        } = found;
        let mut candidates = self.candidates(&bucket, &key, bodies).await?;
        candidates.sort_by_key(Candidate::sequence);
        let keeps_all = keeps_versions(&bucket);
        if candidates.len() > 1 && !keeps_all {
            self.report.note(format!(
                "{}/{key}: {} revisions are whole; the newest is taken, whether or not it was ever acknowledged",
                bucket.name,
                candidates.len()
            ));
        }
        let mut done = false;
        if !keeps_all {
            candidates.reverse();
        }
        for candidate in candidates {
            if done && !keeps_all {
                self.report.older.add(1);
                continue;
            }
            done |= match candidate {
                Candidate::Body(sequence, layout, body) => {
                    self.rebuild_body(&bucket, &key, sequence, layout, &body)
                        .await?
                }
                Candidate::Upload(upload) => self.assemble(&bucket, &key, upload).await?,
            };
        }
        Ok(())
    }

    /// What is whole under the key; what is not is reported, and what stays an upload is written.
    async fn candidates(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        bodies: Vec<(BodyName, FoundBody)>,
    ) -> MetaResult<Vec<Candidate>> {
        let (mut candidates, mut uploads) = (Vec::new(), BTreeMap::new());
        for (name, body) in bodies {
            match (name.part, body.layout()) {
                (Some((upload, number)), layout) => uploads
                    .entry(upload)
                    .or_insert_with(|| FoundUpload::new(upload))
                    .add(number, name.sequence, body, layout),
                (None, Some(layout)) => {
                    candidates.push(Candidate::Body(name.sequence, layout, Box::new(body)));
                }
                (None, None) => self.note_incomplete(bucket, key, &name, &body),
            }
        }
        // Where one revision takes the place of all others, one that nobody completed must not.
        let has_place = keeps_versions(bucket) || (candidates.is_empty() && uploads.len() == 1);
        let mut uploads: Vec<_> = uploads.into_values().collect();
        // Of appends that raced for one body, that which others came behind has won.
        uploads.sort_by_key(|upload| Reverse(upload.parts()));
        for mut upload in uploads {
            if let Some((sequence, layout)) = appended_to(&mut candidates, &upload) {
                upload.begin_with(sequence, layout);
            }
            for (number, found_bytes) in upload.torn() {
                self.report.incomplete.add(1);
                self.report.note(format!(
                    "{}/{key}: part {number} of upload {} is not whole, {found_bytes} bytes of it were found",
                    bucket.name, upload.id
                ));
            }
            let is_assembled = self.assemble_uploads && has_place && upload.is_gapless();
            if is_assembled || upload.is_appended() {
                candidates.push(Candidate::Upload(upload));
            } else {
                self.leave(bucket, key, upload).await?;
            }
        }
        Ok(candidates)
    }

    fn note_incomplete(&self, bucket: &Bucket, key: &ObjectKey, name: &BodyName, body: &FoundBody) {
        self.report.incomplete.add(1);
        self.report.note(format!(
            "{}/{key}: {} of {} bytes were found of the revision {}; it is left out",
            bucket.name,
            body.found_bytes(),
            body.body_bytes
                .map_or("unknown".to_owned(), |bytes| bytes.to_string()),
            name.sequence,
        ));
    }

    /// Whether the bytes were all there and the row is written.
    async fn rebuild_body(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        sequence: Uuid,
        layout: ChunkLayout,
        body: &FoundBody,
    ) -> MetaResult<bool> {
        let Some(etag) = self.md5(bucket, key, &layout).await else {
            return Ok(false);
        };
        let described = Described::by(&body.details, self);
        let object = ObjectVersion {
            version: VersionId::Null,
            sequence: Sequence(sequence),
            modified_at: born_at(sequence),
            size_bytes: described.plain_bytes(layout.size_bytes()),
            etag: hex::encode(etag),
            checksum: described.checksum(layout.crc64()),
            headers: described.headers,
            user_metadata: described.user_metadata,
            owner: described.owner,
            data: ObjectData::Chunks(layout),
            order: VersionOrder::FIRST,
            attributes: described.attributes,
        };
        self.report.objects.add(1);
        self.report.object_bytes.add(object.size_bytes);
        let commit = CommitObject {
            bucket: bucket.id,
            key: key.clone(),
            object,
            inline_body: None,
            condition: WriteCondition::Always,
            replicas_wanted: self.replicas,
        };
        self.metastore.commit_object(commit).await?;
        Ok(true)
    }

    /// The MD5 of a body's bytes, if they can all be read; reports it, if not.
    pub(super) async fn md5(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        layout: &ChunkLayout,
    ) -> Option<[u8; 16]> {
        match read_body(&self.transport, layout, Md5::new()).await {
            Ok(md5) => Some(md5.finalize().into()),
            Err(error) => {
                self.report.incomplete.add(1);
                self.report.note(format!(
                    "{}/{key}: its bytes cannot be read ({error}); it is left out",
                    bucket.name
                ));
                None
            }
        }
    }
}

/// Whether all revisions of a key stand in the bucket side by side.
fn keeps_versions(bucket: &Bucket) -> bool {
    bucket.settings.versioning != Versioning::Off
}

/// Takes the body that an upload's parts were appended to: the newest that is older than they are.
fn appended_to(
    candidates: &mut Vec<Candidate>,
    upload: &FoundUpload,
) -> Option<(Uuid, ChunkLayout)> {
    let appended_at = upload.appended_at()?;
    let is_before = |(_, candidate): &(usize, &Candidate)| matches!(candidate, Candidate::Body(sequence, ..) if *sequence < appended_at);
    let bodies = candidates.iter().enumerate().filter(is_before);
    let (at, _) = bodies.max_by_key(|(_, candidate)| candidate.sequence())?;
    match candidates.remove(at) {
        Candidate::Body(sequence, layout, _) => Some((sequence, layout)),
        Candidate::Upload(_) => None,
    }
}

/// What a hint's details say, or what stands in for them.
pub(super) struct Described {
    pub owner: String,
    pub headers: SystemHeaders,
    pub user_metadata: Vec<(String, String)>,
    pub attributes: ObjectAttributes,
}

impl Described {
    pub fn by(details: &[u8], rebuild: &Rebuild) -> Self {
        match KnownDetails::decode(details) {
            Some(known) => Self {
                owner: known.owner,
                headers: known.headers,
                user_metadata: known.user_metadata,
                attributes: known.attributes,
            },
            None => {
                rebuild.report.undescribed.add(1);
                Self {
                    owner: rebuild.owner.clone(),
                    headers: SystemHeaders::default(),
                    user_metadata: Vec::new(),
                    attributes: ObjectAttributes::default(),
                }
            }
        }
    }
}

impl Described {
    /// Length of the body that clients see, of whose stored form the length is `stored_bytes`.
    pub fn plain_bytes(&self, stored_bytes: u64) -> u64 {
        match self.attributes.encryption {
            Some(_) => plain_bytes(stored_bytes),
            None => stored_bytes,
        }
    }

    /// The checksum that clients may ask for: that of a sealed body would tell nothing of theirs.
    pub fn checksum(&self, stored: Crc64) -> Option<ObjectChecksum> {
        let is_plain = self.attributes.encryption.is_none();
        is_plain.then(|| checksum(stored))
    }
}

pub(super) fn buckets_of(bodies: &FoundBodies) -> BTreeMap<Uuid, FoundBucket> {
    let mut buckets: BTreeMap<Uuid, FoundBucket> = BTreeMap::new();
    let mut said: BTreeMap<Uuid, Uuid> = BTreeMap::new();
    for (name, body) in bodies {
        let bucket = buckets
            .entry(name.bucket_id)
            .or_insert_with(|| FoundBucket {
                name: body.bucket.clone(),
                first: name.sequence,
                newest: name.sequence,
                owner: None,
                versioning: Versioning::Off,
            });
        bucket.first = bucket.first.min(name.sequence);
        bucket.newest = bucket.newest.max(name.sequence);
        let known = KnownDetails::decode(&body.details);
        let latest = said.get(&name.bucket_id).copied();
        if let Some(known) = known
            && latest.is_none_or(|latest| latest < name.sequence)
        {
            said.insert(name.bucket_id, name.sequence);
            let (owner, versioning) = known.bucket;
            (bucket.owner, bucket.versioning) = (Some(owner), versioning);
        }
    }
    buckets
}

/// A checksum as S3 shows it.
fn checksum(crc64: Crc64) -> ObjectChecksum {
    ObjectChecksum {
        algorithm: ChecksumAlgorithm::Crc64Nvme,
        kind: ChecksumKind::FullObject,
        value: STANDARD.encode(crc64.0.to_be_bytes()),
    }
}
