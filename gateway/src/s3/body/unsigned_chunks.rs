//! Bodies in `aws-chunked` under no signature: what SDKs without credentials send over TLS. s3s takes
//! such bodies apart for requests signed with Signature Version 4 only. Here they are taken apart for
//! all others, piece by piece: nothing is held but one line and the trailer, both bounded.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue};
use http_body::{Body, Frame, SizeHint};

/// Longest line with a chunk's size.
const LINE_MAX_BYTES: usize = 1024;
/// Longest trailer, all its lines together.
const TRAILER_MAX_BYTES: usize = 16 * 1024;

type StdError = Box<dyn std::error::Error + Send + Sync>;

/// Why a body could not be taken apart.
#[derive(Debug, thiserror::Error)]
pub enum UnsignedChunksError {
    /// The body under the chunks ended badly.
    #[error(transparent)]
    Body(StdError),
    /// A chunk's size, its end or the trailer is not what it must be.
    #[error("malformed aws-chunked body")]
    Malformed,
    /// It is shorter or longer than was declared.
    #[error("the chunks do not hold as many bytes as were declared")]
    Length,
}

/// The trailer of such a body: empty until the body was read to its end.
#[derive(Debug, Clone, Default)]
pub struct UnsignedTrailer(Arc<Mutex<HeaderMap>>);

impl UnsignedTrailer {
    /// The value of a line of the trailer.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<HeaderValue> {
        let lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.get(name).cloned()
    }

    fn add(&self, line: &[u8]) -> Option<()> {
        let colon = line.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&line[..colon]).ok()?;
        let value = HeaderValue::from_bytes(line[colon + 1..].trim_ascii()).ok()?;
        let mut lines = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lines.append(name, value);
        Some(())
    }
}

/// What comes next in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    Size,
    Data(u64),
    EndOfData,
    Trailer,
    Nothing,
}

/// The bytes inside the chunks of a body.
pub struct UnsignedChunks<B> {
    body: B,
    /// Came from the body and was not looked at.
    pending: Bytes,
    /// The beginning of a line whose end has not come.
    line: Vec<u8>,
    next: Next,
    /// Declared and not yet passed on.
    left_bytes: u64,
    trailer: UnsignedTrailer,
    trailer_bytes: usize,
}

impl<B> UnsignedChunks<B> {
    /// Takes `body` apart, whose chunks hold `declared_bytes`.
    pub fn new(body: B, declared_bytes: u64) -> Self {
        Self {
            body,
            pending: Bytes::new(),
            line: Vec::new(),
            next: Next::Size,
            left_bytes: declared_bytes,
            trailer: UnsignedTrailer::default(),
            trailer_bytes: 0,
        }
    }

    /// Where its trailer will stand.
    pub fn trailer(&self) -> UnsignedTrailer {
        self.trailer.clone()
    }

    /// Goes through what is pending, to the next bytes to pass on; `None` when more must come.
    fn advance(&mut self) -> Result<Option<Bytes>, UnsignedChunksError> {
        while !self.pending.is_empty() {
            if let Next::Data(chunk_bytes) = self.next {
                return self.data(chunk_bytes).map(Some);
            }
            let Some(line) = self.line()? else { break };
            self.next = match self.next {
                Next::Size => match size(&line)? {
                    0 => Next::Trailer,
                    bytes => Next::Data(bytes),
                },
                Next::EndOfData if line.is_empty() => Next::Size,
                Next::Trailer if line.is_empty() => Next::Nothing,
                Next::Trailer => {
                    self.trailer_bytes += line.len();
                    let added = self.trailer.add(&line);
                    added
                        .filter(|()| self.trailer_bytes <= TRAILER_MAX_BYTES)
                        .ok_or(UnsignedChunksError::Malformed)?;
                    Next::Trailer
                }
                _ => return Err(UnsignedChunksError::Malformed),
            };
        }
        Ok(None)
    }

    fn data(&mut self, chunk_bytes: u64) -> Result<Bytes, UnsignedChunksError> {
        let here = usize::try_from(chunk_bytes).unwrap_or(usize::MAX);
        let data = self.pending.split_to(here.min(self.pending.len()));
        let passed_bytes = data.len() as u64;
        self.left_bytes = self
            .left_bytes
            .checked_sub(passed_bytes)
            .ok_or(UnsignedChunksError::Length)?;
        self.next = match chunk_bytes - passed_bytes {
            0 => Next::EndOfData,
            bytes => Next::Data(bytes),
        };
        Ok(data)
    }

    /// The next line without its end, once that has come.
    fn line(&mut self) -> Result<Option<Vec<u8>>, UnsignedChunksError> {
        let end = self.pending.iter().position(|byte| *byte == b'\n');
        let taken = end.map_or(self.pending.len(), |end| end + 1);
        if self.line.len() + taken > LINE_MAX_BYTES {
            return Err(UnsignedChunksError::Malformed);
        }
        self.line.extend_from_slice(&self.pending[..taken]);
        self.pending.advance(taken);
        if end.is_none() {
            return Ok(None);
        }
        let mut line = std::mem::take(&mut self.line);
        line.pop();
        line.pop_if(|byte| *byte == b'\r');
        Ok(Some(line))
    }

