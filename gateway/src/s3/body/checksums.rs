//! The checksums that S3 shows: names, lengths, computing them while bytes pass by, combining the
//! parts' into the object's. (Stored bytes have their own, in chunkproto.)

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chunkproto::Crc64;
use crc_fast::CrcAlgorithm;
use http::HeaderName;
use md5::{Digest as _, Md5};
use metastore::{ChecksumAlgorithm, ChecksumKind, ObjectChecksum};
use s3s::crypto::{Checksum as _, Crc32, Crc32c, Sha1, Sha256};
use s3s::dto;
use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};

/// All algorithms that are built, in the order in which headers are looked for.
pub const ALGORITHMS: [ChecksumAlgorithm; 5] = [
    ChecksumAlgorithm::Crc32,
    ChecksumAlgorithm::Crc32c,
    ChecksumAlgorithm::Crc64Nvme,
    ChecksumAlgorithm::Sha1,
    ChecksumAlgorithm::Sha256,
];

/// The algorithm's name in S3's documents.
pub const fn name(algorithm: ChecksumAlgorithm) -> &'static str {
    match algorithm {
        ChecksumAlgorithm::Crc32 => "CRC32",
        ChecksumAlgorithm::Crc32c => "CRC32C",
        ChecksumAlgorithm::Sha1 => "SHA1",
        ChecksumAlgorithm::Sha256 => "SHA256",
        ChecksumAlgorithm::Crc64Nvme => "CRC64NVME",
    }
}

/// The header or trailer that carries the algorithm's value.
pub const fn header(algorithm: ChecksumAlgorithm) -> HeaderName {
    HeaderName::from_static(match algorithm {
        ChecksumAlgorithm::Crc32 => "x-amz-checksum-crc32",
        ChecksumAlgorithm::Crc32c => "x-amz-checksum-crc32c",
        ChecksumAlgorithm::Sha1 => "x-amz-checksum-sha1",
        ChecksumAlgorithm::Sha256 => "x-amz-checksum-sha256",
        ChecksumAlgorithm::Crc64Nvme => "x-amz-checksum-crc64nvme",
    })
}

/// Reads an algorithm's name, in any case.
pub fn parse_algorithm(text: &str) -> S3Result<ChecksumAlgorithm> {
    ALGORITHMS
        .into_iter()
        .find(|algorithm| name(*algorithm).eq_ignore_ascii_case(text))
        .ok_or_else(|| {
            s3_error!(
                InvalidRequest,
                "Checksum algorithm provided is unsupported. Please try again with any of the valid types: [CRC32, CRC32C, CRC64NVME, SHA1, SHA256]"
            )
        })
}

/// The digest behind a base64 value, if it has the algorithm's length.
pub fn decode(algorithm: ChecksumAlgorithm, value: &str) -> Option<Vec<u8>> {
    let length = match algorithm {
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => 4,
        ChecksumAlgorithm::Crc64Nvme => 8,
        ChecksumAlgorithm::Sha1 => 20,
        ChecksumAlgorithm::Sha256 => 32,
    };
    STANDARD
        .decode(value)
        .ok()
        .filter(|digest| digest.len() == length)
}

/// The MD5 of a body and one further checksum, in the making.
pub struct BodyHasher {
    md5: Md5,
    extra: Extra,
}

enum Extra {
    /// None is wanted, or CRC64-NVME, which the chunks' checksums give for nothing.
    FromChunks,
    Crc32(Crc32),
    Crc32c(Crc32c),
    Sha1(Sha1),
    Sha256(Sha256),
}

/// What a body hashed to.
pub struct BodyHashes {
    /// MD5 of the body.
    pub md5: [u8; 16],
    /// The wanted checksum, full object; CRC64-NVME where none was wanted.
    pub checksum: ObjectChecksum,
}

