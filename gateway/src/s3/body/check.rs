//! What a client declares about its body — Content-MD5, a checksum in a header or in a trailer —
//! and the comparison with the bytes that came. A mismatch is the client's error, never a 500.

use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chunkproto::Crc64;
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName};
use metastore::{ChecksumAlgorithm, ObjectChecksum};
use s3s::dto::StreamingBlob;
use s3s::{S3Request, S3Result, TrailingHeaders, s3_error};

use super::checksums::{self, ALGORITHMS, BodyHasher, BodyHashes};
use super::unsigned_chunks::UnsignedTrailer;
use crate::chunks::BodyStream;

const CONTENT_MD5: HeaderName = HeaderName::from_static("content-md5");
const TRAILER: HeaderName = HeaderName::from_static("x-amz-trailer");
const SDK_ALGORITHM: HeaderName = HeaderName::from_static("x-amz-sdk-checksum-algorithm");
const CHECKSUM_PREFIX: &str = "x-amz-checksum-";
/// Headers that begin like a checksum and are none.
const NOT_CHECKSUMS: [&str; 3] = [
    "x-amz-checksum-algorithm",
    "x-amz-checksum-mode",
    "x-amz-checksum-type",
];

/// What the client declared.
#[derive(Debug, Clone, Default)]
pub struct BodyCheck {
    content_md5: Option<[u8; 16]>,
    declared: Option<Declared>,
}

#[derive(Debug, Clone)]
struct Declared {
    algorithm: ChecksumAlgorithm,
    /// None: the value comes in a trailer.
    value: Option<String>,
}

/// A body whose bytes were all as declared.
#[derive(Debug)]
pub struct CheckedBody {
    /// MD5 of the bytes.
    pub md5: [u8; 16],
    /// The checksum to keep: the declared algorithm's, else CRC64-NVME.
    pub checksum: ObjectChecksum,
}

/// The lines behind a body in chunks, which are there once the body was read to its end. Stands in the
/// extensions of a request that is dispatched again.
#[derive(Clone)]
pub enum Trailer {
    /// Of a signed body.
    Signed(TrailingHeaders),
    /// Of one without signature.
    Unsigned(UnsignedTrailer),
}

impl Trailer {
    /// The trailer of a request's body, if it has one.
    pub fn of<T>(request: &S3Request<T>) -> Option<Self> {
        let signed = request.trailing_headers.clone().map(Self::Signed);
        let carried = || request.extensions.get().cloned();
        let unsigned = || request.extensions.get().cloned().map(Self::Unsigned);
        signed.or_else(carried).or_else(unsigned)
    }

    fn get(&self, name: &str) -> Option<String> {
        let value = match self {
            Self::Signed(lines) => lines.read(|lines| lines.get(name).cloned()).flatten(),
            Self::Unsigned(lines) => lines.get(name),
        };
        value.and_then(|value| value.to_str().ok().map(str::to_owned))
    }
}

/// The hashes of a body that passes by; shared between its stream and the operation.
#[derive(Clone)]
pub struct BodyTally(Arc<Mutex<Option<BodyHasher>>>);

impl BodyTally {
    /// A tally of MD5 and of `algorithm`.
    pub fn new(algorithm: Option<ChecksumAlgorithm>) -> Self {
        Self(Arc::new(Mutex::new(Some(BodyHasher::new(algorithm)))))
    }

    /// Takes the next bytes in.
    pub fn update(&self, data: &[u8]) {
        if let Some(hasher) = self
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .as_mut()
        {
            hasher.update(data);
        }
    }

    /// The hashes. Call once, after the stream ended.
    pub fn finish(&self, crc64: Crc64) -> BodyHashes {
        let hasher = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        hasher
            .unwrap_or_else(|| BodyHasher::new(None))
            .finish(crc64)
    }
}

