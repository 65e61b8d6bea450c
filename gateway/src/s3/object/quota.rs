//! Bucket quotas, before a body is read: the commit holds them exactly; this spares clients uploads,
//! and nodes bytes, that the commit would refuse.

use metastore::{Bucket, MetaError, ObjectKey, Usage, Versioning};
use s3s::S3Result;

use crate::s3::errors;
use crate::s3::gateway::S3Gateway;

impl S3Gateway {
    /// Refuses a body for a key where its bucket would hold more than it may, by what the bucket
    /// holds now and what the key's current version gives up.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub(crate) async fn expect_room(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        body_bytes: u64,
    ) -> S3Result<()> {
        let usage = self.metastore.bucket_usage(bucket.id).await;
        let usage = usage.map_err(errors::from_metadata)?.unwrap_or_default();
        if usage.quota.is_none() {
            return Ok(());
        }
        let replaced = match bucket.settings.versioning {
            Versioning::Enabled => None,
            Versioning::Off | Versioning::Suspended => {
                match self.metastore.object(bucket.id, key).await {
                    Ok(object) => Some(object.size_bytes),
                    Err(MetaError::NoSuchKey(_)) => None,
                    Err(error) => return Err(errors::from_metadata(error)),
                }
            }
        };
        let left = usage.used.bytes.saturating_sub(replaced.unwrap_or(0));
        let wanted = Usage {
            bytes: left.saturating_add(body_bytes),
            objects: usage.used.objects + u64::from(replaced.is_none()),
        };
        usage
            .quota
            .check(usage.used, wanted)
            .map_err(errors::from_metadata)
    }
}
