//! What every operation works with: the metadata, the bodies, the settings, and the caller.

use std::sync::Arc;

use chunkproto::ByteRange;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use metastore::{
    Bucket, BucketName, Metastore, ObjectData, ObjectKey, ObjectVersion, PartEntry, UploadId,
};
use s3s::{S3Error, S3Result, s3_error};

use super::errors;
use crate::chunks::{BodyReader, BodyWriter, ReadError, SliceSource, slices_of};

/// Bounds and names that operators set.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The region that the gateway answers as.
    pub region: String,
    /// Longest body of one PUT, copy or part.
    pub object_max_bytes: u64,
}

/// The S3 operations over one cluster. Cheap to clone.
#[derive(Clone)]
pub struct S3Gateway {
    pub(super) metastore: Arc<dyn Metastore>,
    pub(super) writer: BodyWriter,
    pub(super) reader: BodyReader,
    pub(super) settings: Arc<S3Settings>,
}

impl S3Gateway {
    /// The operations over these parts.
    #[must_use]
    pub fn new(
        metastore: Arc<dyn Metastore>,
        writer: BodyWriter,
        reader: BodyReader,
        settings: S3Settings,
    ) -> Self {
        Self {
            metastore,
            writer,
            reader,
            settings: Arc::new(settings),
        }
    }

    /// The bucket that a request names.
    pub(super) async fn bucket(&self, name: &str) -> S3Result<Bucket> {
        let name = BucketName::parse(name).map_err(errors::from_name)?;
        self.metastore
            .bucket(&name)
            .await
            .map_err(errors::from_metadata)
    }

    /// The current version of a key; `version` is the `versionId` that the client asked for.
    pub(super) async fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<&str>,
    ) -> S3Result<ObjectVersion> {
        if !names_the_null_version(version)? {
            return Err(s3_error!(NoSuchVersion));
        }
        self.metastore
            .object(bucket.id, key)
            .await
            .map_err(errors::from_metadata)
    }

    /// Refuses a body that is longer than the operator allows, before any of it is read.
    pub(super) fn check_size(&self, body_bytes: u64) -> S3Result<()> {
        if body_bytes > self.settings.object_max_bytes {
            return Err(s3_error!(EntityTooLarge));
        }
        Ok(())
    }

    /// The slices of `object` that cover `range`, looked up part by part as they are needed.
    pub(super) async fn slices(
        &self,
        object: &ObjectVersion,
        range: ByteRange,
    ) -> S3Result<SliceSource> {
        match &object.data {
            ObjectData::Chunks(layout) => {
                Ok(stream::iter(slices_of(layout, range).into_iter().map(Ok)).boxed())
            }
            ObjectData::Parts(upload) => {
                let set = self
                    .metastore
                    .part_set(*upload)
                    .await
                    .map_err(errors::from_metadata)?;
                Ok(self.slices_of_parts(*upload, parts_in(&set.parts, range)))
            }
        }
    }

    fn slices_of_parts(&self, upload: UploadId, parts: Vec<(PartEntry, ByteRange)>) -> SliceSource {
        let metastore = Arc::clone(&self.metastore);
        stream::iter(parts)
            .then(move |(entry, range)| {
                let metastore = Arc::clone(&metastore);
                async move {
                    let part = metastore.part(upload, entry.number).await?;
                    Ok::<_, ReadError>(stream::iter(
                        slices_of(&part.layout, range).into_iter().map(Ok),
                    ))
                }
            })
            .try_flatten()
            .boxed()
    }
}

/// The parts that `range` of the object touches, each with the touched range inside the part.
fn parts_in(parts: &[PartEntry], range: ByteRange) -> Vec<(PartEntry, ByteRange)> {
    let mut touched = Vec::new();
    let mut part_start = 0u64;
    for entry in parts {
        let part_end = part_start + entry.size_bytes;
        let (start, end) = (range.start.max(part_start), range.end.min(part_end));
        if start < end {
            let inside = ByteRange {
                start: start - part_start,
                end: end - part_start,
            };
            touched.push((*entry, inside));
        }
        part_start = part_end;
    }
    touched
}

/// Whether a `versionId` means the version that an unversioned key has. An id of a well-formed
/// other version is not an error here: there is no such version.
pub(super) fn names_the_null_version(version: Option<&str>) -> S3Result<bool> {
    match version {
        None | Some("null") => Ok(true),
        Some("") => Err(S3Error::with_message(
            s3s::S3ErrorCode::InvalidArgument,
            "Version id cannot be the empty string",
        )),
        Some(_) => Ok(false),
    }
}
