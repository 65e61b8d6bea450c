//! Request bodies: as a stream of bytes that cannot stall for ever, whole where they are short, and
//! checked against a checksum where one is known.

use std::time::Duration;

use bytes::Bytes;
use chunkproto::{ChunkError, ChunkId, ChunkResult, ChunkStream, Crc64, Crc64Hasher};
use futures::stream::{self, StreamExt as _};
use http_body_util::{BodyExt as _, Limited};
use hyper::body::Incoming;
use tokio::time::timeout;

/// How long a sender may pause within a body.
const BODY_IDLE_TIMEOUT: Duration = Duration::from_secs(30);
/// Longest JSON request.
const JSON_MAX_BYTES: usize = 64 << 10;

/// The body's bytes. Ends in `BadBody` if the sender goes away or pauses for 30 s.
pub(super) fn into_stream(body: Incoming) -> ChunkStream {
    let next = |mut body: Incoming| async move {
        loop {
            let frame = match timeout(BODY_IDLE_TIMEOUT, body.frame()).await {
                Ok(Some(Ok(frame))) => frame,
                Ok(Some(Err(error))) => {
                    return Err(ChunkError::BadBody(format!(
                        "the sender went away: {error}"
                    )));
                }
                Ok(None) => return Ok(None),
                Err(_) => {
                    let idle_s = BODY_IDLE_TIMEOUT.as_secs();
                    return Err(ChunkError::BadBody(format!("no byte came for {idle_s} s")));
                }
            };
            if let Ok(data) = frame.into_data() {
                return Ok(Some((data, body)));
            }
        }
    };
    stream::try_unfold(body, next).boxed()
}

/// The same bytes, with an error at the end if they do not have the checksum `expected`.
pub(super) fn verified(id: ChunkId, body: ChunkStream, expected: Crc64) -> ChunkStream {
    let next = move |(mut body, mut hasher): (ChunkStream, Crc64Hasher)| async move {
        match body.next().await.transpose()? {
            Some(piece) => {
                hasher.update(&piece);
                Ok(Some((piece, (body, hasher))))
            }
            None if hasher.finish() == expected => Ok(None),
            None => Err(ChunkError::BadBody(format!(
                "chunk {id} arrived with checksum {}, not {expected}",
                hasher.finish()
            ))),
        }
    };
    stream::try_unfold((body, Crc64Hasher::new()), next).boxed()
}

/// A short body as a whole.
pub(super) async fn collect_short(body: Incoming) -> ChunkResult<Bytes> {
    let collect = Limited::new(body, JSON_MAX_BYTES).collect();
    match timeout(BODY_IDLE_TIMEOUT, collect).await {
        Ok(Ok(whole)) => Ok(whole.to_bytes()),
        Ok(Err(error)) => Err(ChunkError::BadBody(error.to_string())),
        Err(_) => Err(ChunkError::BadBody("it did not arrive in time".into())),
    }
}
