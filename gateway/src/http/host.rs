//! The host that a request is for. HTTP/2 has it in `:authority`, and clients of it send no `Host`.

use http::{HeaderMap, HeaderValue, Request, header};

/// Puts the authority into the `Host` header where there is none (RFC 9113, 8.3.1), so that all that
/// comes later reads one place, also where a request is served anew under another address.
pub fn note_host<B>(request: &mut Request<B>) {
    if request.headers().contains_key(header::HOST) {
        return;
    }
    let authority = request.uri().authority();
    let host = authority.and_then(|authority| HeaderValue::from_str(authority.as_str()).ok());
    if let Some(host) = host {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// The host in these headers, with its port where it has one.
#[must_use]
pub fn host_in(headers: &HeaderMap) -> Option<&str> {
    headers.get(header::HOST)?.to_str().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host_of(request: Request<()>) -> Option<String> {
        let mut request = request;
        note_host(&mut request);
        host_in(request.headers()).map(str::to_owned)
    }

    #[test]
    fn an_authority_is_the_host_where_there_is_no_header() {
        let request = || Request::get("https://b.localhost:9000/k");
        let noted = host_of(request().body(()).unwrap());
        assert_eq!(noted.as_deref(), Some("b.localhost:9000"));
        let noted = host_of(request().header("host", "other").body(()).unwrap());
        assert_eq!(noted.as_deref(), Some("other"));
        assert_eq!(host_of(Request::get("/k").body(()).unwrap()), None);
    }
}