impl BodyCheck {
    /// Reads what the headers declare.
    ///
    /// # Errors
    /// `InvalidDigest` for a Content-MD5 that is none; `BadDigest` for a checksum that is
    /// none; `InvalidRequest` for two of them, and for an announced one that is nowhere; `NotImplemented` for an
    /// algorithm that is not built.
    pub fn declared_in(headers: &HeaderMap) -> S3Result<Self> {
        let content_md5 = match headers.get(CONTENT_MD5) {
            Some(value) => Some(parse_md5(value.as_bytes())?),
            None => None,
        };
        let declared = match declared_value(headers)? {
            Some(declared) => Some(declared),
            None => declared_trailer(headers)?,
        };
        refuse_other_algorithm(headers, declared.as_ref())?;
        Ok(Self {
            content_md5,
            declared,
        })
    }

    /// The algorithm that the client chose.
    pub fn algorithm(&self) -> Option<ChecksumAlgorithm> {
        self.declared.as_ref().map(|declared| declared.algorithm)
    }

    /// The stream with its bytes hashed as they pass, for `algorithm` or the declared one.
    pub fn tally(
        &self,
        body: StreamingBlob,
        algorithm: Option<ChecksumAlgorithm>,
    ) -> (BodyStream, BodyTally) {
        let tally = BodyTally::new(self.algorithm().or(algorithm));
        let hashing = tally.clone();
        let body = body
            .inspect(move |piece| {
                if let Ok(piece) = piece {
                    hashing.update(piece);
                }
            })
            .boxed();
        (body, tally)
    }

    /// Compares the hashes of the whole body with what was declared.
    ///
    /// # Errors
    /// `BadDigest` on a mismatch; `InvalidRequest` when an announced trailer did not come.
    pub fn verify(&self, hashes: BodyHashes, trailer: Option<&Trailer>) -> S3Result<CheckedBody> {
        if self
            .content_md5
            .is_some_and(|declared| declared != hashes.md5)
        {
            return Err(s3_error!(
                BadDigest,
                "The Content-MD5 you specified did not match what we received."
            ));
        }
        if let Some(Declared { algorithm, value }) = &self.declared {
            let value = match value {
                Some(value) => value.clone(),
                None => trailer_value(*algorithm, trailer)?,
            };
            if hashes.checksum.algorithm != *algorithm || hashes.checksum.value != value {
                return Err(s3_error!(
                    BadDigest,
                    "The {} you specified did not match the calculated checksum.",
                    checksums::name(*algorithm)
                ));
            }
        }
        Ok(CheckedBody {
            md5: hashes.md5,
            checksum: hashes.checksum,
        })
    }
}

fn parse_md5(value: &[u8]) -> S3Result<[u8; 16]> {
    let digest = STANDARD.decode(value).ok();
    digest
        .and_then(|digest| digest.try_into().ok())
        .ok_or_else(|| s3_error!(InvalidDigest))
}

/// Refuses a body whose checksum is of another algorithm than the SDK says.
fn refuse_other_algorithm(headers: &HeaderMap, declared: Option<&Declared>) -> S3Result<()> {
    let Some(named) = headers.get(SDK_ALGORITHM).filter(|name| !name.is_empty()) else {
        return Ok(());
    };
    let Some(declared) = declared else {
        return Err(s3_error!(
            InvalidRequest,
            "x-amz-sdk-checksum-algorithm specified, but no corresponding x-amz-checksum-* or x-amz-trailer headers were found."
        ));
    };
    let name = checksums::name(declared.algorithm);
    match named.as_bytes().eq_ignore_ascii_case(name.as_bytes()) {
        true => Ok(()),
        false => Err(s3_error!(
            InvalidRequest,
            "Value for x-amz-sdk-checksum-algorithm header is invalid."
        )),
    }
}

/// The checksum that stands in a header with its value.
fn declared_value(headers: &HeaderMap) -> S3Result<Option<Declared>> {
    let mut given = headers.iter().filter(|(name, value)| {
        let name = name.as_str();
        name.starts_with(CHECKSUM_PREFIX) && !NOT_CHECKSUMS.contains(&name) && !value.is_empty()
    });
    let Some((name, value)) = given.next() else {
        return Ok(None);
    };
    if given.next().is_some() {
        return Err(s3_error!(
            InvalidRequest,
            "Expecting a single x-amz-checksum- header. Multiple checksum Types are not allowed."
        ));
    }
    let algorithm = algorithm_of(name.as_str())?;
    match value.to_str() {
        // A composite checksum of an upload ends in the number of its parts.
        Ok(value) if checksums::decode(algorithm, without_count(value)).is_some() => {
            Ok(Some(Declared {
                algorithm,
                value: Some(value.to_owned()),
            }))
        }
        _ => Err(s3_error!(BadDigest, "Value for {name} header is invalid.")),
    }
}