impl BodyHasher {
    /// A hasher for MD5 and `wanted`.
    pub fn new(wanted: Option<ChecksumAlgorithm>) -> Self {
        let extra = match wanted {
            None | Some(ChecksumAlgorithm::Crc64Nvme) => Extra::FromChunks,
            Some(ChecksumAlgorithm::Crc32) => Extra::Crc32(Crc32::new()),
            Some(ChecksumAlgorithm::Crc32c) => Extra::Crc32c(Crc32c::new()),
            Some(ChecksumAlgorithm::Sha1) => Extra::Sha1(Sha1::new()),
            Some(ChecksumAlgorithm::Sha256) => Extra::Sha256(Sha256::new()),
        };
        Self {
            md5: Md5::new(),
            extra,
        }
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, data: &[u8]) {
        self.md5.update(data);
        match &mut self.extra {
            Extra::FromChunks => {}
            Extra::Crc32(hasher) => hasher.update(data),
            Extra::Crc32c(hasher) => hasher.update(data),
            Extra::Sha1(hasher) => hasher.update(data),
            Extra::Sha256(hasher) => hasher.update(data),
        }
    }

    /// The hashes of all bytes; `crc64` is the chunk writer's checksum of the same bytes.
    pub fn finish(self, crc64: Crc64) -> BodyHashes {
        let (algorithm, value) = match self.extra {
            Extra::FromChunks => (
                ChecksumAlgorithm::Crc64Nvme,
                STANDARD.encode(crc64.0.to_be_bytes()),
            ),
            Extra::Crc32(hasher) => (ChecksumAlgorithm::Crc32, STANDARD.encode(hasher.finalize())),
            Extra::Crc32c(hasher) => (
                ChecksumAlgorithm::Crc32c,
                STANDARD.encode(hasher.finalize()),
            ),
            Extra::Sha1(hasher) => (ChecksumAlgorithm::Sha1, STANDARD.encode(hasher.finalize())),
            Extra::Sha256(hasher) => (
                ChecksumAlgorithm::Sha256,
                STANDARD.encode(hasher.finalize()),
            ),
        };
        let checksum = ObjectChecksum {
            algorithm,
            kind: ChecksumKind::FullObject,
            value,
        };
        BodyHashes {
            md5: self.md5.finalize().into(),
            checksum,
        }
    }
}

/// What kind of checksum a multipart object has, from the algorithm and what the client asked for.
///
/// Source: S3 user guide, "Checking object integrity": CRC64NVME is always of the full object, the
/// SHAs are always composite, the other CRCs are composite unless asked otherwise.
pub fn multipart_kind(
    algorithm: ChecksumAlgorithm,
    asked: Option<ChecksumKind>,
) -> S3Result<ChecksumKind> {
    let (default, fixed) = match algorithm {
        ChecksumAlgorithm::Crc64Nvme => (ChecksumKind::FullObject, true),
        ChecksumAlgorithm::Sha1 | ChecksumAlgorithm::Sha256 => (ChecksumKind::Composite, true),
        ChecksumAlgorithm::Crc32 | ChecksumAlgorithm::Crc32c => (ChecksumKind::Composite, false),
    };
    match asked {
        Some(asked) if fixed && asked != default => Err(S3Error::with_message(
            S3ErrorCode::InvalidRequest,
            format!(
                "The {} checksum type cannot be used with the {} checksum algorithm.",
                kind_name(asked),
                name(algorithm)
            ),
        )),
        asked => Ok(asked.unwrap_or(default)),
    }
}

/// The kind's name in S3's documents.
pub const fn kind_name(kind: ChecksumKind) -> &'static str {
    match kind {
        ChecksumKind::FullObject => dto::ChecksumType::FULL_OBJECT,
        ChecksumKind::Composite => dto::ChecksumType::COMPOSITE,
    }
}

/// Reads the kind's name.
pub fn parse_kind(kind: &dto::ChecksumType) -> S3Result<ChecksumKind> {
    match kind.as_str() {
        dto::ChecksumType::FULL_OBJECT => Ok(ChecksumKind::FullObject),
        dto::ChecksumType::COMPOSITE => Ok(ChecksumKind::Composite),
        _ => Err(s3_error!(
            InvalidRequest,
            "Value for x-amz-checksum-type header is invalid."
        )),
    }
}

