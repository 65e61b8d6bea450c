//! What an object's data key is wrapped for.

use metastore::{BucketId, Encryption, EncryptionKind};

/// What must be said to unwrap the data key of an object or upload in `bucket`. The key of the object
/// is no part of it, so that a rename needs no key.
#[must_use]
pub fn purpose(bucket: BucketId, row: &Encryption) -> Vec<u8> {
    let kind = match row.kind {
        EncryptionKind::Customer => b'c',
        EncryptionKind::S3 => b's',
        EncryptionKind::Kms => b'k',
    };
    let context = row.context.as_deref().unwrap_or_default();
    [&[kind], &bucket.0.as_bytes()[..], context.as_bytes()].concat()
}
