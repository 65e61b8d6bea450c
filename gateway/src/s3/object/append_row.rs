//! What an append makes of an object's row: its ETag and its checksum. Neither needs the bytes that
//! were there.

use chunkproto::Crc64;
use http::HeaderMap;
use md5::{Digest as _, Md5};
use metastore::{ChecksumAlgorithm, ChecksumKind, ObjectChecksum, ObjectVersion, Part};
use s3s::{S3Result, s3_error};

use crate::s3::body::checksums::{self, of_parts};

/// Headers that describe an object, and so would be lost with an append.
const DESCRIBES: [&str; 2] = ["x-amz-meta-", "x-amz-tagging"];

/// An ETag that tells apart whatever was appended in whatever pieces: the MD5 of the ETag before and of
/// the new bytes' MD5, with the number of parts as multipart objects have it.
pub fn etag_after_append(before: &str, part: &str, parts: usize) -> String {
    let mut md5 = Md5::new();
    md5.update(before);
    md5.update(part);
    format!("{}-{parts}", hex::encode(md5.finalize()))
}

/// The algorithm of a checksum that can be carried on when bytes are appended.
pub fn algorithm_of(object: &ObjectVersion) -> Option<ChecksumAlgorithm> {
    let checksum = object.checksum.as_ref()?;
    let adds_up = matches!(
        checksum.algorithm,
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c | ChecksumAlgorithm::Crc64Nvme
    );
    (adds_up && checksum.kind == ChecksumKind::FullObject).then_some(checksum.algorithm)
}

/// The checksum of all bytes, where the one before can be carried on; else none.
pub fn checksum_after_append(
    before: &ObjectVersion,
    part: &Part,
    crc64: Crc64,
) -> Option<ObjectChecksum> {
    let algorithm = algorithm_of(before)?;
    let standing = checksums::decode(algorithm, &before.checksum.as_ref()?.value)?;
    let added = match algorithm {
        ChecksumAlgorithm::Crc64Nvme => crc64.0.to_be_bytes().to_vec(),
        _ => {
            let own = part.checksum.as_ref();
            let own = own.filter(|checksum| checksum.algorithm == algorithm)?;
            checksums::decode(algorithm, &own.value)?
        }
    };
    let both = [(standing, before.size_bytes), (added, part.size_bytes)];
    Some(of_parts(algorithm, ChecksumKind::FullObject, &both))
}

/// Refuses a checksum of which the object's cannot be carried on. CRC64-NVME is known of all bytes.
///
/// # Errors
/// `InvalidRequest`.
pub fn refuse_other_algorithm(
    standing: Option<ChecksumAlgorithm>,
    declared: Option<ChecksumAlgorithm>,
) -> S3Result<()> {
    match (standing, declared) {
        (Some(standing), Some(declared))
            if standing != declared && standing != ChecksumAlgorithm::Crc64Nvme =>
        {
            Err(s3_error!(
                InvalidRequest,
                "Checksum Type mismatch occurred, expected checksum Type: {}, actual checksum Type: {}",
                checksums::name(standing).to_ascii_lowercase(),
                checksums::name(declared).to_ascii_lowercase()
            ))
        }
        _ => Ok(()),
    }
}

/// Refuses headers that would describe an object that is described already.
///
/// # Errors
/// `InvalidRequest`.
pub fn refuse_description(headers: &HeaderMap) -> S3Result<()> {
    let describes = |name: &str| DESCRIBES.iter().any(|start| name.starts_with(start));
    match headers.keys().any(|name| describes(name.as_str())) {
        true => Err(s3_error!(
            InvalidRequest,
            "Cannot specify both a write offset value and user-defined object metadata for existing objects."
        )),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use metastore::{
        ChunkLayout, ObjectAttributes, ObjectData, PartNumber, Scheme, Sequence, SystemHeaders,
        Timestamp, VersionId, VersionOrder,
    };

    use super::*;
    use crate::s3::body::checksums::BodyHasher;

    fn no_chunks() -> ChunkLayout {
        ChunkLayout {
            scheme: Scheme::Replicated,
            chunks: Vec::new(),
        }
    }

    fn checksum(algorithm: ChecksumAlgorithm, body: &[u8]) -> ObjectChecksum {
        let mut hasher = BodyHasher::new(Some(algorithm));
        hasher.update(body);
        hasher.finish(Crc64::of(body)).checksum
    }

    fn object(body: &[u8], checksum: Option<ObjectChecksum>) -> ObjectVersion {
        ObjectVersion {
            version: VersionId::Null,
            sequence: Sequence::generate(),
            modified_at: Timestamp(1),
            size_bytes: body.len() as u64,
            etag: "e".into(),
            checksum,
            headers: SystemHeaders::default(),
            user_metadata: Vec::new(),
            owner: String::new(),
            data: ObjectData::Chunks(no_chunks()),
            order: VersionOrder::FIRST,
            attributes: ObjectAttributes::default(),
        }
    }

    fn part(body: &[u8], algorithm: ChecksumAlgorithm) -> Part {
        Part {
            number: PartNumber::FIRST,
            sequence: Sequence::generate(),
            modified_at: Timestamp(2),
            size_bytes: body.len() as u64,
            etag: "p".into(),
            checksum: Some(checksum(algorithm, body)),
            layout: no_chunks(),
        }
    }

    #[test]
    fn a_checksum_of_all_bytes_is_carried_on_where_it_can_be() {
        use ChecksumAlgorithm::{Crc32, Crc32c, Crc64Nvme, Sha1, Sha256};
        for (before, added) in [("", "world"), ("hello ", "world"), ("hello", "")] {
            let (before, added) = (before.as_bytes(), added.as_bytes());
            let whole = [before, added].concat();
            let after = |standing, own| {
                let row = object(before, Some(checksum(standing, before)));
                checksum_after_append(&row, &part(added, own), Crc64::of(added))
            };
            for algorithm in [Crc32, Crc32c, Crc64Nvme] {
                let expected = checksum(algorithm, &whole);
                assert_eq!(after(algorithm, algorithm), Some(expected), "{algorithm:?}");
            }
            assert_eq!(after(Crc64Nvme, Sha1), Some(checksum(Crc64Nvme, &whole)));
            assert_eq!(after(Sha256, Sha256), None);
            let none = checksum_after_append(&object(before, None), &part(added, Crc32), Crc64(0));
            assert_eq!(none, None);
        }
        let composite = ObjectChecksum {
            kind: ChecksumKind::Composite,
            ..checksum(Crc32, b"a")
        };
        assert_eq!(algorithm_of(&object(b"a", Some(composite))), None);
    }

    #[test]
    fn only_a_checksum_that_can_be_carried_on_is_taken() {
        use ChecksumAlgorithm::{Crc32, Crc64Nvme, Sha1};
        for (standing, declared, taken) in [
            (Some(Crc32), Some(Crc32), true),
            (Some(Crc32), None, true),
            (Some(Crc32), Some(Sha1), false),
            (Some(Crc32), Some(Crc64Nvme), false),
            (Some(Crc64Nvme), Some(Crc32), true),
            (None, Some(Sha1), true),
        ] {
            let refused = refuse_other_algorithm(standing, declared).is_err();
            assert_eq!(refused, !taken, "{standing:?} {declared:?}");
        }
    }

    #[test]
    fn etags_tell_pieces_apart() {
        let one = etag_after_append(&etag_after_append("e", "a", 2), "b", 3);
        let other = etag_after_append(&etag_after_append("e", "b", 2), "a", 3);
        assert_ne!(one, other);
        assert!(one.ends_with("-3") && one.len() == 34);
    }
}
