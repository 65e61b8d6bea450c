//! The one place where failures of lower layers become S3 errors. Internals are logged here, once; the
//! client sees S3's words. Refusals of a request are made where it is checked.

use std::error::Error;

use chunkproto::ChunkError;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use metastore::{InvalidName, MetaError};
use s3s::stream::aws_chunked_stream::AwsChunkedStreamError;
use s3s::stream::upload_stream::UploadStreamError;
use s3s::{S3Error, S3ErrorCode, s3_error};
use tracing::{error, warn};

use super::body::unsigned_chunks::UnsignedChunksError;
use super::edge::envelope::Refused;
use super::edge::xml_text::{is_xml_text, xml_text};
use crate::chunks::{ReadError, WriteError};
use crate::http::RequestBodyError;
use crate::sealing::OpenError;

/// A name that breaks S3's rules.
pub fn from_name(error: InvalidName) -> S3Error {
    let code = match error {
        InvalidName::Bucket(_) => S3ErrorCode::InvalidBucketName,
        InvalidName::KeyTooLong(_) => S3ErrorCode::KeyTooLongError,
        InvalidName::UploadId(_) => return s3_error!(NoSuchUpload),
        InvalidName::EmptyKey => S3ErrorCode::InvalidArgument,
        InvalidName::PartNumber(_) => {
            let message = "Part number must be an integer between 1 and 10000, inclusive";
            return S3Error::with_message(S3ErrorCode::InvalidArgument, message);
        }
    };
    S3Error::new(code)
}

/// The error with a message that an answer can carry: some repeat what the client sent.
pub fn in_xml(mut error: S3Error) -> S3Error {
    let message = error.message().filter(|message| !is_xml_text(message));
    if let Some(message) = message.map(str::to_owned) {
        error.set_message(xml_text(message));
    }
    error
}

/// An error of S3 that s3s has no code for.
pub fn custom(status: StatusCode, code: &'static str, message: &str) -> S3Error {
    let mut error = S3Error::with_message(S3ErrorCode::Custom(code.into()), message.to_owned());
    error.set_status_code(status);
    error
}

/// An append whose object has another length.
pub fn invalid_offset() -> S3Error {
    custom(
        StatusCode::BAD_REQUEST,
        "InvalidWriteOffset",
        "The write offset value that you specified does not match the current object size.",
    )
}

/// A failed metadata operation.
pub fn from_metadata(error: MetaError) -> S3Error {
    match error {
        // Clients are about that compare S3's very words, which have no full stop here.
        MetaError::NoSuchBucket => {
            s3_error!(NoSuchBucket, "The specified bucket does not exist")
        }
        MetaError::BucketExists { .. } => s3_error!(BucketAlreadyExists),
        MetaError::BucketNotEmpty => s3_error!(BucketNotEmpty),
        MetaError::NoSuchKey(_) => s3_error!(NoSuchKey),
        MetaError::NoSuchVersion(..) => s3_error!(NoSuchVersion),
        MetaError::NoSuchUpload(_) => s3_error!(NoSuchUpload),
        MetaError::InvalidPart(_) => s3_error!(InvalidPart),
        MetaError::PreconditionFailed => s3_error!(PreconditionFailed),
        MetaError::Conflict | MetaError::NoSuchBody(_) => s3_error!(ConditionalRequestConflict),
        MetaError::QuotaExceeded { unit, max, .. } => quota_exceeded(unit, max),
        MetaError::TooManyParts => custom(
            StatusCode::BAD_REQUEST,
            "TooManyParts",
            "The object has 10000 parts, the most that are allowed. A copy of it has one, and can be appended to.",
        ),
        MetaError::TokenReused => custom(
            StatusCode::BAD_REQUEST,
            "IdempotencyParameterMismatch",
            "The client token was used before, for a request with other parameters.",
        ),
        MetaError::NoSuchUser | MetaError::NameTaken(_) => s3_error!(InvalidArgument),
        MetaError::Unavailable(_) => {
            warn!(%error, "the metadata store is unavailable");
            s3_error!(ServiceUnavailable)
        }
        MetaError::OutcomeUnknown(_)
        | MetaError::Corrupt { .. }
        | MetaError::Fenced(_)
        | MetaError::NoSuchChunk(_) => {
            error!(%error, "the metadata store failed");
            s3_error!(InternalError)
        }
    }
}

