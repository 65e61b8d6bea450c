//! Re-encrypts user secrets and SSE-S3 data keys under the current master key. Bodies are not
//! rewritten. Each row changes by compare-and-set; safe to interrupt and repeat.

use std::sync::Arc;

use metastore::{
    Bucket, EncryptionKind, ListEntry, MetaError, MetaResult, Metastore, ObjectKey, ObjectVersion,
    Sequence, StoredVersion, Upload, UploadQuery, VersionQuery,
};
use serde::{Deserialize, Serialize};
use tokio::sync::MutexGuard;
use tracing::info;

use crate::sealing::{KeyRing, Resealed, purpose};
use crate::users::Secrets;

/// Rows read at a time.
const PAGE: usize = 500;
/// A row that others change all the time is tried so often.
const ATTEMPTS_MAX: usize = 10;

/// Result of a reseal.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotation {
    /// Secret keys of users that were sealed anew.
    pub secrets: u64,
    /// Object versions whose data keys were.
    pub objects: u64,
    /// Uploads whose data key still needs an earlier master key; so will their objects.
    pub uploads_left: u64,
    /// Rows that could not be changed, since others changed them again and again.
    pub busy: u64,
    /// Secrets and data keys that no master key opens.
    pub unopened: u64,
}

impl Rotation {
    /// Whether nothing in the metadata needs an earlier master key any longer.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.uploads_left == 0 && self.busy == 0
    }
}

/// Seals everything under the present master key of `ring`. Users are not changed by others while
/// `no_user_changes` is held.
///
/// # Errors
/// What keeps the metadata from being read or written; what was done stays done.
pub async fn reseal(
    metastore: &dyn Metastore,
    ring: &Arc<KeyRing>,
    no_user_changes: MutexGuard<'_, ()>,
) -> MetaResult<Rotation> {
    let mut walk = Walk {
        metastore,
        ring,
        done: Rotation::default(),
    };
    walk.users().await?;
    drop(no_user_changes);
    let mut after: Option<String> = None;
    loop {
        let page = metastore.list_buckets("", after.as_deref(), PAGE).await?;
        for bucket in &page.buckets {
            walk.versions(bucket).await?;
            walk.uploads(bucket).await?;
            info!(bucket = %bucket.name, objects = walk.done.objects, "a bucket's keys were looked at");
        }
        after = page.buckets.last().map(|last| last.name.to_string());
        if !page.truncated {
            return Ok(walk.done);
        }
    }
}

struct Walk<'w> {
    metastore: &'w dyn Metastore,
    ring: &'w Arc<KeyRing>,
    done: Rotation,
}

impl Walk<'_> {
    async fn users(&mut self) -> MetaResult<()> {
        let secrets = Secrets::new(Arc::clone(self.ring));
        let mut after: Option<String> = None;
        loop {
            let page = self.metastore.list_users(after.as_deref(), PAGE).await?;
            let Some(last) = page.last() else {
                return Ok(());
            };
            after = Some(last.id.clone());
            for mut user in page {
                let mut renewed = 0;
                for key in &mut user.keys {
                    match secrets.renew(key) {
                        Resealed::AsItIs => {}
                        Resealed::Anew(anew) => {
                            *key = anew;
                            renewed += 1;
                        }
                        Resealed::Unopened => self.done.unopened += 1,
                    }
                }
                if renewed > 0 {
                    self.metastore.put_user(user).await?;
                    self.done.secrets += renewed;
                }
            }
        }
    }

    async fn versions(&mut self, bucket: &Bucket) -> MetaResult<()> {
        let mut query = VersionQuery {
            bucket: bucket.id,
            prefix: String::new(),
            delimiter: None,
            after: None,
            limit: PAGE,
        };
        loop {
            let page = self.metastore.list_versions(query.clone()).await?;
            for entry in page.entries {
                let ListEntry::Item(listed) = entry else {
                    continue;
                };
                let place = (listed.key.to_string(), Some(listed.version.version()));
                query.after = Some(place);
                if let StoredVersion::Object(object) = listed.version {
                    self.version(bucket, &listed.key, object).await?;
                }
            }
            if !page.truncated {
                return Ok(());
            }
        }
    }

    async fn version(
        &mut self,
        bucket: &Bucket,
        key: &ObjectKey,
        mut object: ObjectVersion,
    ) -> MetaResult<()> {
        for _ in 0..ATTEMPTS_MAX {
            let seen = object.sequence;
            let version = object.version;
            match self.anew(bucket, &mut object) {
                Resealed::AsItIs => return Ok(()),
                Resealed::Unopened => {
                    self.done.unopened += 1;
                    return Ok(());
                }
                Resealed::Anew(()) => object.sequence = Sequence::generate(),
            }
            let amended = self.metastore.amend_object(bucket.id, key, object, seen);
            match amended.await {
                Ok(()) => {
                    self.done.objects += 1;
                    return Ok(());
                }
                Err(MetaError::Conflict) => {}
                Err(MetaError::NoSuchVersion(..) | MetaError::NoSuchBucket) => return Ok(()),
                Err(error) => return Err(error),
            }
            let again = self.metastore.object_version(bucket.id, key, version).await;
            object = match again {
                Ok(StoredVersion::Object(object)) => object,
                Ok(StoredVersion::DeleteMarker(_)) | Err(MetaError::NoSuchVersion(..)) => {
                    return Ok(());
                }
                Err(error) => return Err(error),
            };
        }
        self.done.busy += 1;
        Ok(())
    }

    /// Wraps an object's data key anew, in its row.
    fn anew(&self, bucket: &Bucket, object: &mut ObjectVersion) -> Resealed<()> {
        let encryption = object.attributes.encryption.as_mut();
        let Some(encryption) = encryption.filter(|row| row.kind == EncryptionKind::S3) else {
            return Resealed::AsItIs;
        };
        let purpose = purpose(bucket.id, encryption);
        match self.ring.rewrap(&encryption.wrapped_key, &purpose) {
            Resealed::Anew(wrapped) => {
                encryption.wrapped_key = wrapped;
                Resealed::Anew(())
            }
            Resealed::AsItIs => Resealed::AsItIs,
            Resealed::Unopened => Resealed::Unopened,
        }
    }

    /// Counts uploads under way: their rows do not change, and go with them.
    async fn uploads(&mut self, bucket: &Bucket) -> MetaResult<()> {
        let mut query = UploadQuery {
            bucket: bucket.id,
            prefix: String::new(),
            delimiter: None,
            after: None,
            limit: PAGE,
        };
        loop {
            let page = self.metastore.list_uploads(query.clone()).await?;
            for entry in page.entries {
                let ListEntry::Item(listed) = entry else {
                    continue;
                };
                query.after = Some((listed.key.to_string(), Some(listed.upload.id)));
                if self.needs_earlier_key(bucket, &listed.upload) {
                    self.done.uploads_left += 1;
                }
            }
            if !page.truncated {
                return Ok(());
            }
        }
    }

    fn needs_earlier_key(&self, bucket: &Bucket, upload: &Upload) -> bool {
        let encryption = upload.attributes.encryption.as_ref();
        encryption
            .filter(|row| row.kind == EncryptionKind::S3)
            .is_some_and(|row| {
                let rewrapped = self.ring.rewrap(&row.wrapped_key, &purpose(bucket.id, row));
                matches!(rewrapped, Resealed::Anew(_))
            })
    }
}
