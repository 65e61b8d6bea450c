//! Opens sealed bodies as they stream by: whole blocks in, the wanted plaintext out. Nothing of a
//! block leaves before its tag was checked. Holds one block and one piece.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures::stream::{self, BoxStream};
use futures::{Stream, StreamExt as _};

use super::cipher::TAG_BYTES;
use super::data_key::BodyKey;
use super::frame::{SealedPart, block_bytes, bound_to};

/// Blocks of one body that come next in a stream.
pub struct OpenRun {
    /// The body's key.
    pub key: BodyKey,
    /// Which blocks, and what of them is wanted.
    pub part: SealedPart,
}

/// The runs that a stream is made of, in order. Each is pushed before its first byte comes.
#[derive(Clone, Default)]
pub struct OpenRuns(Arc<Mutex<VecDeque<OpenRun>>>);

impl OpenRuns {
    /// Announces the next run.
    pub fn push(&self, run: OpenRun) {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.push_back(run);
    }

    fn pop(&self) -> Option<OpenRun> {
        let mut runs = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        runs.pop_front()
    }
}

/// Why a sealed body cannot be read further.
#[derive(Debug, thiserror::Error)]
pub enum OpenError<E> {
    /// The sealed bytes cannot be read.
    #[error(transparent)]
    Source(E),
    /// They are not what was sealed.
    #[error("block {block} of a sealed body does not open: it was changed, moved or cut")]
    Forged {
        /// The block's number in its body.
        block: u64,
    },
}

struct Opening<S> {
    sealed: S,
    runs: OpenRuns,
    run: Option<Running>,
    buffer: BytesMut,
}

struct Running {
    run: OpenRun,
    next_block: u64,
    skip_bytes: u64,
    wanted_bytes: u64,
}

/// The plaintext of `runs`, whose sealed blocks `sealed` brings one after the other.
pub fn open<E: Send + 'static>(
    sealed: impl Stream<Item = Result<Bytes, E>> + Send + 'static,
    runs: OpenRuns,
) -> BoxStream<'static, Result<Bytes, OpenError<E>>> {
    let opening = Opening {
        sealed: sealed.boxed(),
        runs,
        run: None,
        buffer: BytesMut::new(),
    };
    stream::try_unfold(opening, |mut opening| async move {
        Ok(opening.next_plain().await?.map(|plain| (plain, opening)))
    })
    .boxed()
}

impl<E, S: Stream<Item = Result<Bytes, E>> + Send + Unpin> Opening<S> {
    async fn next_plain(&mut self) -> Result<Option<Bytes>, OpenError<E>> {
        let Some(mut running) = self.next_run().await? else {
            return Ok(None);
        };
        let (number, body_bytes) = (running.next_block, running.run.part.body_bytes);
        let forged = OpenError::Forged { block: number };
        let plain_bytes = usize::try_from(block_bytes(body_bytes, number)).unwrap_or_default();
        while self.buffer.len() < plain_bytes + TAG_BYTES {
            match self.sealed.next().await {
                Some(piece) => self
                    .buffer
                    .extend_from_slice(&piece.map_err(OpenError::Source)?),
                None => return Err(forged),
            }
        }
        let mut block = self.buffer.split_to(plain_bytes + TAG_BYTES);
        let bound = bound_to(body_bytes, number);
        let opened = running.run.key.cipher().open(number, &bound, &mut block);
        if opened.is_err() {
            return Err(forged);
        }
        let plain = running.cut(block.freeze());
        running.next_block += 1;
        if running.next_block < running.run.part.first_block + running.run.part.blocks {
            self.run = Some(running);
        }
        Ok(Some(plain))
    }

    /// The run that the next block belongs to; `None` at the end.
    async fn next_run(&mut self) -> Result<Option<Running>, OpenError<E>> {
        if let Some(running) = self.run.take() {
            return Ok(Some(running));
        }
        loop {
            match self.runs.pop() {
                Some(run) if run.part.blocks == 0 => {}
                Some(run) => return Ok(Some(Running::begin(run))),
                None => match self.sealed.next().await {
                    Some(piece) => self
                        .buffer
                        .extend_from_slice(&piece.map_err(OpenError::Source)?),
                    None => return Ok(None),
                },
            }
        }
    }
}

impl Running {
    fn begin(run: OpenRun) -> Self {
        Self {
            next_block: run.part.first_block,
            skip_bytes: run.part.skipped_bytes,
            wanted_bytes: run.part.wanted_bytes,
            run,
        }
    }

    /// What is wanted of an opened block.
    fn cut(&mut self, block: Bytes) -> Bytes {
        let length = block.len() as u64;
        let start = self.skip_bytes.min(length);
        let end = (start + self.wanted_bytes).min(length);
        self.skip_bytes -= start;
        self.wanted_bytes -= end - start;
        let at = |bytes: u64| usize::try_from(bytes).unwrap_or(block.len());
        block.slice(at(start)..at(end))
    }
}

