//! The operations on chunks over HTTP: requests into calls of the node, results into answers.

use chunkproto::wire::{
    CRC64_HEADER, FENCE_HEADER, LENGTH_HEADER, LIST_LIMIT_MAX, ListPage, OWNER_HEADER,
};
use chunkproto::{
    ByteRange, ChunkError, ChunkId, ChunkInfo, ChunkPut, ChunkResult, Crc64, Fence, OwnerHint,
};
use futures::StreamExt as _;
use http::{HeaderMap, HeaderName, HeaderValue, Request, StatusCode, header};
use http_body_util::{BodyExt as _, StreamBody};
use hyper::body::{Frame, Incoming};

use super::answer::{self, Answer};
use super::body;
use super::route::Service;
use crate::fences::{Admitted, carry_out};
use crate::node::Listing;
use crate::store::OwnedRead;

/// Chunks in a page unless the request says otherwise.
const LIST_LIMIT_DEFAULT: usize = 1000;

/// PUT /v1/chunks/{id}: the receipt as JSON, once the chunk is durable.
pub(super) async fn put(
    service: &Service,
    id: ChunkId,
    request: Request<Incoming>,
) -> ChunkResult<Answer> {
    let headers = request.headers();
    let length_bytes = declared_length(headers)?;
    let owner = text(headers, OWNER_HEADER)?
        .ok_or_else(|| ChunkError::Invalid(format!("the header {OWNER_HEADER} is missing")))?;
    let owner = OwnerHint::from_header(owner)
        .map_err(|error| ChunkError::Invalid(format!("{OWNER_HEADER}: {error}")))?;
    let expected = parsed::<Crc64>(headers, CRC64_HEADER)?;
    let put = ChunkPut {
        id,
        length_bytes,
        owner,
    };
    let mut stream = body::into_stream(request.into_body());
    if let Some(expected) = expected {
        stream = body::verified(id, stream, expected);
    }
    let receipt = service.node.put(put, stream).await?;
    service.metrics.count_received(receipt.length_bytes);
    Ok(answer::json(StatusCode::OK, &receipt))
}

/// GET /v1/chunks/{id}, whole or one range: the bytes, each verified; cut off if one is bad.
pub(super) async fn get(
    service: &Service,
    id: ChunkId,
    request: &Request<Incoming>,
) -> ChunkResult<Answer> {
    let range = text(request.headers(), header::RANGE.as_str())?
        .map(parse_range)
        .transpose()?;
    let OwnedRead { read, owner } = service.node.get_with_owner(id, range).await?;
    let sent = service.metrics.sent_bytes();
    let frames = read.stream.map(move |piece| {
        let piece = piece.inspect_err(|error| {
            tracing::warn!(chunk = %id, %error, "a read ends early; the connection is cut");
        })?;
        sent.add(piece.len() as u64);
        Ok(Frame::data(piece))
    });
    let status = if range.is_some() {
        StatusCode::PARTIAL_CONTENT
    } else {
        StatusCode::OK
    };
    let mut answer = answer::with_body(status, StreamBody::new(frames).boxed_unsync());
    let headers = answer.headers_mut();
    describe(headers, &read.info, owner.as_ref());
    let total = read.info.length_bytes;
    headers.insert(
        header::CONTENT_LENGTH,
        range.map_or(total, ByteRange::length_bytes).into(),
    );
    if let Some(ByteRange { start, end }) = range {
        let range = format!("bytes {start}-{}/{total}", end.saturating_sub(1));
        insert(headers, header::CONTENT_RANGE, &range);
    }
    Ok(answer)
}

/// HEAD /v1/chunks/{id}: the headers of a GET, from the record's two ends.
pub(super) async fn head(service: &Service, id: ChunkId) -> ChunkResult<Answer> {
    let (info, owner) = service.node.head_with_owner(id).await?;
    let mut answer = answer::empty(StatusCode::OK);
    describe(answer.headers_mut(), &info, owner.as_ref());
    answer
        .headers_mut()
        .insert(header::CONTENT_LENGTH, info.length_bytes.into());
    Ok(answer)
}

/// DELETE /v1/chunks/{id}: 204 once the chunk is durably gone, or was not there.
pub(super) async fn delete(
    service: &Service,
    id: ChunkId,
    request: &Request<Incoming>,
) -> ChunkResult<Answer> {
    let admitted = admit(service, request.headers()).await?;
    let node = service.node.clone();
    carry_out(admitted, async move { node.delete(id).await }).await?;
    Ok(answer::empty(StatusCode::NO_CONTENT))
}

/// GET /v1/chunks?after=&limit=: a page of the chunks in id order.
pub(super) async fn list(service: &Service, request: &Request<Incoming>) -> ChunkResult<Answer> {
    let (after, limit) = parse_page(request.uri().query().unwrap_or_default())?;
    // One more than asked for tells whether more follow.
    let Listing {
        mut chunks,
        incomplete,
    } = service.node.list(after, limit + 1).await?;
    let truncated = chunks.len() > limit;
    chunks.truncate(limit);
    let page = ListPage {
        chunks,
        truncated,
        incomplete,
    };
    Ok(answer::json(StatusCode::OK, &page))
}

