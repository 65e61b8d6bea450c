//! From an HTTP request to an HTTP answer: the guard, s3s's routing and signature check, the
//! operations, and the envelope around the answer.

use std::sync::Arc;

use http::header::CONTENT_LENGTH;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use s3s::config::{S3Config, StaticConfigProvider};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{Body, HttpResponse};
use time::OffsetDateTime;
use tracing::{debug, error};

use super::cors::CrossOrigin;
use super::digested_body::{DigestedBody, RawBodyTally};
use super::form_answer;
use super::served_anew::ServedAnew;
use super::service::S3Gateway;
use super::undeclared_length::{UndeclaredLength, Unreadable};
use super::virtual_host::VirtualHosts;
use super::whole_body::{Bounds, DOCUMENT_MAX_BYTES, FORM_FIELDS_MAX_BYTES, FaultNote, WholeBody};
use crate::http::{
    DrainingBody, Envelope, Refusal, RequestId, SignatureFacts, check_dates, is_signed_by_header,
    query_pairs, refuse_uncovered, refuse_unknown_subresource,
};

/// Longest signed aws-chunked chunk: it is held whole until its signature is checked. SDKs send
/// 64 KiB to 1 MiB.
const SIGNED_CHUNK_MAX_BYTES: usize = 2 * 1024 * 1024;

/// Answers S3 requests. Cheap to clone.
#[derive(Clone)]
pub struct S3Server {
    service: S3Service,
    gateway: S3Gateway,
    hosts: VirtualHosts,
    sigv2_headers: bool,
    undeclared: UndeclaredLength,
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
        // Serves requests that were authenticated already, for ServedAnew.
        let mut inner = S3ServiceBuilder::new(gateway.clone());
        inner.set_config(config.clone());
        inner.set_host(hosts.clone());
        inner.set_auth(directory.clone());
        inner.set_access(gate.clone());

