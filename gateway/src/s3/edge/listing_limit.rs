//! Listings under way. A page takes some MiB until its client has read it, whatever the client asked
//! for, so that only so many are made and sent at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Method;
use http_body::{Frame, SizeHint};
use s3s::{Body, HttpResponse, StdError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::envelope::Refused;
use crate::http::has_query_key;

/// Listings that are made and sent at a time; others wait.
const LISTINGS_MAX: usize = 32;
/// They wait for so long at most.
const WAIT_MAX: Duration = Duration::from_secs(30);

/// Gives out permits. Cheap to clone.
#[derive(Clone)]
pub struct ListingLimit {
    permits: Arc<Semaphore>,
    wait_max: Duration,
}

/// The right to make one listing and to send it.
pub struct ListingPermit {
    _permit: OwnedSemaphorePermit,
}

impl ListingLimit {
    /// Up to as many permits at a time as there may be.
    pub fn new() -> Self {
        Self {
            permits: Arc::new(Semaphore::new(LISTINGS_MAX)),
            wait_max: WAIT_MAX,
        }
    }

    /// A permit for a request that may be a listing: a read of something about a bucket, or of the parts
    /// of an upload. None for any other.
    ///
    /// # Errors
    /// `SlowDown` when none comes free.
    pub async fn permit(
        &self,
        method: &Method,
        names_object: bool,
        query: Option<&str>,
    ) -> Result<Option<ListingPermit>, Refused> {
        let is_listing = !names_object || has_query_key(query, "uploadId");
        if *method != Method::GET || !is_listing {
            return Ok(None);
        }
        let permit = timeout(self.wait_max, Arc::clone(&self.permits).acquire_owned()).await;
        match permit {
            Ok(Ok(permit)) => Ok(Some(ListingPermit { _permit: permit })),
            _ => Err(Refused::slow_down()),
        }
    }
}

/// The response, which keeps the permit until it was sent.
pub fn until_sent(response: HttpResponse, permit: ListingPermit) -> HttpResponse {
    response.map(|body| {
        Body::http_body(PermitBody {
            body,
            _permit: permit,
        })
    })
}

struct PermitBody {
    body: Body,
    _permit: ListingPermit,
}

impl http_body::Body for PermitBody {
    type Data = bytes::Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<bytes::Bytes>, StdError>>> {
        Pin::new(&mut self.body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body::Body as _;

    use super::*;

    async fn permit(limit: &ListingLimit) -> Result<Option<ListingPermit>, Refused> {
        limit.permit(&Method::GET, false, None).await
    }

    #[tokio::test]
    async fn a_permit_is_taken_until_the_listing_was_sent() {
        let limit = ListingLimit {
            permits: Arc::new(Semaphore::new(1)),
            wait_max: Duration::from_millis(10),
        };
        let first = permit(&limit).await.unwrap().expect("a listing");
        let response = until_sent(HttpResponse::new(Body::from("page".to_owned())), first);
        assert_eq!(response.body().size_hint().exact(), Some(4));
        let refused = permit(&limit).await.err().expect("there is one permit");
        assert_eq!(refused.code, "SlowDown");
        drop(response);
        assert!(permit(&limit).await.is_ok());
    }

    #[tokio::test]
    async fn only_listings_take_permits() {
        let limit = ListingLimit::new();
        for (method, names_object, query, expected) in [
            (Method::GET, false, Some("list-type=2"), true),
            (Method::GET, true, Some("uploadId=x"), true),
            (Method::GET, true, None, false),
            (Method::HEAD, false, None, false),
            (Method::PUT, false, None, false),
        ] {
            let permit = limit.permit(&method, names_object, query).await.unwrap();
            assert_eq!(permit.is_some(), expected, "{method} {query:?}");
        }
    }
}
