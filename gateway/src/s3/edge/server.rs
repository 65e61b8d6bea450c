//! From an HTTP request to an HTTP answer: the guard, s3s's routing and signature check, the
//! operations, and the envelope around the answer.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse};
use time::OffsetDateTime;
use tracing::{debug, error};

use super::authentication::check_authentication;
use super::cors::CrossOrigin;
use super::envelope::{Envelope, Refused, RequestId};
use super::error_context::{ErrorContext, Members};
use super::guard::{Refusal, refuse_unknown_subresource};
use super::listing_limit::{ListingLimit, until_sent};
use super::redispatch::Redispatch;
use super::signature_dates::refuse_bad_dates;
use super::signature_facts::SignatureFacts;
use super::signature_region::check_region;
use super::signature_v2::{is_signed_by_header, refuse_uncovered};
use super::sigv2_bucket_path;
use super::target::RequestTarget;
use super::virtual_host::VirtualHosts;
use crate::http::{DrainingBody, Withheld, note_host, query_pairs};
use crate::s3::access::BucketAddresses;
use crate::s3::body::bounded::{BoundedBody, FaultNote};
use crate::s3::body::limits::{Bounds, DOCUMENT_MAX_BYTES};
use crate::s3::body::undeclared_length::{UndeclaredLength, missing_length};
use crate::s3::body::unsigned_upload;
use crate::s3::form;
use crate::s3::gateway::S3Gateway;

/// Longest signed aws-chunked chunk: it is held whole until its signature is checked. SDKs send
/// 64 KiB to 1 MiB.
const SIGNED_CHUNK_MAX_BYTES: usize = 2 * 1024 * 1024;

/// Longest time between the signature of a form and its use: signing keys are good for a week.
const FORM_AGE_MAX_S: u32 = 7 * 24 * 60 * 60;

/// Answers S3 requests. Cheap to clone.
#[derive(Clone)]
pub struct S3Server {
    service: S3Service,
    gateway: S3Gateway,
    hosts: VirtualHosts,
    sigv2_headers: bool,
    undeclared: UndeclaredLength,
    listing_limit: ListingLimit,
}

impl S3Server {
    /// A server of `gateway`, with bucket names as subdomains of
    /// `domains`; `sigv2_headers` admits `Authorization` headers of Signature Version 2.
    #[must_use]
    pub fn new(gateway: S3Gateway, domains: Vec<String>, sigv2_headers: bool) -> Self {
        let hosts = VirtualHosts::new(domains);
        let config = config(gateway.settings.object_max_bytes);
        let config = Arc::new(StaticConfigProvider::new(Arc::new(config)));

        let (directory, gate) = (gateway.directory.clone(), gateway.gate.clone());
        // Serves requests that were authenticated already, for Redispatch.
        let mut inner = S3ServiceBuilder::new(gateway.clone());
        inner.set_config(config.clone());
        inner.set_host(hosts.clone());
        inner.set_validation(BucketAddresses);
        inner.set_auth(directory.clone());
        inner.set_access(gate.clone());

        let mut builder = S3ServiceBuilder::new(gateway.clone());
        builder.set_config(config);
        builder.set_host(hosts.clone());
        builder.set_validation(BucketAddresses);
        builder.set_auth(directory);
        builder.set_access(gate);
        builder.set_route(Redispatch::new(inner.build()));
        Self {
            service: builder.build(),
            gateway,
            hosts,
            sigv2_headers,
            undeclared: UndeclaredLength::new(),
            listing_limit: ListingLimit::new(),
        }
    }