/// A body that was not written.
pub fn from_write(error: WriteError) -> S3Error {
    match error {
        WriteError::Body(error) => from_body(error.as_ref()),
        WriteError::Length { .. } => s3_error!(IncompleteBody),
        WriteError::NoNodes { .. } | WriteError::NoQuorum { .. } => {
            warn!(%error, "a write found too few chunk servers");
            S3Error::with_message(
                S3ErrorCode::SlowDown,
                "Too few chunk servers can store the object now. Please try again.",
            )
        }
        WriteError::TooSlow(_) | WriteError::Stalled(_) => {
            warn!(%error, "a write took too long");
            s3_error!(RequestTimeout)
        }
        WriteError::Busy(_) => slow_down(&error),
    }
}

/// A body that cannot be read, noticed before the first byte was sent.
pub fn from_read(error: ReadError) -> S3Error {
    match error {
        ReadError::Metadata(error) => from_metadata(error),
        ReadError::Busy(_) => slow_down(&error),
        ReadError::TooSlow(_) => s3_error!(RequestTimeout),
        ReadError::NoReplica {
            last: ChunkError::Unreachable(_) | ChunkError::Refused(_),
            ..
        } => {
            warn!(%error, "an object cannot be read now");
            s3_error!(ServiceUnavailable)
        }
        ReadError::NoReplica { .. } => {
            error!(%error, "an object cannot be read");
            s3_error!(InternalError)
        }
    }
}

/// An encrypted body that cannot be read; noticed while it is sent, so that its connection breaks.
pub fn from_open(error: OpenError<ReadError>) -> S3Error {
    match error {
        OpenError::Source(error) => from_read(error),
        OpenError::Forged { .. } => {
            error!(%error, "an encrypted object cannot be read");
            s3_error!(InternalError)
        }
    }
}

/// A client's body that broke its own rules, or whose connection broke.
fn from_body(error: &(dyn Error + 'static)) -> S3Error {
    if let Some(s3) = error.downcast_ref::<S3Error>() {
        let message = s3.message().unwrap_or_default().to_owned();
        return S3Error::with_message(s3.code().clone(), message);
    }
    if let Some(UnsignedChunksError::Body(cause)) = error.downcast_ref() {
        return from_body(cause.as_ref());
    }
    let code = match (
        error.downcast_ref::<UploadStreamError>(),
        error.downcast_ref::<AwsChunkedStreamError>(),
        error.downcast_ref::<RequestBodyError>(),
    ) {
        (Some(UploadStreamError::Underlying(cause)), ..)
        | (_, Some(AwsChunkedStreamError::Underlying(cause)), _) => {
            return from_body(cause.as_ref());
        }
        (Some(UploadStreamError::Sha256Mismatch), ..) => return payload_mismatch(),
        (Some(error), ..) => error.to_s3_error_code(),
        (_, Some(error), _) => error.to_s3_error_code(),
        (.., Some(RequestBodyError::Silent)) => S3ErrorCode::RequestTimeout,
        _ if error.is::<s3s::BodySizeLimitExceeded>() => S3ErrorCode::EntityTooLarge,
        _ => S3ErrorCode::IncompleteBody,
    };
    S3Error::new(code)
}

/// A payload that does not have the SHA-256 that was signed; s3s has no code for it.
fn payload_mismatch() -> S3Error {
    let refused = Refused::payload_mismatch();
    custom(refused.status, refused.code, &refused.message)
}

/// A bucket that would hold too much. AWS has no quotas; code and status are those of Ceph's RGW.
fn quota_exceeded(unit: &str, max: u64) -> S3Error {
    custom(
        StatusCode::FORBIDDEN,
        "QuotaExceeded",
        &format!("The bucket's quota is {max} {unit}; this request would exceed it."),
    )
}

fn slow_down(error: &dyn Error) -> S3Error {
    warn!(%error, "request rejected: memory budget exhausted");
    s3_error!(SlowDown)
}

/// The error with these headers. Headers of its own replace the ones that s3s gives an error, so the
/// type of its body must be among them.
pub(crate) fn with_headers(mut error: S3Error, mut headers: HeaderMap) -> S3Error {
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/xml"));
    error.set_headers(headers);
    error
}
