//! What every operation works with: the metadata, the bodies, the settings, and the caller.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue};
use metastore::{
    Bucket, BucketName, DeleteMarker, MetaError, Metastore, ObjectKey, ObjectVersion,
    StoredVersion, VersionId, Versioning,
};
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

use super::access::{Directory, Gate};
use super::bucket::document_cache::DocumentCache;
use super::errors;
use crate::chunks::{BodyReader, BodyWriter};
use crate::lifecycle::{Calendar, Rule};
use crate::sealing::KeyRing;

/// Says of a key without current version whether a delete marker hides it.
const DELETE_MARKER: &str = "x-amz-delete-marker";

/// Bounds and names that operators set.
#[derive(Debug, Clone)]
pub struct S3Settings {
    /// The region that the gateway answers as.
    pub region: String,
    /// Longest body of one PUT, copy or part.
    pub object_max_bytes: u64,
    /// Longest body that is kept in the metadata; 0 where chunks would be safer.
    pub inline_max_bytes: u64,
    /// Key of the key ring for requests that ask for one and name none.
    pub kms_default_key: Option<String>,
    /// Whether clients may send keys of their own (SSE-C) over connections without TLS.
    pub customer_keys_in_clear: bool,
    /// How long a lifecycle day is.
    pub calendar: Calendar,
}

/// The S3 operations over one cluster. Cheap to clone.
#[derive(Clone)]
pub struct S3Gateway {
    pub(crate) metastore: Arc<dyn Metastore>,
    pub(crate) writer: BodyWriter,
    pub(crate) reader: BodyReader,
    pub(crate) settings: Arc<S3Settings>,
    pub(crate) directory: Directory,
    pub(crate) gate: Gate,
    pub(crate) key_ring: Arc<KeyRing>,
    pub(crate) lifecycle_rules: DocumentCache<Vec<Rule>>,
    /// Changes of buckets' settings take turns here, so that many at once do not starve each other;
    /// what keeps gateways apart is the compare-and-set.
    pub(crate) settings_turn: Arc<tokio::sync::Mutex<()>>,
}

impl S3Gateway {
    /// The operations over these parts.
    #[must_use]
    pub fn new(
        metastore: Arc<dyn Metastore>,
        writer: BodyWriter,
        reader: BodyReader,
        settings: S3Settings,
        directory: Directory,
        key_ring: Arc<KeyRing>,
    ) -> Self {
        Self {
            gate: Gate::new(Arc::clone(&metastore), directory.clone(), &settings.region),
            directory,
            metastore,
            writer,
            reader,
            settings: Arc::new(settings),
            key_ring,
            lifecycle_rules: DocumentCache::default(),
            settings_turn: Arc::default(),
        }
    }

    /// The bucket that a request names.
    pub(crate) async fn bucket(&self, name: &str) -> S3Result<Bucket> {
        let name = BucketName::parse(name).map_err(errors::from_name)?;
        self.metastore
            .bucket(&name)
            .await
            .map_err(errors::from_metadata)
    }

    /// The current version of a key, or the one that the client named.
    ///
    /// # Errors
    /// `NoSuchKey`, `NoSuchVersion`, `MethodNotAllowed` for a delete marker that is named; where a
    /// delete marker is met, the answer's headers say so.
    pub(crate) async fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<&str>,
    ) -> S3Result<ObjectVersion> {
        let Some(version) = parse_version(version)? else {
            return match self.metastore.object(bucket.id, key).await {
                Err(MetaError::NoSuchKey(_)) => Err(self.missing(bucket, key).await?),
                found => found.map_err(errors::from_metadata),
            };
        };
        let found = self.metastore.object_version(bucket.id, key, version).await;
        match found.map_err(errors::from_metadata)? {
            StoredVersion::Object(object) => Ok(object),
            StoredVersion::DeleteMarker(marker) => {
                Err(at_marker(s3_error!(MethodNotAllowed), &marker))
            }
        }
    }

    /// The error for a key without current version.
    async fn missing(&self, bucket: &Bucket, key: &ObjectKey) -> S3Result<S3Error> {
        let error = s3_error!(NoSuchKey);
        if bucket.settings.versioning != Versioning::Off {
            let newest = self.metastore.newest_version(bucket.id, key).await;
            if let Some(StoredVersion::DeleteMarker(marker)) =
                newest.map_err(errors::from_metadata)?
            {
                return Ok(at_marker(error, &marker));
            }
        }
        let mut headers = HeaderMap::new();
        headers.insert(DELETE_MARKER, HeaderValue::from_static("false"));
        Ok(errors::with_headers(error, headers))
    }

    /// Refuses a body that is longer than the operator allows, before any of it is read.
    pub(crate) fn check_size(&self, body_bytes: u64) -> S3Result<()> {
        if body_bytes > self.settings.object_max_bytes {
            return Err(s3_error!(EntityTooLarge));
        }
        Ok(())
    }
}

/// The version that a client names by `versionId`, if it does.
///
/// # Errors
/// `InvalidArgument` for a text that is no version id.
pub(crate) fn parse_version(version: Option<&str>) -> S3Result<Option<VersionId>> {
    let invalid = |text| Err(S3Error::with_message(S3ErrorCode::InvalidArgument, text));
    match version {
        None => Ok(None),
        Some("") => invalid("Version id cannot be the empty string"),
        Some(text) => match VersionId::parse(text) {
            None => invalid("Invalid version id specified"),
            version => Ok(version),
        },
    }
}

/// A version's id as answers show it: only buckets that keep versions name them.
pub(crate) fn shown_version(bucket: &Bucket, version: VersionId) -> Option<String> {
    (bucket.settings.versioning != Versioning::Off).then(|| version.to_string())
}

fn at_marker(error: S3Error, marker: &DeleteMarker) -> S3Error {
    let mut headers = HeaderMap::new();
    headers.insert(DELETE_MARKER, HeaderValue::from_static("true"));
    if let Ok(version) = HeaderValue::from_str(&marker.version.to_string()) {
        headers.insert("x-amz-version-id", version);
    }
    errors::with_headers(error, headers)
}
