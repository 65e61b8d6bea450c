//! What the signature and the headers of a request say of its document, compared with the bytes.

use chunkproto::Crc64Hasher;
use http::HeaderMap;
use s3s::S3ErrorCode;
use s3s::crypto::{Checksum as _, Sha256};

use super::bounded::Fault;
use super::check::BodyCheck;
use super::checksums::BodyHasher;

/// The digests of a document, while its bytes pass.
pub struct DocumentDigests {
    signed: Option<(Sha256, [u8; 32])>,
    declared: Result<Option<DeclaredDigest>, Fault>,
}

impl DocumentDigests {
    /// What the headers say; `is_declared` tells whether a Content-MD5 or checksum in them is of the
    /// document.
    pub fn of(headers: &HeaderMap, is_declared: bool) -> Self {
        Self {
            signed: signed_digest(headers).map(|signed| (Sha256::new(), signed)),
            declared: match is_declared {
                true => DeclaredDigest::of(headers),
                false => Ok(None),
            },
        }
    }

    /// Nothing to compare.
    pub const fn none() -> Self {
        Self {
            signed: None,
            declared: Ok(None),
        }
    }

    /// Whether there is something left to compare.
    pub fn are_open(&self) -> bool {
        self.signed.is_some() || !matches!(self.declared, Ok(None))
    }

    /// Takes the next bytes in.
    pub fn update(&mut self, data: &[u8]) {
        if let Some((hasher, _)) = &mut self.signed {
            hasher.update(data);
        }
        if let Ok(Some(declared)) = &mut self.declared {
            declared.hasher.update(data);
            declared.crc64.update(data);
        }
    }

    /// Compares the bytes that passed, once; after that there is nothing to compare.
    ///
    /// # Errors
    /// `Mismatch`, `InvalidDigest`, `BadDigest`.
    pub fn compare(&mut self) -> Result<(), Fault> {
        let is_signed = |(hasher, signed): (Sha256, [u8; 32])| hasher.finalize() == signed;
        if !self.signed.take().is_none_or(is_signed) {
            return Err(Fault::Mismatch);
        }
        let declared = std::mem::replace(&mut self.declared, Ok(None))?;
        declared.map_or(Ok(()), DeclaredDigest::compare)
    }
}

fn signed_digest(headers: &HeaderMap) -> Option<[u8; 32]> {
    let digest = headers.get("x-amz-content-sha256")?;
    hex::decode(digest.as_bytes()).ok()?.try_into().ok()
}

/// A Content-MD5 or checksum of a document, and the hashes of the bytes so far.
struct DeclaredDigest {
    check: BodyCheck,
    hasher: BodyHasher,
    crc64: Crc64Hasher,
}

impl DeclaredDigest {
    /// What the headers declare of these very bytes; of aws-chunked, they declare what is decoded.
    fn of(headers: &HeaderMap) -> Result<Option<Self>, Fault> {
        let kind = headers.get("x-amz-content-sha256");
        if kind.is_some_and(|kind| kind.as_bytes().starts_with(b"STREAMING-")) {
            return Ok(None);
        }
        match BodyCheck::declared_in(headers) {
            Ok(check) => Ok(Some(Self {
                hasher: BodyHasher::new(check.algorithm()),
                check,
                crc64: Crc64Hasher::default(),
            })),
            Err(error) if *error.code() == S3ErrorCode::InvalidDigest => Err(Fault::InvalidDigest),
            // Left for s3s and the operation to refuse.
            Err(_) => Ok(None),
        }
    }

    fn compare(self) -> Result<(), Fault> {
        let hashes = self.hasher.finish(self.crc64.finish());
        let compared = self.check.verify(hashes, None);
        compared.map(drop).map_err(|_| Fault::BadDigest)
    }
}
