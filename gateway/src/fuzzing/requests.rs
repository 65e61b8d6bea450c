//! Fuzz target for whole requests: a few of them over one connection, to a gateway over a cluster in
//! memory. No request may panic, or be answered with a failure of ours.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use metastore::{
    Bucket, BucketId, BucketName, BucketSettings, LockSettings, MemoryMetastore, Metastore as _,
    Timestamp, Versioning,
};
use s3s::auth::{Credentials, SecretKey};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::nodes::Nodes;
use crate::keys::RootKeys;
use crate::lifecycle::Calendar;
use crate::s3::{Directory, S3Gateway, S3Server, S3Settings, Verified};
use crate::sealing::KeyRing;
use crate::users::Secrets;

const ROOT: &str = "root";
/// Ends a request in an input.
const SEPARATOR: &str = "\n---\n";
const REQUESTS_MAX: usize = 8;
/// No request of these takes long; one that hangs is a finding.
const ANSWER_MAX: Duration = Duration::from_secs(60);

/// Whoever may do everything to these.
const OPEN: &str = r#"{"Statement":{"Effect":"Allow","Principal":"*","Action":"s3:*",
    "Resource":["arn:aws:s3:::NAME","arn:aws:s3:::NAME/*"]}}"#;

/// Requests, each a line with `root` or `-` for who signs, a method and an address; then headers, an
/// empty line, and a body. `Host` and `Content-Length` are added where they are missing. A signature
/// is taken as checked.
pub(super) fn conversation(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async {
        let server = server().await;
        for request in text.split(SEPARATOR).take(REQUESTS_MAX) {
            ask(&server, request).await;
        }
    });
}

async fn server() -> S3Server {
    let nodes = Nodes::new(3);
    let metastore = Arc::new(MemoryMetastore::new());
    for (name, versioning) in [("open", Versioning::Off), ("kept", Versioning::Enabled)] {
        let bucket = Bucket {
            id: BucketId::generate(),
            name: BucketName::parse(name).expect("a name"),
            created_at: Timestamp(1),
            owner: "owner".into(),
            region: String::new(),
            settings: BucketSettings {
                versioning,
                lock: (versioning == Versioning::Enabled).then(LockSettings::default),
                policy: Some(OPEN.replace("NAME", name)),
                ..BucketSettings::default()
            },
        };
        metastore.create_bucket(bucket).await.expect("a new bucket");
    }
    let key_ring = Arc::new(KeyRing::new([7; 32], [("k".to_owned(), [8; 32])].into()));
    let root = RootKeys {
        access_key: ROOT.into(),
        secret_key: "secret".into(),
    };
    let secrets = Secrets::new(Arc::clone(&key_ring));
    let directory = Directory::new(metastore.clone(), root, secrets);
    let settings = S3Settings {
        region: "us-east-1".into(),
        object_max_bytes: 1 << 20,
        inline_max_bytes: 16,
        kms_default_key: Some("k".into()),
        customer_keys_in_clear: true,
        calendar: Calendar::with_days_of(86_400),
    };
    let (writer, reader) = (nodes.writer(1), nodes.reader());
    let gateway = S3Gateway::new(metastore, writer, reader, settings, directory, key_ring);
    S3Server::new(gateway, vec!["localhost".into()], true)
}

async fn ask(server: &S3Server, request: &str) {
    let (signer, request) = request.split_once(' ').unwrap_or(("-", request));
    let signs = signer == ROOT;
    let service = service_fn(move |mut request: Request<Incoming>| {
        let server = server.clone();
        let credentials = signs.then(|| Credentials {
            access_key: ROOT.into(),
            secret_key: SecretKey::from("secret"),
        });
        async move {
            request.extensions_mut().insert(Verified(credentials));
            let answer = server.handle(request).await;
            Ok::<_, Infallible>(answer)
        }
    });
    let (mut client, stream) = tokio::io::duplex(64 * 1024);
    let mut builder = http1::Builder::new();
    // What is cut off in the middle ends so, and is not waited for.
    builder.keep_alive(false).half_close(true);
    let served = builder.serve_connection(TokioIo::new(stream), service);
    let spoken = async {
        let written = client.write_all(on_the_wire(request).as_bytes()).await;
        let _ = written.is_ok() && client.shutdown().await.is_ok();
        let mut answer = Vec::new();
        let _ = client.read_to_end(&mut answer).await;
        answer
    };
    let both = async { futures::join!(served, spoken).1 };
    let answer = tokio::time::timeout(ANSWER_MAX, both).await;
    let answer = answer.expect("an answer in time");
    let status = answer.get(9..12).unwrap_or_default();
    assert_ne!(status, b"500", "{}", String::from_utf8_lossy(&answer));
}

/// The request as HTTP/1.1 carries it.
fn on_the_wire(request: &str) -> String {
    let (head, body) = request.split_once("\n\n").unwrap_or((request, ""));
    let (line, headers) = head.split_once('\n').unwrap_or((head, ""));
    let has = |name: &str| {
        let mut lines = headers.lines();
        lines.any(|line| line.to_ascii_lowercase().starts_with(name))
    };
    let mut wire = format!("{line} HTTP/1.1\r\n");
    for header in headers.lines() {
        wire.push_str(header);
        wire.push_str("\r\n");
    }
    if !has("host:") {
        wire.push_str("host: 127.0.0.1\r\n");
    }
    if !has("content-length:") && !has("transfer-encoding:") {
        wire.push_str(&format!("content-length: {}\r\n", body.len()));
    }
    wire + "\r\n" + body
}
