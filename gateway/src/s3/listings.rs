//! Listings under way. A page takes some MiB until its client has read it, whatever the client asked
//! for, so that only so many are made and sent at a time.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::{Method, StatusCode};
use http_body::{Frame, SizeHint};
use s3s::{Body, HttpResponse, StdError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use crate::http::{Refused, has_query_key};

/// Listings that are made and sent at a time; others wait.
const LISTINGS_MAX: usize = 32;
/// They wait for so long at most.
const TURN_MAX: Duration = Duration::from_secs(30);

/// Gives out turns. Cheap to clone.
#[derive(Clone)]
pub struct Listings {
    turns: Arc<Semaphore>,
    turn_max: Duration,
}

/// The right to make one listing and to send it.
pub struct Turn {
    _permit: OwnedSemaphorePermit,
}

impl Listings {
    /// Up to as many turns at a time as there may be.
    pub fn new() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(LISTINGS_MAX)),
            turn_max: TURN_MAX,
        }
    }

    /// A turn for a request that may be a listing: a read of something about a bucket, or of the parts
    /// of an upload. None for any other.
    ///
    /// # Errors
    /// `SlowDown` when none comes free.
    pub async fn turn(
        &self,
        method: &Method,
        names_object: bool,
        query: Option<&str>,
    ) -> Result<Option<Turn>, Refused> {
        let is_listing = !names_object || has_query_key(query, "uploadId");
        if *method != Method::GET || !is_listing {
            return Ok(None);
        }
        let turn = timeout(self.turn_max, Arc::clone(&self.turns).acquire_owned()).await;
        match turn {
            Ok(Ok(permit)) => Ok(Some(Turn { _permit: permit })),
            _ => Err(Refused::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "SlowDown",
                "Please reduce your request rate.",
            )),
        }
    }
}

/// The response, which keeps the turn until it was sent.
pub fn until_sent(response: HttpResponse, turn: Turn) -> HttpResponse {
    response.map(|body| Body::http_body(Held { body, _turn: turn }))
}

struct Held {
    body: Body,
    _turn: Turn,
}

impl http_body::Body for Held {
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

    async fn turn(listings: &Listings) -> Result<Option<Turn>, Refused> {
        listings.turn(&Method::GET, false, None).await
    }

    #[tokio::test]
    async fn a_turn_is_taken_until_the_listing_was_sent() {
        let listings = Listings {
            turns: Arc::new(Semaphore::new(1)),
            turn_max: Duration::from_millis(10),
        };
        let first = turn(&listings).await.unwrap().expect("a listing");
        let response = until_sent(HttpResponse::new(Body::from("page".to_owned())), first);
        assert_eq!(response.body().size_hint().exact(), Some(4));
        let refused = turn(&listings).await.err().expect("there is one turn");
        assert_eq!(refused.code, "SlowDown");
        drop(response);
        assert!(turn(&listings).await.is_ok());
    }

    #[tokio::test]
    async fn only_listings_take_turns() {
        let listings = Listings::new();
        for (method, names_object, query, expected) in [
            (Method::GET, false, Some("list-type=2"), true),
            (Method::GET, true, Some("uploadId=x"), true),
            (Method::GET, true, None, false),
            (Method::HEAD, false, None, false),
            (Method::PUT, false, None, false),
        ] {
            let turn = listings.turn(&method, names_object, query).await.unwrap();
            assert_eq!(turn.is_some(), expected, "{method} {query:?}");
        }
    }
}
