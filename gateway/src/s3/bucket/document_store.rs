//! Rows of buckets: changes are compare-and-set, and configurations that nothing decides by are kept as
//! documents, in S3's own XML.

use metastore::{Bucket, BucketDocument, MetaError, Sequence};
use s3s::dto::Tagging;
use s3s::{S3Result, s3_error};

use crate::s3::body::limits::{CONFIGURATION_MAX_BYTES, LIFECYCLE_MAX_BYTES};
use crate::s3::edge::xml_text::is_xml_text;
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::s3::object::tags::{Tagged, tags_of};

/// Times that a change looks again after another one got in between.
const ATTEMPTS_MAX: usize = 32;

impl S3Gateway {
    /// Changes a bucket's settings; `change` may be called again after another change.
    pub(crate) async fn amend_bucket(
        &self,
        name: &str,
        change: impl Fn(&mut Bucket) -> S3Result<()>,
    ) -> S3Result<()> {
        let _turn = self.settings_turn.lock().await;
        for _ in 0..ATTEMPTS_MAX {
            let mut bucket = self.bucket(name).await?;
            let seen = bucket.settings.revision;
            change(&mut bucket)?;
            bucket.settings.revision = Sequence::generate();
            match self.metastore.amend_bucket(bucket, seen).await {
                Err(MetaError::Conflict) => {}
                outcome => return outcome.map_err(errors::from_metadata),
            }
        }
        Err(s3_error!(OperationAborted))
    }

    /// Writes one of a bucket's documents over what is there.
    ///
    /// # Errors
    /// `MaxMessageLengthExceeded` for one that is too long, `MalformedXML` for one that could not be
    /// returned; as for any change of the bucket.
    pub(crate) async fn put_document<D: s3s::xml::Serialize>(
        &self,
        bucket: &str,
        kind: BucketDocument,
        document: &D,
    ) -> S3Result<()> {
        let text = kept_document(kind, document)?;
        self.amend_bucket(bucket, |bucket| {
            bucket.settings.documents.insert(kind, text.clone());
            Ok(())
        })
        .await
    }

    /// One of a bucket's documents, if it has it.
    pub(crate) async fn document<D: for<'x> s3s::xml::Deserialize<'x>>(
        &self,
        bucket: &str,
        kind: BucketDocument,
    ) -> S3Result<Option<D>> {
        let bucket = self.bucket(bucket).await?;
        document_of(&bucket, kind)
    }

    /// Removes one of a bucket's documents.
    pub(crate) async fn delete_document(&self, bucket: &str, kind: BucketDocument) -> S3Result<()> {
        self.amend_bucket(bucket, |bucket| {
            bucket.settings.documents.remove(&kind);
            Ok(())
        })
        .await
    }
}

/// One of a bucket's documents, if it has it.
pub fn document_of<D: for<'x> s3s::xml::Deserialize<'x>>(
    bucket: &Bucket,
    kind: BucketDocument,
) -> S3Result<Option<D>> {
    let Some(text) = bucket.settings.documents.get(&kind) else {
        return Ok(None);
    };
    let mut reader = s3s::xml::Deserializer::new(text.as_bytes());
    match D::deserialize(&mut reader) {
        Ok(document) => Ok(Some(document)),
        Err(error) => {
            tracing::error!(%error, bucket = %bucket.name, ?kind, "a kept document cannot be read");
            Err(s3_error!(InternalError))
        }
    }
}

/// A document as the bucket's row keeps it.
///
/// # Errors
/// `MaxMessageLengthExceeded`, because every request reads the row; `MalformedXML` for one that could
/// not be returned.
pub fn kept_document<D: s3s::xml::Serialize>(
    kind: BucketDocument,
    document: &D,
) -> S3Result<String> {
    let text = to_xml(document)?;
    let max_bytes = match kind {
        BucketDocument::Lifecycle => LIFECYCLE_MAX_BYTES,
        _ => CONFIGURATION_MAX_BYTES,
    };
    if text.len() > max_bytes {
        return Err(s3_error!(MaxMessageLengthExceeded));
    }
    match is_xml_text(&text) {
        true => Ok(text),
        false => Err(s3_error!(MalformedXML)),
    }
}

/// A document as text.
pub(crate) fn to_xml<D: s3s::xml::Serialize>(document: &D) -> S3Result<String> {
    let mut bytes = Vec::new();
    let written = document.serialize(&mut s3s::xml::Serializer::new(&mut bytes));
    let text = written.ok().and_then(|()| String::from_utf8(bytes).ok());
    text.ok_or_else(|| s3_error!(InternalError))
}

/// Tags of a new bucket, as its row keeps them.
///
/// # Errors
/// As for PutBucketTagging.
pub fn kept_bucket_tags(tagging: &Tagging) -> S3Result<String> {
    check_bucket_tags(tagging)?;
    kept_document(BucketDocument::Tagging, tagging)
}

/// Checks the tags of a bucket.
///
/// # Errors
/// `InvalidTag`; `MalformedXML`.
pub fn check_bucket_tags(tagging: &Tagging) -> S3Result<()> {
    tags_of(tagging, Tagged::Bucket).map(drop)
}