        let mut builder = S3ServiceBuilder::new(gateway.clone());
        builder.set_config(config);
        builder.set_host(hosts.clone());
        builder.set_auth(directory);
        builder.set_access(gate);
        builder.set_route(ServedAnew::new(inner.build()));
        Self {
            service: builder.build(),
            gateway,
            hosts,
            sigv2_headers,
            undeclared: UndeclaredLength::new(),
        }
    }

    /// Answers one request.
    pub async fn handle(&self, request: Request<Incoming>) -> Response<Body> {
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
        // Wrapped first, so that a refusal drains what the client is sending.
        let request = with_body(request, &self.hosts);
        let fault = request.extensions().get::<FaultNote>().cloned();
        if let Err(refusal) = self.admit(&request) {
            let (status, code, message) = refusal;
            return envelope.error(status, code, &message).map(Body::from);
        }
        let bucket = bucket_in(&self.hosts, request.uri(), request.headers());
        if request.method() == Method::OPTIONS {
            let preflight = self.gateway.preflight(bucket.as_deref(), request.headers());
            return match preflight.await {
                Ok(headers) => {
                    let mut response = Response::new(Body::empty());
                    response.headers_mut().extend(headers);
                    envelope.put_headers(&mut response);
                    response
                }
                Err((status, code, message)) => {
                    envelope.error(status, code, message).map(Body::from)
                }
            };
        }
        let cross_origin = CrossOrigin::of(request.method(), request.headers());
        let is_head = request.method() == Method::HEAD;
        let is_form = form_answer::is_form(request.method(), request.headers());
        let request = match self.undeclared.declare(request).await {
            Ok(request) => request,
            Err(unreadable) => {
                let (status, code, message) = unreadable.words();
                return envelope.error(status, code, message).map(Body::from);
            }
        };
        let mut response = match self.service.call(request).await {
            Ok(response) => response,
            Err(failure) => {
                error!(
                    id = envelope.request_id.as_str(),
                    ?failure,
                    "a request failed"
                );
                let message = "We encountered an internal error. Please try again.";
                envelope
                    .error(StatusCode::INTERNAL_SERVER_ERROR, "InternalError", message)
                    .map(Body::from)
            }
        };
        if let Some(fault) = fault.and_then(|note| note.get()) {
            let (status, code, message) = fault.words();
            response = envelope.error(status, code, message).map(Body::from);
        }
        if let Some(named) = cross_origin {
            let allowed = self.gateway.cross_origin_headers(bucket.as_deref(), &named);
            response
                .headers_mut()
                .extend(allowed.await.unwrap_or_default());
        }
        if is_form {
            form_answer::correct(&mut response);
        }
        envelope.put_headers(&mut response);
        if is_head {
            mark_partial(&mut response);
        } else {
            complete_error(&envelope, &mut response);
        }
        response
    }

    /// Refuses what s3s would take for something else, or would read before it knows the caller.
    fn admit(&self, request: &Request<Body>) -> Result<(), (StatusCode, &'static str, String)> {
        let (method, headers) = (request.method(), request.headers());
        let names_object = names_object(&self.hosts, request.uri(), headers);
        match refuse_unknown_subresource(method, names_object, request.uri().query()) {
            Ok(()) => {}
            Err(refusal @ Refusal::Unknown(_)) => {
                return Err((
                    StatusCode::NOT_IMPLEMENTED,
                    "NotImplemented",
                    refusal.to_string(),
                ));
            }
            Err(refusal @ Refusal::Alone(_)) => {
                return Err((
                    StatusCode::BAD_REQUEST,
                    "InvalidArgument",
                    refusal.to_string(),
                ));
            }
        }
        let query = request.uri().query();
        refuse_uncovered(method, headers, query).map_err(|refusal| {
            let status = StatusCode::BAD_REQUEST;
            (status, "InvalidArgument", refusal.to_string())
        })?;
        if let Some(refusal) = unsigned_override(method, headers, query) {
            return Err(refusal);
        }
        if form_answer::is_form(method, headers) && !headers.contains_key(CONTENT_LENGTH) {
            // s3s would gather the file in memory before anybody is asked whether it may come.
            let (status, code, message) = Unreadable::Long.words();
            return Err((status, code, message.to_owned()));
        }
        if !self.sigv2_headers && is_signed_by_header(headers) {
            let message = "The authorization mechanism you have provided is not supported. Please use AWS4-HMAC-SHA256.";
            return Err((
                StatusCode::BAD_REQUEST,
                "InvalidRequest",
                message.to_owned(),
            ));
        }
        check_dates(headers, query, OffsetDateTime::now_utc()).map_err(|refusal| {
            let (code, message) = refusal.words();
            (StatusCode::FORBIDDEN, code, message.to_owned())
        })
    }
}

fn config(object_max_bytes: u64) -> S3Config {
    let mut config = S3Config::default();
    config.xml_max_body_size = DOCUMENT_MAX_BYTES;
    config.form_max_fields_size = FORM_FIELDS_MAX_BYTES;
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
    config
}

fn with_body(request: Request<Incoming>, hosts: &VirtualHosts) -> Request<Body> {
    let (mut parts, body) = request.into_parts();
    let names_object = names_object(hosts, &parts.uri, &parts.headers);
    let bounds = Bounds::of(&parts.method, &parts.uri, &parts.headers, names_object);
    let note = FaultNote::default();
    parts.extensions.insert(note.clone());
    let signature = SignatureFacts::of(&parts.method, &parts.headers, parts.uri.query());
    parts.extensions.insert(signature);
    let expects_continue = parts.headers.contains_key(http::header::EXPECT);
    let tally = RawBodyTally::wanted_for(&parts.method, parts.uri.query(), &parts.headers);
    if let Some(tally) = &tally {
        parts.extensions.insert(tally.clone());
    }
    let body = DrainingBody::new(body, expects_continue);
    let body = WholeBody::new(body, bounds, &parts.headers, note);
    let body = DigestedBody::new(body, tally);
    Request::from_parts(parts, Body::http_body(body))
}

