//! How sealed bytes are read: the plain range becomes a range of whole sealed blocks, those are read like
//! any other bytes, and opened on their way to the client.

use bytes::Bytes;
use chunkproto::ByteRange;
use futures::TryStreamExt as _;
use futures::stream::BoxStream;
use http_body::Frame;
use http_body_util::StreamBody;
use s3s::Body;
use s3s::dto::StreamingBlob;

use crate::chunks::ReadError;
use crate::s3::errors;
use crate::sealing::{BodyKey, DataKey, OpenRun, OpenRuns, SealedPart, open};

/// A read of a sealed object. Clones share what is to be opened.
#[derive(Clone)]
pub struct SealedRead {
    /// The object's key.
    pub key: DataKey,
    runs: OpenRuns,
}

impl SealedRead {
    /// A read of what is sealed under `key`.
    pub fn new(key: &DataKey) -> Self {
        Self {
            key: key.clone(),
            runs: OpenRuns::default(),
        }
    }

    /// The sealed bytes that hold `range` of a body of `body_bytes`. They must come next among those
    /// that are opened.
    pub fn stored_range(&self, key: BodyKey, range: ByteRange, body_bytes: u64) -> ByteRange {
        let part = SealedPart::covering(range, body_bytes);
        self.runs.push(OpenRun { key, part });
        part.sealed
    }

    /// The plain bytes of sealed ones.
    pub fn open(self, sealed: BoxStream<'static, Result<Bytes, ReadError>>) -> StreamingBlob {
        let plain = open(sealed, self.runs)
            .map_ok(Frame::data)
            .map_err(errors::from_open);
        StreamingBlob::from(Body::http_body_unsync(StreamBody::new(plain)))
    }
}