    /// Answers one request.
    pub async fn handle(&self, mut request: Request<Incoming>) -> Response<Body> {
        note_host(&mut request);
        let envelope = Envelope {
            request_id: RequestId::generate(),
            resource: request.uri().path().to_owned(),
        };
        debug!(
            id = envelope.request_id.as_str(),
            method = %request.method(),
            path = request.uri().path(),
            "request"
        );
        let (is_head, version) = (request.method() == Method::HEAD, request.version());
        let target = RequestTarget::of(&self.hosts, request.uri(), request.headers());
        let cross_origin = CrossOrigin::of(request.method(), request.headers());
        let context = ErrorContext::of(&request, &target, self.gateway.settings.object_max_bytes);
        request.extensions_mut().insert(target.clone());
        // Wrapped first, so that a refusal drains what the client is sending.
        let (request, watch) = watch_body(request, &target);
        let mut response = match self.respond(request, &target, &watch, &envelope).await {
            Ok(mut response) => {
                envelope.put_headers(&mut response);
                if is_head {
                    complete_head(&mut response);
                } else {
                    let members = |code: &str, answer: &HeaderMap| context.members(code, answer);
                    complete_error(&envelope, members, &mut response);
                }
                response
            }
            Err(refused) => envelope.error(&refused).map(Body::from),
        };
        if let Some(named) = cross_origin {
            let allowed = self.gateway.cross_origin_headers(&target, &named);
            response
                .headers_mut()
                .extend(allowed.await.unwrap_or_default());
        }
        if watch.withheld.holds() && version <= Version::HTTP_11 {
            // hyper closes the connection without saying so, and the next request on it would fail.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
    }

    async fn respond(
        &self,
        request: Request<Body>,
        target: &RequestTarget,
        watch: &BodyWatch,
        envelope: &Envelope,
    ) -> Result<Response<Body>, Refused> {
        self.admit(&request, target)?;
        if let Some(bounds) = watch.bounds {
            bounds.refuse_declared(request.headers())?;
        }
        if request.method() == Method::OPTIONS {
            let preflight = self.gateway.preflight(target, request.headers());
            let mut response = Response::new(Body::empty());
            response.headers_mut().extend(preflight.await?);
            return Ok(response);
        }
        let is_form = form::answer::is_form(request.method(), request.headers());
        let query = request.uri().query();
        let permit = self
            .listing_limit
            .permit(request.method(), target.names_object(), query)
            .await?;
        let served = self.serve(request, target, is_form, envelope).await;
        if let Some(fault) = watch.fault.get() {
            return Err(fault.into());
        }
        let mut response = served?;
        if is_form {
            form::answer::correct(&mut response);
        }
        Ok(match permit {
            Some(permit) if response.status().is_success() => until_sent(response, permit),
            _ => response,
        })
    }

    /// Hands the request to s3s, in the shape in which s3s understands it.
    async fn serve(
        &self,
        request: Request<Body>,
        target: &RequestTarget,
        is_form: bool,
        envelope: &Envelope,
    ) -> Result<Response<Body>, Refused> {
        let mut request = unsigned_upload::take_apart(self.undeclared.declare(request).await?)?;
        if is_form {
            request = form::head::read_head(request).await?;
            request = form::tail::end_at_file(request, &self.undeclared).await?;
        }
        let request = sigv2_bucket_path::end_with_slash(target, request);
        self.service.call(request).await.map_err(|failure| {
            let id = envelope.request_id.as_str();
            error!(id, ?failure, "a request failed");
            let message = "We encountered an internal error. Please try again.";
            Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
        })
    }

    /// Refuses what s3s would take for something else, or would read before it knows the caller.
    fn admit(&self, request: &Request<Body>, target: &RequestTarget) -> Result<(), Refused> {
        let (method, headers) = (request.method(), request.headers());
        let query = request.uri().query();
        refuse_unknown_subresource(method, target.names_object(), query).map_err(|refusal| {
            let (status, code) = match refusal {
                Refusal::Unknown(_) => (StatusCode::NOT_IMPLEMENTED, "NotImplemented"),
                Refusal::Alone(_) => (StatusCode::BAD_REQUEST, "InvalidArgument"),
            };
            Refused::new(status, code, refusal.to_string())
        })?;
        refuse_uncovered(method, headers, query).map_err(|refusal| {
            let (status, code) = (StatusCode::BAD_REQUEST, "InvalidArgument");
            Refused::new(status, code, refusal.to_string())
        })?;
        if !form::answer::is_form(method, headers) {
            check_authentication(headers, query)?;
        }
        refuse_unsigned_override(method, headers, query)?;
        if form::answer::is_form(method, headers) && !headers.contains_key(header::CONTENT_LENGTH) {
            // s3s would gather the file in memory before anybody is asked whether it may come.
            return Err(missing_length());
        }
        if !self.sigv2_headers && is_signed_by_header(headers) {
            let message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
            return Err(Refused::new(
                StatusCode::BAD_REQUEST,
                "InvalidRequest",
                message,
            ));
        }
        check_region(headers, query, &self.gateway.settings.region)?;
        refuse_bad_dates(headers, query, OffsetDateTime::now_utc())
    }
}

fn config(object_max_bytes: u64) -> S3Config {
    let mut config = S3Config::default();
    config.xml_max_body_size = DOCUMENT_MAX_BYTES;
    config.post_object_max_file_size = object_max_bytes;
    // The operations check sizes against the operator's setting before they read a body.
    config.put_object_max_size = None;
    config.custom_route_max_body_size = None;
    config.aws_chunked_stream_max_chunk_size = SIGNED_CHUNK_MAX_BYTES;
    // A request is what its method, path and query make it, whatever `x-id` claims.
    config.operation_id_routing = false;
    // boto3 and the first aws cli presign with SigV2 unless told otherwise.
    config.enable_sig_v2 = true;
    config.sig_v4_allowed_services = vec!["s3".to_owned()];
    // A form may be sent as long as its policy is valid. The dates of all other requests are checked
    // before s3s sees them.
    config.presigned_url_max_skew_time_secs = FORM_AGE_MAX_S;
    config
}

/// What is known of a request's body, while it is read and after.
struct BodyWatch {
    bounds: Option<Bounds>,
    fault: FaultNote,
    withheld: Withheld,
}

/// The request with its body watched, and what will be known of the body.
fn watch_body(request: Request<Incoming>, target: &RequestTarget) -> (Request<Body>, BodyWatch) {
    let (mut parts, body) = request.into_parts();
    let (method, headers, query) = (&parts.method, &parts.headers, parts.uri.query());
    let expects_continue = headers.contains_key(header::EXPECT);
    let signature = SignatureFacts::of(method, headers, query);

    let body = DrainingBody::new(body, expects_continue);
    let watch = BodyWatch {
        bounds: Bounds::of(method, &parts.uri, headers, target.names_object()),
        fault: FaultNote::default(),
        withheld: body.withheld(),
    };
    let body = BoundedBody::new(body, watch.bounds, headers, watch.fault.clone());
    let body = Body::http_body(body);
    parts.extensions.insert(signature);
    (Request::from_parts(parts, body), watch)
}

/// Headers of the answer that the URL asks for are taken from those alone who signed it.
fn refuse_unsigned_override(
    method: &Method,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Result<(), Refused> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let overrides = || query_pairs(query).any(|(key, _)| key.starts_with("response-"));
    let is_signed = || {
        let signature = SignatureFacts::of(method, headers, query);
        signature.auth_type.is_some()
    };
    if !is_read || !overrides() || is_signed() {
        return Ok(());
    }
    let message = "Request specific response headers cannot be used for anonymous GET requests.";
    Err(Refused::new(
        StatusCode::BAD_REQUEST,
        "InvalidRequest",
        message,
    ))
}

/// Corrects s3s's answer to a HEAD. For a range it is what the GET would get; s3s leaves it at 200.
/// An error has no length: that of the body that s3s made is not the GET's.
fn complete_head(response: &mut HttpResponse) {
    if is_error(response) {
        response.headers_mut().remove(header::CONTENT_LENGTH);
        *response.body_mut() = Body::empty();
    }
    let names_range = response.headers().contains_key(header::CONTENT_RANGE);
    if names_range && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
}

fn is_error(response: &HttpResponse) -> bool {
    response.status().is_client_error() || response.status().is_server_error()
}

/// Puts what the error is about, resource and request id into its body.
fn complete_error(
    envelope: &Envelope,
    members: impl FnOnce(&str, &HeaderMap) -> Members,
    response: &mut HttpResponse,
) {
    if !is_error(response) {
        return;
    }
    if let Some(body) = response.body_mut().take_bytes() {
        let body = envelope.complete_error_body(body, |code| members(code, response.headers()));
        let headers = response.headers_mut();
        headers.remove(header::CONTENT_LENGTH);
        // s3s leaves it out where an error has headers of its own.
        if !body.is_empty() && !headers.contains_key(header::CONTENT_TYPE) {
            let xml = HeaderValue::from_static("application/xml");
            headers.insert(header::CONTENT_TYPE, xml);
        }
        *response.body_mut() = Body::from(body);
    }
}
