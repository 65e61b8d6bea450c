//! What clients leave out, leave empty or write in another way than the documentation does.

use bytes::Bytes;
use compat_tests::{Answer, Endpoint, SignedRequest, Standalone, send_unsigned};
use http::{Method, Request};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

fn request(at: &Endpoint, method: Method, path: &str) -> SignedRequest {
    SignedRequest::new(at, method, path)
}

fn put(at: &Endpoint, path: &str) -> SignedRequest {
    request(at, Method::PUT, path)
}

fn get(at: &Endpoint, path: &str) -> SignedRequest {
    request(at, Method::GET, path)
}

/// A server with the object `k` in `bucket`, and its ETag without quotes.
async fn server() -> (Standalone, String) {
    let server = Standalone::start().await;
    let at = server.endpoint();
    assert_eq!(put(at, "/bucket").send().await.status, 200);
    let made = put(at, "/bucket/k").body("x").send().await;
    let etag = made.header("etag").expect("an ETag").to_owned();
    assert!(etag.starts_with('"') && etag.ends_with('"'), "{etag}");
    (server, etag.trim_matches('"').to_owned())
}

/// Sends a signed request without `Content-Length`; returns the first line of the answer.
async fn send_without_length(at: &Endpoint, method: Method, path: &str) -> String {
    let signed = request(at, method, path).sign();
    let mut head = format!(
        "{} {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n",
        signed.method(),
        at.authority()
    );
    for (name, value) in signed.headers() {
        let value = value.to_str().expect("test headers are ASCII");
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    assert!(!head.contains("content-length"));
    let stream = TcpStream::connect(at.authority()).await;
    let mut stream = stream.expect("the server accepts connections");
    let sent = stream.write_all(format!("{head}\r\n").as_bytes()).await;
    sent.expect("the server reads what is sent");
    let mut said = String::new();
    let read = stream.read_to_string(&mut said).await;
    read.expect("the server answers and closes");
    said.lines().next().unwrap_or_default().to_owned()
}

#[tokio::test]
async fn etags_are_taken_bare_quoted_and_weak() {
    let (server, etag) = server().await;
    let at = server.endpoint();
    for written in [etag.clone(), format!("\"{etag}\""), format!("W/\"{etag}\"")] {
        let read = get(at, "/bucket/k").header("if-match", &written).send();
        assert_eq!(read.await.status, 200, "{written}");
        let read = get(at, "/bucket/k").header("if-none-match", &written);
        assert_eq!(read.send().await.status, 304, "{written}");
        let written_over = put(at, "/bucket/k").header("if-match", &written).body("x");
        assert_eq!(written_over.send().await.status, 200, "{written}");
        let copy = put(at, "/bucket/copy")
            .header("x-amz-copy-source", "/bucket/k")
            .header("x-amz-copy-source-if-match", &written);
        assert_eq!(copy.send().await.status, 200, "{written}");
    }
    let attributes = get(at, "/bucket/k?attributes").header("x-amz-object-attributes", "ETag");
    let attributes = attributes.send().await;
    assert_eq!(attributes.tag("ETag"), Some(etag.as_str()));
}

#[tokio::test]
async fn empty_headers_count_as_absent_but_not_an_empty_md5() {
    let (server, _) = server().await;
    let at = server.endpoint();
    let empty = [
        "cache-control",
        "content-disposition",
        "content-encoding",
        "content-language",
        "x-amz-acl",
        "x-amz-checksum-crc32",
        "x-amz-sdk-checksum-algorithm",
        "x-amz-server-side-encryption",
        "x-amz-storage-class",
        "x-amz-tagging",
        "x-amz-website-redirect-location",
    ];
    let mut all = put(at, "/bucket/k").body("y");
    for name in empty {
        let one = put(at, "/bucket/k").header(name, "").body("x").send().await;
        assert_eq!(one.status, 200, "{name}: {}", one.text());
        all = all.header(name, "");
    }
    assert_eq!(all.send().await.status, 200);
    let read = get(at, "/bucket/k").header("range", "").send().await;
    assert_eq!((read.status.as_u16(), read.text()), (200, "y"));
    assert!(read.header("cache-control").is_none());
    let md5 = put(at, "/bucket/k").header("content-md5", "").body("z");
    md5.send().await.assert_error(400, "InvalidDigest");
    assert_eq!(get(at, "/bucket/k").send().await.text(), "y");
}

#[tokio::test]
async fn a_request_without_length_has_an_empty_body() {
    let (server, _) = server().await;
    let at = server.endpoint();
    for (method, path, status) in [
        (Method::PUT, "/bucket/empty", " 200 "),
        (Method::PUT, "/another", " 200 "),
        (Method::POST, "/bucket/u?uploads", " 200 "),
        (Method::DELETE, "/bucket/k", " 204 "),
    ] {
        let said = send_without_length(at, method, path).await;
        assert!(said.contains(status), "{path}: {said}");
    }
    let empty = get(at, "/bucket/empty").send().await;
    assert_eq!((empty.status.as_u16(), empty.body.len()), (200, 0));
}

#[tokio::test]
async fn who_may_not_look_is_not_told_what_is_there() {
    let (server, _) = server().await;
    let at = server.endpoint();
    let anonymous = async |method: Method, path: &str| -> Answer {
        let url = format!("{}{path}", at.url);
        let request = Request::builder().method(method).uri(url);
        send_unsigned(request.body(Bytes::new()).unwrap()).await
    };
    for path in ["/bucket/k", "/bucket/missing", "/bucket", "/bucket?uploads"] {
        let answer = anonymous(Method::GET, path).await;
        answer.assert_error(403, "AccessDenied");
        let head = anonymous(Method::HEAD, path).await;
        assert_eq!((head.status.as_u16(), head.body.len()), (403, 0), "{path}");
    }
    let range = get(at, "/bucket/missing").header("range", "bytes=9-");
    range.send().await.assert_error(404, "NoSuchKey");
    let head = request(at, Method::HEAD, "/bucket").send().await;
    assert_eq!(head.header("x-amz-bucket-region"), Some("us-east-1"));
}

/// An upload without signature, in chunks, with this said of its form.
fn in_chunks(at: &Endpoint, headers: &[(&str, &str)], crc32: &str) -> Request<Bytes> {
    let body = format!("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:{crc32}\r\n\r\n");
    let mut request = Request::put(format!("{}/bucket/anonymous", at.url))
        .header("x-amz-decoded-content-length", "5")
        .header("x-amz-trailer", "x-amz-checksum-crc32");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("a request")
}

#[tokio::test]
async fn chunks_without_signature_are_taken_apart_and_their_checksum_is_compared() {
    const CRC32_OF_HELLO: &str = "NhCmhg==";
    let (server, _) = server().await;
    let at = server.endpoint();
    let coding = ("content-encoding", "aws-chunked");
    let unsigned = ("x-amz-content-sha256", "STREAMING-UNSIGNED-PAYLOAD-TRAILER");
    let signed = ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD");
    let private = send_unsigned(in_chunks(at, &[coding], CRC32_OF_HELLO)).await;
    private.assert_error(403, "AccessDenied");

    let opened = put(at, "/bucket?acl").header("x-amz-acl", "public-read-write");
    assert_eq!(opened.send().await.status, 200);
    for headers in [&[coding][..], &[unsigned], &[coding, unsigned]] {
        let wrong = send_unsigned(in_chunks(at, headers, "AAAAAA==")).await;
        wrong.assert_error(400, "BadDigest");
        let missing = get(at, "/bucket/anonymous").send().await;
        missing.assert_error(404, "NoSuchKey");
        let answer = send_unsigned(in_chunks(at, headers, CRC32_OF_HELLO)).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
        let read = get(at, "/bucket/anonymous").send().await;
        assert_eq!(read.text(), "hello");
        assert!(read.header("content-encoding").is_none());
        let gone = request(at, Method::DELETE, "/bucket/anonymous")
            .send()
            .await;
        assert_eq!(gone.status, 204);
    }
    let unchecked = send_unsigned(in_chunks(at, &[signed], CRC32_OF_HELLO)).await;
    unchecked.assert_error(400, "InvalidRequest");
}
