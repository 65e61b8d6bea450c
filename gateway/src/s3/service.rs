//! What every operation works with: the metadata, the bodies, the settings, and the caller.

use std::sync::Arc;

use metastore::{Bucket, BucketName, Metastore, ObjectKey, ObjectVersion};
use s3s::{S3Error, S3Result, s3_error};

use super::errors;
use crate::chunks::{BodyReader, BodyWriter};

/// Bounds and names that operators set.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The region that the gateway answers as.
    pub region: String,
    /// Longest body of one PUT, copy or part.
    pub object_max_bytes: u64,
    /// Longest body that is kept in the metadata; 0 where chunks would be safer.
    pub inline_max_bytes: u64,
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
