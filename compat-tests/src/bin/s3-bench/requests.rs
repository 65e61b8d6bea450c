//! The requests of one load: signed beforehand, so that signing is no part of what is measured.

use std::fmt;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytes::Bytes;
use clap::ValueEnum;
use compat_tests::{Endpoint, Payload, SignedRequest};
use http::header::{CONTENT_LENGTH, HOST};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;

use crate::Failure;
use crate::connection::Reply;

/// Presigned URLs are good for so long; no load lasts longer.
const VALIDITY: Duration = Duration::from_secs(3600);

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Operation {
    /// Put new objects; once every key was used, overwrite them
    Put,
    /// Get whole objects
    Get,
    /// Head objects
    Head,
    /// List a page of up to 1000 keys
    List,
    /// Delete objects, each once
    Delete,
}

impl Operation {
    /// Whether the object's size matters much.
    pub(crate) fn depends_on_size(self) -> bool {
        matches!(self, Self::Put | Self::Get)
    }

    fn method(self) -> Method {
        match self {
            Self::Put => Method::PUT,
            Self::Get | Self::List => Method::GET,
            Self::Head => Method::HEAD,
            Self::Delete => Method::DELETE,
        }
    }
}

impl fmt::Display for Operation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Put => "put",
            Self::Get => "get",
            Self::Head => "head",
            Self::List => "list",
            Self::Delete => "delete",
        })
    }
}

/// Objects of one size.
pub(crate) struct Objects<'a> {
    /// Where they are.
    pub(crate) endpoint: &'a Endpoint,
    /// Their bucket.
    pub(crate) bucket: &'a str,
    /// Their size.
    pub(crate) size_bytes: u64,
    /// How many there are.
    pub(crate) count: usize,
}

/// A sequence of requests that several connections take from.
pub(crate) struct Requests {
    operation: Operation,
    size_bytes: u64,
    host: HeaderValue,
    targets: Vec<Uri>,
    body: Bytes,
    repeat: bool,
    taken: AtomicUsize,
}

impl Requests {
    /// One request for each object; for a list, one for all of them. With `repeat` they begin anew
    /// after the last.
    ///
    /// # Errors
    /// An endpoint whose URL makes no valid request.
    pub(crate) fn new(
        objects: &Objects,
        operation: Operation,
        repeat: bool,
    ) -> Result<Self, Failure> {
        let body = match operation {
            Operation::Put => Payload::new(1, objects.size_bytes).bytes(),
            _ => Bytes::new(),
        };
        Ok(Self {
            operation,
            size_bytes: objects.size_bytes,
            host: HeaderValue::from_str(objects.endpoint.authority())?,
            targets: objects.targets(operation)?,
            body,
            repeat,
            taken: AtomicUsize::new(0),
        })
    }

    /// The next request; `None` when there are no more.
    pub(crate) fn next(&self) -> Option<Request<Full<Bytes>>> {
        let taken = self.taken.fetch_add(1, Ordering::Relaxed);
        let target = match self.repeat {
            true => self.targets.get(taken % self.targets.len()),
            false => self.targets.get(taken),
        }?;
        let mut request = Request::new(Full::new(self.body.clone()));
        *request.method_mut() = self.operation.method();
        *request.uri_mut() = target.clone();
        request.headers_mut().insert(HOST, self.host.clone());
        Some(request)
    }

    /// How many different requests were given out.
    pub(crate) fn used(&self) -> usize {
        self.taken.load(Ordering::Relaxed).min(self.targets.len())
    }

    /// Whether a reply is the one that was asked for; if not, in a few words why.
    pub(crate) fn check(&self, reply: &Reply) -> Result<(), String> {
        if !reply.status.is_success() {
            return Err(reply.reason());
        }
        let announced = reply.headers.get(CONTENT_LENGTH);
        let announced = announced.and_then(|length| length.to_str().ok()?.parse().ok());
        let length_bytes = match self.operation {
            Operation::Get => Some(reply.length_bytes),
            Operation::Head => announced,
            Operation::Put | Operation::List | Operation::Delete => return Ok(()),
        };
        if length_bytes == Some(self.size_bytes) {
            Ok(())
        } else {
            Err(format!("an object of {length_bytes:?} bytes"))
        }
    }
}

impl Objects<'_> {
    fn targets(&self, operation: Operation) -> Result<Vec<Uri>, Failure> {
        let Self { bucket, .. } = self;
        // Directories of their own, so that a list of one size does not see another.
        let prefix = format!("{}/", self.size_bytes);
        if operation == Operation::List {
            let prefix = prefix.replace('/', "%2F");
            let path = format!("/{bucket}?list-type=2&max-keys=1000&prefix={prefix}");
            return Ok(vec![self.presign(operation, &path)?]);
        }
        (0..self.count)
            .map(|number| self.presign(operation, &format!("/{bucket}/{prefix}{number:08}")))
            .collect()
    }

    /// What stands in the request's first line.
    fn presign(&self, operation: Operation, path: &str) -> Result<Uri, Failure> {
        let request = SignedRequest::new(self.endpoint, operation.method(), path);
        let signed = request.presigned(VALIDITY).sign();
        let target = signed.uri().path_and_query();
        Ok(target.ok_or("a URL without a path")?.clone().into())
    }
}