#[cfg(test)]
mod tests {
    use chunkproto::ByteRange;
    use futures::TryStreamExt as _;
    use proptest::prelude::*;

    use super::super::{DataKey, seal, sealed_bytes};
    use super::*;

    const BLOCK: usize = 64 * 1024;

    fn plain(length: usize) -> Vec<u8> {
        (0u8..251).cycle().take(length).collect()
    }

    fn sealed(key: BodyKey, body: &[u8], piece_bytes: usize) -> Vec<u8> {
        let pieces: Vec<_> = body
            .chunks(piece_bytes)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let (stream, crc) = seal(stream::iter(pieces), key, body.len() as u64);
        let all = futures::executor::block_on(stream.try_concat_bytes());
        assert_eq!(crc.get(), Some(chunkproto::Crc64::of(body)));
        all
    }

    trait TryConcat {
        async fn try_concat_bytes(self) -> Vec<u8>;
    }

    impl<S: Stream<Item = Result<Bytes, Box<dyn std::error::Error + Send + Sync>>> + Send> TryConcat
        for S
    {
        async fn try_concat_bytes(self) -> Vec<u8> {
            let pieces: Vec<_> = self.try_collect().await.unwrap();
            pieces.concat()
        }
    }

    fn opened(
        key: BodyKey,
        bytes: &[u8],
        range: ByteRange,
        body_bytes: u64,
    ) -> Result<Vec<u8>, OpenError<()>> {
        let part = SealedPart::covering(range, body_bytes);
        let at = |bytes: u64| usize::try_from(bytes).unwrap();
        let cut = bytes
            [at(part.sealed.start).min(bytes.len())..at(part.sealed.end).min(bytes.len())]
            .to_vec();
        let pieces: Vec<_> = cut
            .chunks(777)
            .map(|piece| Ok(Bytes::copy_from_slice(piece)))
            .collect();
        let runs = OpenRuns::default();
        runs.push(OpenRun { key, part });
        let pieces: Vec<Bytes> =
            futures::executor::block_on(open(stream::iter(pieces), runs).try_collect())?;
        Ok(pieces.concat())
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]
        #[test]
        fn any_range_of_a_sealed_body_opens_to_its_plaintext(
            length in 1usize..200_000,
            start in 0usize..200_000,
            wanted in 1usize..200_000,
            piece_bytes in 1usize..100_000,
        ) {
            let (key, body) = (DataKey::generate(), plain(length));
            let start = start % length;
            let end = (start + wanted).min(length);
            let bytes = sealed(key.of_body(), &body, piece_bytes);
            prop_assert_eq!(bytes.len() as u64, sealed_bytes(length as u64));
            let range = ByteRange { start: start as u64, end: end as u64 };
            let found = opened(key.of_body(), &bytes, range, length as u64).unwrap();
            prop_assert_eq!(&found, &body[start..end]);
        }
    }

    #[test]
    fn blocks_that_were_changed_swapped_or_cut_do_not_open() {
        let (key, body) = (DataKey::generate(), plain(3 * BLOCK));
        let good = sealed(key.of_body(), &body, BLOCK);
        let whole = ByteRange {
            start: 0,
            end: body.len() as u64,
        };
        let step = BLOCK + TAG_BYTES;
        let mut flipped = good.clone();
        flipped[step + 5] ^= 1;
        let swapped = [&good[step..2 * step], &good[..step], &good[2 * step..]].concat();
        for wrong in [&flipped, &swapped, &good[..2 * step].to_vec()] {
            assert!(opened(key.of_body(), wrong, whole, body.len() as u64).is_err());
        }
        // Cut at a block, by somebody who also changed the length in the row.
        let shorter = ByteRange {
            start: 0,
            end: 2 * BLOCK as u64,
        };
        assert!(opened(key.of_body(), &good, shorter, 2 * BLOCK as u64).is_err());
        assert!(opened(key.of_body(), &good, whole, body.len() as u64).is_ok());
    }

    #[test]
    fn each_upload_of_a_part_has_a_key_of_its_own() {
        let key = DataKey::generate();
        let body = plain(10);
        let revision = uuid::Uuid::now_v7();
        let bytes = sealed(key.of_part(1, revision), &body, 10);
        let whole = ByteRange { start: 0, end: 10 };
        for other in [
            key.of_part(1, uuid::Uuid::now_v7()),
            key.of_part(2, revision),
            key.of_body(),
            DataKey::generate().of_part(1, revision),
        ] {
            assert!(opened(other, &bytes, whole, 10).is_err());
        }
        assert!(opened(key.of_part(1, revision), &bytes, whole, 10).is_ok());
    }
}
