//! Documents of buckets, parsed once for each revision of a bucket's settings instead of once for
//! each request.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use metastore::{Bucket, BucketId, Sequence};

/// Most buckets whose documents are kept. When there are more, all are forgotten and parsed anew.
const BUCKETS_MAX: usize = 4096;

type Kept<T> = HashMap<BucketId, (Sequence, Arc<T>)>;

/// One kind of document. Cheap to clone; clones share what was parsed.
pub struct DocumentCache<T>(Arc<Mutex<Kept<T>>>);

impl<T> Clone for DocumentCache<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Default for DocumentCache<T> {
    fn default() -> Self {
        Self(Arc::default())
    }
}

impl<T> DocumentCache<T> {
    /// The document of a bucket as `bucket` has it; `parse` is asked where it is another than the
    /// last time.
    ///
    /// # Errors
    /// What `parse` says; nothing is kept then.
    pub fn of<E>(
        &self,
        bucket: &Bucket,
        parse: impl FnOnce() -> Result<T, E>,
    ) -> Result<Arc<T>, E> {
        let revision = bucket.settings.revision;
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((seen, parsed)) = kept.get(&bucket.id)
            && *seen == revision
        {
            return Ok(Arc::clone(parsed));
        }
        drop(kept);
        let parsed = Arc::new(parse()?);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= BUCKETS_MAX {
            kept.clear();
        }
        kept.insert(bucket.id, (revision, Arc::clone(&parsed)));
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use metastore::{BucketName, BucketSettings, Timestamp};

    use super::*;

    #[test]
    fn a_document_is_parsed_once_for_each_revision() {
        let mut bucket = Bucket {
            id: BucketId::generate(),
            name: BucketName::parse("photos").unwrap(),
            created_at: Timestamp(0),
            owner: String::new(),
            region: String::new(),
            settings: BucketSettings::default(),
        };
        let parsed = DocumentCache::default();
        let ask = |bucket: &Bucket, value| *parsed.of(bucket, || Ok::<i32, ()>(value)).unwrap();
        assert_eq!((ask(&bucket, 1), ask(&bucket, 2)), (1, 1));
        bucket.settings.revision = Sequence::generate();
        assert_eq!(ask(&bucket, 3), 3);
        bucket.settings.revision = Sequence::generate();
        assert!(parsed.of(&bucket, || Err(())).is_err());
        assert_eq!(ask(&bucket, 4), 4);
    }
}
