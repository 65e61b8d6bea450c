//! Sources of copies: the object that `x-amz-copy-source` names, if the caller may read it, and its
//! bytes as the body of a write.

use chunkproto::ByteRange;
use http::HeaderMap;
use metastore::{ObjectKey, ObjectVersion};
use s3s::dto::{CopySource, StreamingBlob};
use s3s::{S3Result, s3_error};

use crate::s3::access::{Caller, RequestFacts};
use crate::s3::encryption::request::CustomerKey;
use crate::s3::errors;
use crate::s3::gateway::{S3Gateway, shown_version};
use crate::sealing::DataKey;

/// Permission to read a source whose version is not named.
pub const GET_CURRENT: &str = "s3:GetObject";

/// Where a copy comes from.
pub struct CopyFrom<'a> {
    /// As the header says.
    pub source: &'a CopySource,
    /// The client's key for it.
    pub customer: Option<&'a CustomerKey>,
}

/// The source of a copy.
pub struct CopiedObject {
    /// Its row.
    pub object: ObjectVersion,
    /// Its key, where it is encrypted.
    pub key: Option<DataKey>,
    /// Its version as the answer shows it.
    pub shown_version: Option<String>,
}

impl S3Gateway {
    /// The object that `x-amz-copy-source` names, if the caller may read it.
    pub(crate) async fn copy_source(
        &self,
        caller: &Caller,
        from: CopyFrom<'_>,
        request_facts: RequestFacts<'_>,
    ) -> S3Result<CopiedObject> {
        let CopySource::Bucket {
            bucket,
            key,
            version_id,
        } = from.source
        else {
            return Err(s3_error!(
                NotImplemented,
                "Copying from an access point is not implemented."
            ));
        };
        refuse_source_query(request_facts.headers)?;
        let bucket = self.bucket(bucket).await?;
        let expected = request_facts
            .headers
            .get("x-amz-source-expected-bucket-owner");
        let mut expected = expected.into_iter().filter(|owner| !owner.is_empty());
        if expected.any(|owner| owner.as_bytes() != bucket.owner.as_bytes()) {
            return Err(s3_error!(AccessDenied));
        }
        let key = ObjectKey::parse(key.as_ref()).map_err(errors::from_name)?;
        let action = match version_id {
            Some(_) => "s3:GetObjectVersion",
            None => GET_CURRENT,
        };
        let version = version_id.as_deref();
        self.gate
            .authorize(
                caller,
                &bucket,
                action,
                Some((&key, version)),
                request_facts,
            )
            .await?;
        let object = self.object(&bucket, &key, version).await?;
        // Another one may have come in its place since.
        let on = (Some(&key), Some(&object));
        self.gate
            .authorize_seen(caller, &bucket, action, on, request_facts)?;
        let encryption = object.attributes.encryption.as_ref();
        Ok(CopiedObject {
            key: self.opening_key(bucket.id, encryption, from.customer)?,
            shown_version: shown_version(&bucket, object.version),
            object,
        })
    }

    /// The bytes of an object as the body of a write.
    pub(crate) async fn copy_body(
        &self,
        source: &ObjectVersion,
        key: Option<&DataKey>,
        range: ByteRange,
    ) -> S3Result<StreamingBlob> {
        // A source that is replaced again and again while it is copied is the client's affair.
        self.open_body(source, key, range)
            .await?
            .ok_or_else(|| s3_error!(ConditionalRequestConflict))
    }
}

/// Refuses a source with other query parameters than `versionId`, which s3s takes for a part of the
/// key.
fn refuse_source_query(headers: &HeaderMap) -> S3Result<()> {
    let source = headers.get("x-amz-copy-source");
    let source = source.map_or(&[][..], |source| source.as_bytes());
    let mut parts = source.splitn(2, |byte| *byte == b'?').skip(1);
    match parts.all(|query| query.starts_with(b"versionId=")) {
        true => Ok(()),
        false => Err(s3_error!(
            InvalidArgument,
            "Unsupported copy source parameter."
        )),
    }
}