/// The object's checksum from its parts': digest and length of each, in order.
pub fn of_parts(
    algorithm: ChecksumAlgorithm,
    kind: ChecksumKind,
    parts: &[(Vec<u8>, u64)],
) -> ObjectChecksum {
    let value = match kind {
        ChecksumKind::FullObject => combined(algorithm, parts),
        ChecksumKind::Composite => {
            let mut hasher = BodyHasher::new(Some(algorithm));
            parts.iter().for_each(|(digest, _)| hasher.update(digest));
            format!("{}-{}", hasher.finish(Crc64(0)).checksum.value, parts.len())
        }
    };
    ObjectChecksum {
        algorithm,
        kind,
        value,
    }
}

fn combined(algorithm: ChecksumAlgorithm, parts: &[(Vec<u8>, u64)]) -> String {
    let (crc_algorithm, width_bytes) = match algorithm {
        ChecksumAlgorithm::Crc32 => (CrcAlgorithm::Crc32IsoHdlc, 4),
        ChecksumAlgorithm::Crc32c => (CrcAlgorithm::Crc32Iscsi, 4),
        _ => (CrcAlgorithm::Crc64Nvme, 8),
    };
    let combined = parts
        .iter()
        .map(|(digest, length_bytes)| {
            let crc = digest
                .iter()
                .fold(0u64, |crc, byte| crc << 8 | u64::from(*byte));
            (crc, *length_bytes)
        })
        .reduce(|(crc, before), (next, length_bytes)| {
            let crc = crc_fast::checksum_combine(crc_algorithm, crc, next, length_bytes);
            (crc, before + length_bytes)
        })
        .map_or(0, |(crc, _)| crc);
    STANDARD.encode(&combined.to_be_bytes()[8 - width_bytes..])
}

/// Fills the checksum fields of an S3 document.
macro_rules! set_checksum {
    ($document:expr, $checksum:expr) => {{
        let checksum: &metastore::ObjectChecksum = $checksum;
        let value = Some(checksum.value.clone());
        match checksum.algorithm {
            metastore::ChecksumAlgorithm::Crc32 => $document.checksum_crc32 = value,
            metastore::ChecksumAlgorithm::Crc32c => $document.checksum_crc32c = value,
            metastore::ChecksumAlgorithm::Crc64Nvme => $document.checksum_crc64nvme = value,
            metastore::ChecksumAlgorithm::Sha1 => $document.checksum_sha1 = value,
            metastore::ChecksumAlgorithm::Sha256 => $document.checksum_sha256 = value,
        }
    }};
}
pub(crate) use set_checksum;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn digest(algorithm: ChecksumAlgorithm, data: &[u8]) -> Vec<u8> {
        let mut hasher = BodyHasher::new(Some(algorithm));
        hasher.update(data);
        decode(algorithm, &hasher.finish(Crc64::of(data)).checksum.value).unwrap()
    }

    proptest! {
        #[test]
        fn combined_crcs_are_those_of_the_whole(
            parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..50), 1..8),
        ) {
            let whole = parts.concat();
            for algorithm in [ChecksumAlgorithm::Crc32, ChecksumAlgorithm::Crc32c, ChecksumAlgorithm::Crc64Nvme] {
                let digests: Vec<_> =
                    parts.iter().map(|part| (digest(algorithm, part), part.len() as u64)).collect();
                let combined = of_parts(algorithm, ChecksumKind::FullObject, &digests);
                prop_assert_eq!(decode(algorithm, &combined.value).unwrap(), digest(algorithm, &whole));
            }
        }
    }

    #[test]
    fn crc64_is_never_composite_and_sha_always() {
        let (full, composite) = (ChecksumKind::FullObject, ChecksumKind::Composite);
        assert_eq!(
            multipart_kind(ChecksumAlgorithm::Crc64Nvme, None).unwrap(),
            full
        );
        assert!(multipart_kind(ChecksumAlgorithm::Crc64Nvme, Some(composite)).is_err());
        assert_eq!(
            multipart_kind(ChecksumAlgorithm::Sha256, None).unwrap(),
            composite
        );
        assert!(multipart_kind(ChecksumAlgorithm::Sha1, Some(full)).is_err());
        assert_eq!(
            multipart_kind(ChecksumAlgorithm::Crc32, None).unwrap(),
            composite
        );
        assert_eq!(
            multipart_kind(ChecksumAlgorithm::Crc32, Some(full)).unwrap(),
            full
        );
    }
}
