//! A body that is hashed on its way to the XML parser: DeleteObjects must compare Content-MD5 or a
//! checksum with the bytes, and s3s hands over only what it parsed.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use chunkproto::{Crc64, Crc64Hasher};
use http::{HeaderMap, Method};
use http_body::{Body, Frame, SizeHint};
use s3s::S3Result;

use super::body_check::{BodyCheck, BodyTally};
use crate::http::has_query_key;

/// The hashes of a request's raw body; stands in the request's extensions.
#[derive(Clone)]
pub struct RawBodyTally {
    tally: BodyTally,
    crc64: Arc<Mutex<Crc64Hasher>>,
}

impl RawBodyTally {
    /// A tally for requests whose body must be compared: DeleteObjects.
    pub fn wanted_for(method: &Method, query: Option<&str>, headers: &HeaderMap) -> Option<Self> {
        if *method != Method::POST || !has_query_key(query, "delete") {
            return None;
        }
        // What is malformed is refused by the operation, after the signature check.
        let algorithm = BodyCheck::declared_in(headers)
            .ok()
            .and_then(|check| check.algorithm());
        Some(Self {
            tally: BodyTally::new(algorithm),
            crc64: Arc::default(),
        })
    }

    /// Compares the bytes that passed with what the headers declare.
    pub fn verify(&self, check: &BodyCheck) -> S3Result<()> {
        let crc64: Crc64 = self
            .crc64
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .finish();
        check.verify(self.tally.finish(crc64), None).map(drop)
    }

    fn update(&self, data: &[u8]) {
        self.tally.update(data);
        self.crc64
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .update(data);
    }
}

/// A body that feeds a tally, where there is one.
pub struct DigestedBody<B> {
    body: B,
    tally: Option<RawBodyTally>,
}

impl<B> DigestedBody<B> {
    /// Wraps `body`.
    pub fn new(body: B, tally: Option<RawBodyTally>) -> Self {
        Self { body, tally }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for DigestedBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let polled = Pin::new(&mut self.body).poll_frame(cx);
        if let (Some(tally), Poll::Ready(Some(Ok(frame)))) = (&self.tally, &polled)
            && let Some(data) = frame.data_ref()
        {
            tally.update(data);
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
