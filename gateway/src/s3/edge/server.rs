//! From an HTTP request to an HTTP answer: the guard, s3s's routing and signature check, the
//! operations, and the envelope around the answer.

use std::sync::Arc;

use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Version, header};
use hyper::body::Incoming;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse};
use tracing::{debug, error};

use super::admission::Admission;
use super::envelope::{Envelope, Refused};
use super::error_context::Members;
use super::known_request::KnownRequest;
use super::listing_limit::{ListingLimit, until_sent};
use super::redispatch::Redispatch;
use super::sigv2_bucket_path::end_with_slash;
use super::virtual_host::VirtualHosts;
use crate::http::note_host;
use crate::s3::access::BucketAddresses;
use crate::s3::body::limits::DOCUMENT_MAX_BYTES;
use crate::s3::body::undeclared_length::UndeclaredLength;
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
    admission: Admission,
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
        let builder = || {
            let mut builder = S3ServiceBuilder::new(gateway.clone());
            builder.set_config(config.clone());
            builder.set_host(hosts.clone());
            builder.set_validation(BucketAddresses);
            builder.set_auth(gateway.directory.clone());
            builder.set_access(gateway.gate.clone());
            builder
        };
        let mut service = builder();
        // What is dispatched again was authenticated already.
        service.set_route(Redispatch::new(builder().build()));
        let admission = Admission {
            region: gateway.settings.region.clone(),
            sigv2_headers,
        };
        Self {
            service: service.build(),
            gateway,
            hosts,
            admission,
            undeclared: UndeclaredLength::new(),
            listing_limit: ListingLimit::new(),
        }
    }

    /// Answers one request.
    pub async fn handle(&self, mut request: Request<Incoming>) -> Response<Body> {
        note_host(&mut request);
        let object_max_bytes = self.gateway.settings.object_max_bytes;
        let (request, known) = KnownRequest::describe(request, &self.hosts, object_max_bytes);
        debug!(
            id = known.envelope.request_id.as_str(),
            method = %request.method(),
            path = request.uri().path(),
            "request"
        );
        let outcome = match self.admission.admit(&request, &known) {
            Ok(()) => self.dispatch(request, &known).await,
            Err(refused) => Err(refused),
        };
        self.finish(outcome, known).await
    }

    /// Answers a request that was admitted: a preflight here, all others by s3s.
    async fn dispatch(
        &self,
        request: Request<Body>,
        known: &KnownRequest,
    ) -> Result<Response<Body>, Refused> {
        if request.method() == Method::OPTIONS {
            let preflight = self.gateway.preflight(&known.target, request.headers());
            let mut response = Response::new(Body::empty());
            response.headers_mut().extend(preflight.await?);
            return Ok(response);
        }
        let (names_object, query) = (known.target.names_object(), request.uri().query());
        let permit = self
            .listing_limit
            .permit(request.method(), names_object, query)
            .await?;
        let served = self.serve(request, known).await;
        if let Some(fault) = known.body.fault.get() {
            return Err(fault.into());
        }
        let mut response = served?;
        if known.is_form {
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
        known: &KnownRequest,
    ) -> Result<Response<Body>, Refused> {
        let request = self.undeclared.declare(request).await?;
        let mut request = unsigned_upload::take_apart(request, known.signature)?;
        if known.is_form {
            request = form::head::read_head(request).await?;
            request = form::tail::end_at_file(request, &self.undeclared).await?;
        }
        let request = end_with_slash(&known.target, known.signature, request);
        self.service.call(request).await.map_err(|failure| {
            let id = known.envelope.request_id.as_str();
            error!(id, ?failure, "a request failed");
            let message = "We encountered an internal error. Please try again.";
            Refused::new(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
        })
    }

    /// Puts around an answer what every one has, and what its request calls for.
    async fn finish(
        &self,
        outcome: Result<Response<Body>, Refused>,
        known: KnownRequest,
    ) -> Response<Body> {
        let envelope = &known.envelope;
        let mut response = match outcome {
            Ok(mut response) => {
                envelope.put_headers(&mut response);
                if known.is_head {
                    complete_head(&mut response);
                } else {
                    let context = &known.error_context;
                    let members = |code: &str, answer: &HeaderMap| context.members(code, answer);
                    complete_error(envelope, members, &mut response);
                }
                response
            }
            Err(refused) => envelope.error(&refused).map(Body::from),
        };
        if let Some(cross_origin) = &known.cross_origin {
            let allowed = self
                .gateway
                .cross_origin_headers(&known.target, cross_origin);
            response
                .headers_mut()
                .extend(allowed.await.unwrap_or_default());
        }
        if known.body.continue_pending.holds() && known.version <= Version::HTTP_11 {
            // hyper closes the connection without saying so, and the next request on it would fail.
            let close = HeaderValue::from_static("close");
            response.headers_mut().insert(header::CONNECTION, close);
        }
        response
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
