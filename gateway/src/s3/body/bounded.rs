//! Bodies that are read whole before anything is done: documents in XML or JSON, and the fields of a
//! form before its file. They are bounded here in length and in time, and what is wrong with one is
//! noted for the answer: s3s calls everything that keeps it from reading an internal error.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use http_body::{Body, Frame, SizeHint};
use tokio::time::Sleep;

use super::document_digests::DocumentDigests;
use super::limits::{Bounds, declared_bytes};
use crate::http::RequestBodyError;
use crate::s3::edge::envelope::Refused;
use crate::s3::form::head::FORM_HEAD_MAX_BYTES;

/// A document, or the head of a form, must have come after so long.
const READ_MAX: Duration = Duration::from_secs(60);

/// How text begins that no parser is to look into. s3s drops it, so that a filter written with it
/// would filter nothing.
const CDATA: &[u8] = b"<![CDATA[";

/// Why a body was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// It ended before its declared length.
    Incomplete,
    /// It came too slowly.
    Slow,
    /// It is longer than a document of its kind may be.
    Long,
    /// It does not have the SHA-256 that was signed.
    Mismatch,
    /// Its Content-MD5 is none.
    InvalidDigest,
    /// It does not have the Content-MD5 or the checksum that was declared.
    BadDigest,
    /// It is XML with a CDATA section.
    CData,
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        let (code, message) = match fault {
            Fault::Incomplete => (
                "IncompleteBody",
                "You did not provide the number of bytes specified by the Content-Length HTTP header.",
            ),
            Fault::Slow => (
                "RequestTimeout",
                "Your socket connection to the server was not read from or written to within the timeout period.",
            ),
            Fault::Long => ("MaxMessageLengthExceeded", "Your request was too big."),
            Fault::Mismatch => return Self::payload_mismatch(),
            Fault::InvalidDigest => (
                "InvalidDigest",
                "The Content-MD5 you specified is not valid.",
            ),
            Fault::BadDigest => (
                "BadDigest",
                "The Content-MD5 or checksum you specified did not match what we received.",
            ),
            Fault::CData => (
                "MalformedXML",
                "The XML you provided holds a CDATA section, which is not supported.",
            ),
        };
        Self::new(StatusCode::BAD_REQUEST, code, message)
    }
}

/// Where a body's fault is noted. Stands in the request's extensions; clones share the note.
#[derive(Debug, Clone, Default)]
pub struct BodyFaultCell(Arc<Mutex<Option<Fault>>>);

impl BodyFaultCell {
    /// What was noted.
    pub fn get(&self) -> Option<Fault> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, fault: Fault) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(fault);
    }
}

/// A body within [`Bounds`].
pub struct BoundedBody<B> {
    body: B,
    bounded: Option<Bounded>,
}

struct Bounded {
    bounds: Bounds,
    note: BodyFaultCell,
    received_bytes: usize,
    declared_bytes: Option<usize>,
    read_max: Duration,
    /// Runs from the first look at the body.
    deadline: Option<Pin<Box<Sleep>>>,
    /// The last bytes, which may begin what the next ones end.
    tail: Vec<u8>,
    digests: DocumentDigests,
}

impl<B> BoundedBody<B> {
    /// `body` within `bounds`, if there are any; its fault will stand in `note`.
    pub fn new(body: B, bounds: Option<Bounds>, headers: &HeaderMap, note: BodyFaultCell) -> Self {
        let bounded = bounds.map(|bounds| Bounded {
            bounds,
            note,
            received_bytes: 0,
            declared_bytes: declared_bytes(headers),
            read_max: READ_MAX,
            deadline: None,
            tail: Vec::new(),
            digests: match bounds {
                Bounds::Document { is_declared, .. } => DocumentDigests::of(headers, is_declared),
                Bounds::Form => DocumentDigests::none(),
            },
        });
        Self { body, bounded }
    }
}

impl Bounded {
    /// Takes the next bytes in.
    fn receive(&mut self, data: &[u8]) -> Result<(), Fault> {
        self.received_bytes += data.len();
        let Bounds::Document {
            max_bytes, is_xml, ..
        } = self.bounds
        else {
            return Ok(());
        };
        if self.received_bytes > max_bytes {
            return Err(Fault::Long);
        }
        if is_xml {
            self.tail.extend_from_slice(data);
            if self.tail.windows(CDATA.len()).any(|seen| seen == CDATA) {
                return Err(Fault::CData);
            }
            let known = self.tail.len().saturating_sub(CDATA.len() - 1);
            self.tail.drain(..known);
        }
        self.digests.update(data);
        // Before s3s sees the last byte: it compares too, and calls a difference an internal error.
        match self.declared_bytes == Some(self.received_bytes) {
            true => self.digests.compare(),
            false => Ok(()),
        }
    }

