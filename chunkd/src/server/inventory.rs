//! GET /v1/inventory?after=&through=: the digest over a range of ids.

use chunkproto::{ChunkError, ChunkId, ChunkResult, IdRange};
use http::{Request, StatusCode};
use hyper::body::Incoming;

use super::answer::{self, Answer};
use super::route::Service;
use crate::inventory::digest_of;

/// Answers with the digest as JSON. A disk that cannot be read makes it `Refused`: what it holds
/// would be missing without a word.
pub(super) async fn digest(service: &Service, request: &Request<Incoming>) -> ChunkResult<Answer> {
    let range = parse_range(request.uri().query().unwrap_or_default())?;
    let list = |after, limit| {
        let node = service.node.clone();
        async move {
            let listing = node.list(after, limit).await?;
            if listing.incomplete {
                let detail = "a disk is fenced off; list what the others hold";
                return Err(ChunkError::Refused(detail.into()));
            }
            Ok(listing.chunks)
        }
    };
    let digest = digest_of(range, list).await?;
    Ok(answer::json(StatusCode::OK, &digest))
}

pub(super) fn parse_range(query: &str) -> ChunkResult<IdRange> {
    let mut range = IdRange::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let bound = match pair.split_once('=') {
            Some(("after", id)) => (&mut range.after, id),
            Some(("through", id)) => (&mut range.through, id),
            _ => return Err(ChunkError::Invalid(format!("unknown parameter '{pair}'"))),
        };
        let (bound, id) = bound;
        let id = id.parse::<ChunkId>();
        *bound = Some(id.map_err(|error| ChunkError::Invalid(error.to_string()))?);
    }
    Ok(range)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_has_none_one_or_two_ends() {
        let id = ChunkId::generate();
        assert_eq!(parse_range("").unwrap(), IdRange::default());
        let range = parse_range(&format!("through={id}")).unwrap();
        assert_eq!((range.after, range.through), (None, Some(id)));
        for query in ["after=", "after=x", "limit=1", "through"] {
            assert!(parse_range(query).is_err(), "{query}");
        }
    }
}