/// Headers of the answer that the URL asks for are taken from those alone who signed it.
fn unsigned_override(
    method: &Method,
    headers: &HeaderMap,
    query: Option<&str>,
) -> Option<(StatusCode, &'static str, String)> {
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    let is_signed = || {
        SignatureFacts::of(method, headers, query)
            .auth_type
            .is_some()
    };
    let overrides = || query_pairs(query).any(|(key, _)| key.starts_with("response-"));
    let message = "Request specific response headers cannot be used for anonymous GET requests.";
    (is_read && overrides() && !is_signed()).then(|| {
        let status = StatusCode::BAD_REQUEST;
        (status, "InvalidRequest", message.to_owned())
    })
}

/// Whether the request's path names an object, in path style or under a virtual host. Decodes and
/// splits the path as s3s does, so that both mean the same request.
fn names_object(hosts: &VirtualHosts, uri: &Uri, headers: &HeaderMap) -> bool {
    let host = headers
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok())
        .or_else(|| uri.authority().map(http::uri::Authority::as_str));
    let path = percent_decode_str(uri.path()).decode_utf8_lossy();
    let path = path.strip_prefix('/').unwrap_or(&path);
    match host.and_then(|host| hosts.bucket_in(host)) {
        Some(_) => !path.is_empty(),
        None => path.split_once('/').is_some_and(|(_, key)| !key.is_empty()),
    }
}

/// The bucket that a request names, in its path or by a virtual host.
fn bucket_in(hosts: &VirtualHosts, uri: &Uri, headers: &HeaderMap) -> Option<String> {
    let host = headers
        .get(http::header::HOST)
        .and_then(|host| host.to_str().ok());
    let host = host.or_else(|| uri.authority().map(http::uri::Authority::as_str));
    if let Some(bucket) = host.and_then(|host| hosts.bucket_in(host)) {
        return Some(bucket.to_owned());
    }
    let path = percent_decode_str(uri.path()).decode_utf8_lossy();
    let first = path.strip_prefix('/')?.split('/').next()?;
    (!first.is_empty()).then(|| first.to_owned())
}

/// A HEAD for a range is answered as the GET would be; s3s leaves it at 200.
fn mark_partial(response: &mut HttpResponse) {
    let names_range = response.headers().contains_key(http::header::CONTENT_RANGE);
    if names_range && response.status() == StatusCode::OK {
        *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    }
}

/// Puts resource and request id into an error's body.
fn complete_error(envelope: &Envelope, response: &mut HttpResponse) {
    let is_error = response.status().is_client_error() || response.status().is_server_error();
    if !is_error {
        return;
    }
    if let Some(body) = response.body_mut().take_bytes() {
        let body = envelope.complete_error_body(body);
        let headers = response.headers_mut();
        headers.remove(CONTENT_LENGTH);
        // s3s leaves it out where an error has headers of its own.
        if !body.is_empty() && !headers.contains_key(http::header::CONTENT_TYPE) {
            let xml = HeaderValue::from_static("application/xml");
            headers.insert(http::header::CONTENT_TYPE, xml);
        }
        *response.body_mut() = Body::from(body);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_object_as_s3s_reads_it() {
        let hosts = VirtualHosts::new(vec!["localhost".into()]);
        for (host, path, expected) in [
            ("127.0.0.1", "/", false),
            ("127.0.0.1", "/bucket", false),
            ("127.0.0.1", "/bucket/", false),
            ("127.0.0.1", "/bucket/key", true),
            ("127.0.0.1", "/bucket%2Fkey", true),
            ("127.0.0.1", "/bucket//", true),
            ("bucket.localhost", "/", false),
            ("bucket.localhost", "//", true),
            ("bucket.localhost", "/key", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::HOST, host.parse().unwrap());
            let named = names_object(&hosts, &path.parse().unwrap(), &headers);
            assert_eq!(named, expected, "{host}{path}");
        }
    }
}