    fn end(&self) -> Result<(), UnsignedChunksError> {
        // Some clients leave out the empty line behind the trailer.
        let ended = matches!(self.next, Next::Trailer | Next::Nothing) && self.line.is_empty();
        match ended && self.left_bytes == 0 {
            true => Ok(()),
            false => Err(UnsignedChunksError::Length),
        }
    }
}

/// A chunk's size, with or without extensions behind it.
fn size(line: &[u8]) -> Result<u64, UnsignedChunksError> {
    let digits = line.split(|byte| *byte == b';').next().unwrap_or_default();
    let is_hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    std::str::from_utf8(digits)
        .ok()
        .filter(|_| is_hex)
        .and_then(|digits| u64::from_str_radix(digits, 16).ok())
        .ok_or(UnsignedChunksError::Malformed)
}

impl<B> Body for UnsignedChunks<B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: Into<StdError>,
{
    type Data = Bytes;
    type Error = UnsignedChunksError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, UnsignedChunksError>>> {
        loop {
            match self.advance() {
                Ok(Some(data)) => return Poll::Ready(Some(Ok(Frame::data(data)))),
                Ok(None) => {}
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => self.pending = frame.into_data().unwrap_or_default(),
                Some(Err(error)) => {
                    let error = UnsignedChunksError::Body(error.into());
                    return Poll::Ready(Some(Err(error)));
                }
                None => return Poll::Ready(self.end().err().map(Err)),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left_bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures::stream;
    use http_body_util::{BodyExt as _, StreamBody};
    use proptest::prelude::*;

    use super::*;

    /// Takes apart `body`, which arrives in pieces of `piece_bytes`.
    fn take_apart(
        body: &[u8],
        piece_bytes: usize,
        declared_bytes: u64,
    ) -> Result<(Vec<u8>, UnsignedTrailer), UnsignedChunksError> {
        let pieces: Vec<_> = body
            .chunks(piece_bytes)
            .map(|piece| Ok::<_, Infallible>(Frame::data(Bytes::copy_from_slice(piece))))
            .collect();
        let chunks = UnsignedChunks::new(StreamBody::new(stream::iter(pieces)), declared_bytes);
        let trailer = chunks.trailer();
        let collected = futures::executor::block_on(chunks.collect())?;
        Ok((collected.to_bytes().to_vec(), trailer))
    }

    #[test]
    fn the_bytes_and_the_trailer_come_out_however_the_body_arrives() {
        let body = b"5;x=y\r\nhello\r\n6\r\n world\r\n0\r\nx-amz-checksum-crc32: DUoRhQ==\r\n\r\n";
        for piece_bytes in [1, 2, 3, 7, 1000] {
            let (bytes, trailer) = take_apart(body, piece_bytes, 11).unwrap();
            assert_eq!(bytes, b"hello world");
            assert_eq!(trailer.get("x-amz-checksum-crc32").unwrap(), "DUoRhQ==");
        }
        assert_eq!(take_apart(b"0\r\n", 1, 0).unwrap().0, b"");
    }

    #[test]
    fn a_body_that_is_no_chunks_or_has_another_length_is_refused() {
        let whole = "5\r\nhello\r\n0\r\n\r\n";
        let long_line = format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(LINE_MAX_BYTES));
        let trailer = format!("a:{}\r\n", "x".repeat(1000)).repeat(17);
        let long_trailer = format!("5\r\nhello\r\n0\r\n{trailer}\r\n");
        for (body, declared_bytes) in [
            (whole, 4),
            (whole, 6),
            ("5\r\nhel", 5),
            ("5\r\nhello", 5),
            ("5\r\nhello\r\n", 5),
            ("5\r\nhelloX\r\n0\r\n\r\n", 5),
            ("\r\nhello\r\n0\r\n\r\n", 5),
            ("-5\r\nhello\r\n0\r\n\r\n", 5),
            ("ffffffffffffffffff\r\nhello\r\n0\r\n\r\n", 5),
            ("5\r\nhello\r\n0\r\nno colon\r\n\r\n", 5),
            ("5\r\nhello\r\n0\r\n\r\nmore", 5),
            (&long_line, 5),
            (&long_trailer, 5),
        ] {
            for piece_bytes in [1, 1000] {
                let refused = take_apart(body.as_bytes(), piece_bytes, declared_bytes);
                assert!(refused.is_err(), "{body:.40} of {declared_bytes}");
            }
        }
        assert!(take_apart(whole.as_bytes(), 1000, 5).is_ok());
    }

    proptest! {
        #[test]
        fn no_body_breaks_it(body in prop::collection::vec(any::<u8>(), 0..200), piece_bytes in 1usize..50) {
            let _ = take_apart(&body, piece_bytes, 10);
        }
    }
}
