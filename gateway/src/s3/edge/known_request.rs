//! What is known of a request before its body is read: worked out once, and asked by all who admit,
//! dispatch and answer it.

use http::{Method, Request, Version, header};
use hyper::body::Incoming;
use s3s::Body;

use super::cors::CrossOrigin;
use super::envelope::{Envelope, RequestId};
use super::error_context::ErrorContext;
use super::signature::Signature;
use super::target::RequestTarget;
use super::virtual_host::VirtualHosts;
use crate::http::{ContinuePending, DrainingBody};
use crate::s3::body::bounded::{BodyFaultCell, BoundedBody};
use crate::s3::body::limits::Bounds;
use crate::s3::form::answer::is_form;

/// What is known of a request.
pub struct KnownRequest {
    /// What is put around its answer.
    pub envelope: Envelope,
    /// Whether the answer has no body.
    pub is_head: bool,
    /// The protocol that it came by.
    pub version: Version,
    /// What its address names.
    pub target: RequestTarget,
    /// How it is signed, before anybody verified that; `None` if nobody signed it.
    pub signature: Option<Signature>,
    /// Whether it may be an HTML form.
    pub is_form: bool,
    /// What it says of the page that sent it, if one did.
    pub cross_origin: Option<CrossOrigin>,
    /// What an error would name.
    pub error_context: ErrorContext,
    /// Its body, while it is read and after.
    pub body: BodyWatch,
}

/// What is known of a request's body.
pub struct BodyWatch {
    /// How it is bounded, where it is read whole.
    pub bounds: Option<Bounds>,
    /// What was wrong with it.
    pub fault: BodyFaultCell,
    /// Whether the client still waits for `100 Continue`.
    pub continue_pending: ContinuePending,
}

impl KnownRequest {
    /// Looks at a request and wraps its body, so that even a refusal drains what the client is sending.
    /// What operations ask for stands in the request's extensions.
    pub fn describe(
        request: Request<Incoming>,
        hosts: &VirtualHosts,
        object_max_bytes: u64,
    ) -> (Request<Body>, Self) {
        let target = RequestTarget::of(hosts, request.uri(), request.headers());
        let error_context = ErrorContext::of(&request, &target, object_max_bytes);
        let (mut parts, body) = request.into_parts();
        let (method, headers) = (&parts.method, &parts.headers);
        let body = DrainingBody::new(body, headers.contains_key(header::EXPECT));
        let watch = BodyWatch {
            bounds: Bounds::of(method, &parts.uri, headers, target.names_object()),
            fault: BodyFaultCell::default(),
            continue_pending: body.continue_pending(),
        };
        let body = BoundedBody::new(body, watch.bounds, headers, watch.fault.clone());
        let known = Self {
            envelope: Envelope {
                request_id: RequestId::generate(),
                resource: parts.uri.path().to_owned(),
            },
            is_head: *method == Method::HEAD,
            version: parts.version,
            signature: Signature::of(method, headers, parts.uri.query()),
            is_form: is_form(method, headers),
            cross_origin: CrossOrigin::of(method, headers),
            target,
            error_context,
            body: watch,
        };
        if let Some(signature) = known.signature {
            parts.extensions.insert(signature);
        }
        parts.extensions.insert(known.target.clone());
        (Request::from_parts(parts, Body::http_body(body)), known)
    }
}