fn without_count(value: &str) -> &str {
    value.split_once('-').map_or(value, |(digest, _)| digest)
}

/// The checksum that is announced as a trailer.
fn declared_trailer(headers: &HeaderMap) -> S3Result<Option<Declared>> {
    let Some(announced) = headers.get(TRAILER).and_then(|value| value.to_str().ok()) else {
        return Ok(None);
    };
    let name = announced.trim().to_ascii_lowercase();
    if name.is_empty() {
        return Ok(None);
    }
    let algorithm = algorithm_of(&name)?;
    Ok(Some(Declared {
        algorithm,
        value: None,
    }))
}

fn algorithm_of(header: &str) -> S3Result<ChecksumAlgorithm> {
    ALGORITHMS
        .into_iter()
        .find(|algorithm| checksums::header(*algorithm) == header)
        .ok_or_else(|| s3_error!(NotImplemented, "The checksum {header} is not implemented."))
}

fn trailer_value(algorithm: ChecksumAlgorithm, trailer: Option<&Trailer>) -> S3Result<String> {
    let name = checksums::header(algorithm);
    let value = trailer.and_then(|trailer| trailer.get(name.as_str()));
    value.ok_or_else(|| {
        s3_error!(
            InvalidRequest,
            "The announced trailer {name} did not arrive."
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn declared(headers: &[(&'static str, &'static str)]) -> S3Result<BodyCheck> {
        let headers = headers
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
            .collect();
        BodyCheck::declared_in(&headers)
    }

    fn verify(check: &BodyCheck, body: &[u8]) -> S3Result<CheckedBody> {
        let tally = BodyTally::new(check.algorithm());
        tally.update(body);
        check.verify(tally.finish(Crc64::of(body)), None)
    }

    #[test]
    fn bytes_as_declared_pass_and_others_do_not() {
        for (name, value) in [
            ("content-md5", "XUFAKrxLKna5cZ2REBfFkg=="),
            ("x-amz-checksum-crc32", "NhCmhg=="),
            ("x-amz-checksum-crc32c", "mnG7TA=="),
            ("x-amz-checksum-sha1", "qvTGHdzF6KLavt4PO0gs2a6pQ00="),
        ] {
            let check = declared(&[(name, value)]).unwrap();
            assert!(verify(&check, b"hello").is_ok(), "{name}");
            assert_eq!(
                verify(&check, b"hullo").unwrap_err().code().as_str(),
                "BadDigest"
            );
        }
    }

    #[test]
    fn malformed_declarations_are_refused_with_their_own_codes() {
        let code = |headers: &[(&'static str, &'static str)]| {
            declared(headers).unwrap_err().code().as_str().to_owned()
        };
        assert_eq!(code(&[("content-md5", "")]), "InvalidDigest");
        assert_eq!(code(&[("content-md5", "AAAA")]), "InvalidDigest");
        assert_eq!(code(&[("x-amz-checksum-crc32", "AAAAAAAA")]), "BadDigest");
        assert_eq!(code(&[("x-amz-checksum-sha512", "AAAA")]), "NotImplemented");
        assert_eq!(
            code(&[("x-amz-sdk-checksum-algorithm", "CRC32")]),
            "InvalidRequest"
        );
        let two = [
            ("x-amz-checksum-crc32", "NhCmhg=="),
            ("x-amz-checksum-crc32c", "mnG7TA=="),
        ];
        assert_eq!(code(&two), "InvalidRequest");
    }

    #[test]
    fn an_announced_trailer_must_arrive() {
        let check = declared(&[("x-amz-trailer", "x-amz-checksum-crc32")]).unwrap();
        assert_eq!(
            verify(&check, b"hello").unwrap_err().code().as_str(),
            "InvalidRequest"
        );
    }
}