    fn is_late(&mut self, cx: &mut Context<'_>) -> bool {
        let is_due = match self.bounds {
            Bounds::Document { .. } => true,
            Bounds::Form => self.received_bytes <= FORM_HEAD_MAX_BYTES,
        };
        let read_max = self.read_max;
        let start = || Box::pin(tokio::time::sleep(read_max));
        let deadline = self.deadline.get_or_insert_with(start);
        is_due && deadline.as_mut().poll(cx).is_ready()
    }
}

impl<B> Body for BoundedBody<B>
where
    B: Body<Data = Bytes, Error = RequestBodyError> + Unpin,
{
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = &mut *self;
        let polled = Pin::new(&mut this.body).poll_frame(cx);
        let Some(bounded) = &mut this.bounded else {
            return polled;
        };
        let checked = match &polled {
            _ if bounded.is_late(cx) => Err(Fault::Slow),
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Some(Ok(frame))) => frame.data_ref().map_or(Ok(()), |d| bounded.receive(d)),
            Poll::Ready(Some(Err(RequestBodyError::Silent))) => Err(Fault::Slow),
            Poll::Ready(Some(Err(_))) => Err(Fault::Incomplete),
            Poll::Ready(None) => bounded.digests.compare(),
        };
        match checked {
            Ok(()) => polled,
            Err(fault) => {
                bounded.note.set(fault);
                Poll::Ready(Some(Err(RequestBodyError::Refused)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        // A digest is compared when the end is read.
        let compares = |bounded: &Bounded| bounded.digests.are_open();
        self.body.is_end_stream() && !self.bounded.as_ref().is_some_and(compares)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;

    use http_body_util::BodyExt as _;

    use super::*;

    /// A body of these pieces, which then goes silent or ends.
    struct Pieces(VecDeque<&'static str>, bool);

    impl Body for Pieces {
        type Data = Bytes;
        type Error = RequestBodyError;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
            match self.0.pop_front() {
                Some(piece) => {
                    Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(piece.as_bytes())))))
                }
                None if self.1 => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    const XML: Bounds = Bounds::Document {
        max_bytes: 40,
        is_xml: true,
        is_declared: true,
    };

    async fn read(
        pieces: &[&'static str],
        silent: bool,
        bounds: Bounds,
        signed: &str,
    ) -> Option<Fault> {
        let note = BodyFaultCell::default();
        let mut headers = HeaderMap::new();
        headers.insert("x-amz-content-sha256", signed.parse().unwrap());
        let pieces = Pieces(pieces.iter().copied().collect(), silent);
        let mut body = BoundedBody::new(pieces, Some(bounds), &headers, note.clone());
        if silent && let Some(bounded) = &mut body.bounded {
            bounded.read_max = Duration::from_millis(10);
        }
        let read = body.collect().await;
        assert_eq!(read.is_err(), note.get().is_some());
        note.get()
    }

    #[tokio::test]
    async fn cdata_is_found_wherever_it_is_cut() {
        for at in 0..=CDATA.len() {
            let text = "<a><![CDATA[b]]></a>";
            let (first, second) = text.split_at(3 + at);
            let first: &'static str = first;
            let fault = read(&[first, second], false, XML, "UNSIGNED-PAYLOAD").await;
            assert_eq!(fault, Some(Fault::CData), "{first}");
        }
        let comment = ["<a><!-", "- [CDATA[ --></a>"];
        assert_eq!(read(&comment, false, XML, "UNSIGNED-PAYLOAD").await, None);
        let json = Bounds::Document {
            max_bytes: 40,
            is_xml: false,
            is_declared: true,
        };
        let text = ["{\"<![CDATA[\": 1}"];
        assert_eq!(read(&text, false, json, "UNSIGNED-PAYLOAD").await, None);
    }

    #[tokio::test]
    async fn long_documents_and_those_that_are_not_as_signed_are_refused() {
        let long = ["0123456789"; 5];
        assert_eq!(read(&long, false, XML, "x").await, Some(Fault::Long));
        assert_eq!(read(&long[1..], false, XML, "x").await, None);
        let of_abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(read(&["a", "bc"], false, XML, of_abc).await, None);
        let other = read(&["a", "bd"], false, XML, of_abc).await;
        assert_eq!(other, Some(Fault::Mismatch));
    }

    #[tokio::test]
    async fn a_document_and_the_fields_of_a_form_come_in_time() {
        for bounds in [XML, Bounds::Form] {
            let fault = read(&["<a>"], true, bounds, "x").await;
            assert_eq!(fault, Some(Fault::Slow), "{bounds:?}");
        }
    }
}