/// Lets a job's operation in by its fence, until what is returned is dropped; a request without one is not
/// a job's.
pub(super) async fn admit(service: &Service, headers: &HeaderMap) -> ChunkResult<Option<Admitted>> {
    match parsed::<Fence>(headers, FENCE_HEADER)? {
        Some(fence) => service.fences.admit(fence).await.map(Some),
        None => Ok(None),
    }
}

/// A header's text, if the header is there.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> ChunkResult<Option<&'a str>> {
    let value = headers.get(name).map(HeaderValue::to_str).transpose();
    value.map_err(|_| ChunkError::Invalid(format!("the header {name} is not ASCII")))
}

/// A header's value, if the header is there.
pub(super) fn parsed<T: std::str::FromStr>(
    headers: &HeaderMap,
    name: &str,
) -> ChunkResult<Option<T>> {
    let value = text(headers, name)?.map(str::parse::<T>).transpose();
    value.map_err(|_| ChunkError::Invalid(format!("the header {name} is malformed")))
}

/// The length of a chunk to come: Content-Length, or our own header where a client can only send
/// its body in HTTP's chunked form.
fn declared_length(headers: &HeaderMap) -> ChunkResult<u64> {
    let content_length = parsed::<u64>(headers, header::CONTENT_LENGTH.as_str())?;
    match (content_length, parsed::<u64>(headers, LENGTH_HEADER)?) {
        (Some(a), Some(b)) if a != b => Err(ChunkError::Invalid(format!(
            "Content-Length and {LENGTH_HEADER} differ"
        ))),
        (Some(length), _) | (None, Some(length)) => Ok(length),
        (None, None) => Err(ChunkError::Invalid("Content-Length is missing".into())),
    }
}

/// One closed range, `bytes=first-last`; the only form that a gateway sends.
pub(super) fn parse_range(range: &str) -> ChunkResult<ByteRange> {
    let closed = |range: &str| {
        let (first, last) = range.strip_prefix("bytes=")?.split_once('-')?;
        let (start, last) = (first.parse::<u64>().ok()?, last.parse::<u64>().ok()?);
        let end = last.checked_add(1)?;
        (start < end).then_some(ByteRange { start, end })
    };
    closed(range)
        .ok_or_else(|| ChunkError::Invalid(format!("range '{range}' is not 'bytes=first-last'")))
}

pub(super) fn parse_page(query: &str) -> ChunkResult<(Option<ChunkId>, usize)> {
    let (mut after, mut limit) = (None, LIST_LIMIT_DEFAULT);
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        match pair.split_once('=') {
            Some(("after", "")) => {}
            Some(("after", id)) => {
                let id = id.parse::<ChunkId>();
                after = Some(id.map_err(|error| ChunkError::Invalid(error.to_string()))?);
            }
            Some(("limit", number)) => {
                limit = number
                    .parse()
                    .ok()
                    .filter(|limit| (1..=LIST_LIMIT_MAX).contains(limit))
                    .ok_or_else(|| {
                        ChunkError::Invalid(format!("limit must be 1 to {LIST_LIMIT_MAX}"))
                    })?;
            }
            _ => return Err(ChunkError::Invalid(format!("unknown parameter '{pair}'"))),
        }
    }
    Ok((after, limit))
}

fn describe(headers: &mut HeaderMap, info: &ChunkInfo, owner: Option<&OwnerHint>) {
    headers.insert(
        HeaderName::from_static(LENGTH_HEADER),
        info.length_bytes.into(),
    );
    insert(
        headers,
        HeaderName::from_static(CRC64_HEADER),
        &info.crc64.to_string(),
    );
    if let Some(owner) = owner {
        insert(
            headers,
            HeaderName::from_static(OWNER_HEADER),
            &owner.to_header(),
        );
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    let value = HeaderValue::from_str(value).expect("digits, hexadecimal and base64 are ASCII");
    headers.insert(name, value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_closed_ranges_are_understood() {
        assert_eq!(
            parse_range("bytes=0-0").unwrap(),
            ByteRange { start: 0, end: 1 }
        );
        assert_eq!(
            parse_range("bytes=5-9").unwrap(),
            ByteRange { start: 5, end: 10 }
        );
        for range in [
            "",
            "bytes=",
            "bytes=-5",
            "bytes=5-",
            "bytes=9-5",
            "bytes=0-1,3-4",
            "0-1",
        ] {
            assert!(parse_range(range).is_err(), "{range}");
        }
        assert!(parse_range(&format!("bytes=0-{}", u64::MAX)).is_err());
    }

    #[test]
    fn a_page_has_one_to_the_maximum_of_chunks() {
        assert_eq!(parse_page("").unwrap(), (None, LIST_LIMIT_DEFAULT));
        assert_eq!(parse_page("after=&limit=10000").unwrap(), (None, 10_000));
        for query in [
            "limit=0",
            "limit=10001",
            "limit=x",
            "after=x",
            "prefix=a",
            "limit",
        ] {
            assert!(parse_page(query).is_err(), "{query}");
        }
    }
}
