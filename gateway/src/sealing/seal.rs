//! Seals a body as it streams by. Holds one block.

use std::error::Error;
use std::sync::{Arc, OnceLock};

use bytes::{Bytes, BytesMut};
use chunkproto::{Crc64, Crc64Hasher};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};

use super::data_key::BodyKey;
use super::frame::{BLOCK_BYTES, block_bytes, bound_to};

type BodyError = Box<dyn Error + Send + Sync>;

/// CRC64-NVME of the plaintext that passed a sealing stream; there once that has ended.
#[derive(Clone, Default)]
pub struct PlainCrc(Arc<OnceLock<Crc64>>);

impl PlainCrc {
    /// The checksum; `None` while the stream has not ended.
    #[must_use]
    pub fn get(&self) -> Option<Crc64> {
        self.0.get().copied()
    }
}

struct Sealing<S> {
    body: S,
    key: BodyKey,
    body_bytes: u64,
    number: u64,
    plain: BytesMut,
    hasher: Option<Crc64Hasher>,
    crc: PlainCrc,
}

/// The sealed bytes of `body`, whose plaintext is declared to have `body_bytes`. A body of another
/// length gives sealed bytes of another length than [`sealed_bytes`](super::sealed_bytes) says.
pub fn seal(
    body: impl Stream<Item = Result<Bytes, BodyError>> + Send + Unpin + 'static,
    key: BodyKey,
    body_bytes: u64,
) -> (BoxStream<'static, Result<Bytes, BodyError>>, PlainCrc) {
    let crc = PlainCrc::default();
    let sealing = Sealing {
        body,
        key,
        body_bytes,
        number: 0,
        plain: BytesMut::new(),
        hasher: Some(Crc64Hasher::default()),
        crc: crc.clone(),
    };
    let sealed = stream::try_unfold(sealing, |mut sealing| async move {
        Ok(sealing.next_block().await?.map(|block| (block, sealing)))
    });
    (sealed.boxed(), crc)
}

impl<S: Stream<Item = Result<Bytes, BodyError>> + Send + Unpin> Sealing<S> {
    async fn next_block(&mut self) -> Result<Option<Bytes>, BodyError> {
        let wanted = match block_bytes(self.body_bytes, self.number) {
            // Nothing more was declared; whatever still comes must show.
            0 => 1,
            bytes => usize::try_from(bytes)?,
        };
        while self.plain.len() < wanted {
            let Some(piece) = self.body.next().await else {
                break;
            };
            let piece = piece?;
            if let Some(hasher) = &mut self.hasher {
                hasher.update(&piece);
            }
            if self.plain.is_empty() {
                self.plain.reserve(wanted.max(piece.len()) + 16);
            }
            self.plain.extend_from_slice(&piece);
        }
        if self.plain.is_empty() {
            if let Some(hasher) = self.hasher.take() {
                let _ = self.crc.0.set(hasher.finish());
            }
            return Ok(None);
        }
        let at = self.plain.len().min(usize::try_from(BLOCK_BYTES)?);
        let rest = self.plain.split_off(at);
        let mut block = std::mem::replace(&mut self.plain, rest);
        let bound = bound_to(self.body_bytes, self.number);
        self.key.cipher().seal(self.number, &bound, &mut block);
        self.number += 1;
        Ok(Some(block.freeze()))
    }
}
