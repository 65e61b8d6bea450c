//! The S3 listener over TLS: boto3 with checks of the certificate, a client's keys, both ways to sign,
//! and HTTP/2 with curl and the SDK for Rust.

use std::fs;
use std::time::Duration;

use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{ChecksumAlgorithm, ChecksumMode};
use compat_tests::{
    ClientHome, Payload, Standalone, body_of_pieces, eventually, own_source, sdk_over_tls,
};
use tempfile::TempDir;

fn path(dir: &TempDir, name: &str) -> String {
    dir.path().join(name).to_string_lossy().into_owned()
}

/// Writes a new certificate and its key; returns their files.
fn new_certificate(dir: &TempDir) -> (String, String) {
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let made = rcgen::generate_simple_self_signed(names).expect("a certificate");
    let (certificate, key) = (path(dir, "cert.pem"), path(dir, "key.pem"));
    fs::write(&certificate, made.cert.pem()).expect("the directory can be written");
    fs::write(&key, made.signing_key.serialize_pem()).expect("the directory can be written");
    (certificate, key)
}

/// A server with a certificate of its own, and the file that clients trust it by.
async fn server(dir: &TempDir) -> (Standalone, String) {
    server_with(dir, &[]).await
}

async fn server_with(dir: &TempDir, more: &[&str]) -> (Standalone, String) {
    let (certificate, key) = new_certificate(dir);
    let tls = ["--tls-cert", &certificate, "--tls-key", &key];
    let server = Standalone::start_with(&[&tls[..], more].concat()).await;
    (server, certificate)
}

fn home(server: &Standalone, certificate: &str) -> ClientHome {
    let home = ClientHome::new(server.endpoint());
    let trust = format!("[default]\nca_bundle = {certificate}\n");
    home.write(".aws/config", trust.as_bytes());
    // For Python without boto3.
    home.with_variable("SSL_CERT_FILE", certificate)
}

#[tokio::test]
async fn boto3_works_over_tls_and_sends_its_checksums_in_trailers() {
    let dir = TempDir::new().unwrap();
    let (server, certificate) = server(&dir).await;
    assert!(server.endpoint().url.starts_with("https://"));
    let home = home(&server, &certificate);
    for script in [
        "objects.py",
        "checksums.py",
        "multipart.py",
        "anonymous.py",
        "forms.py",
    ] {
        let script = own_source("python").join(script);
        home.python(&["-B", script.to_str().unwrap()]).await;
    }
}

#[tokio::test]
async fn clients_keys_are_taken_over_tls() {
    let dir = TempDir::new().unwrap();
    let (server, certificate) = server(&dir).await;
    let home = home(&server, &certificate);
    let key = "0123456789abcdef0123456789abcdef";
    let script = format!(
        "import boto3\ns3 = boto3.client('s3')\ns3.create_bucket(Bucket='bucket')\n\
         key = dict(SSECustomerAlgorithm='AES256', SSECustomerKey='{key}')\n\
         s3.put_object(Bucket='bucket', Key='k', Body=b'secret', **key)\n\
         print(s3.get_object(Bucket='bucket', Key='k', **key)['Body'].read())"
    );
    assert_eq!(home.python(&["-c", &script]).await.trim(), "b'secret'");
}

#[tokio::test]
async fn http_2_is_spoken_to_those_who_can() {
    let dir = TempDir::new().unwrap();
    let (server, certificate) = server(&dir).await;
    let home = home(&server, &certificate);
    let url = &server.endpoint().url;
    let command = |protocol: &str| {
        format!(
            "curl -s {protocol} --cacert {certificate} -o /dev/null -w '%{{http_version}} %{{http_code}}' {url}/"
        )
    };
    assert_eq!(home.shell(&command("--http2")).await.trim(), "2 403");
    assert_eq!(home.shell(&command("--http1.1")).await.trim(), "1.1 403");
}

#[tokio::test]
async fn a_policy_may_ask_for_a_version_of_tls() {
    let dir = TempDir::new().unwrap();
    let (server, certificate) = server(&dir).await;
    let home = home(&server, &certificate);
    let policy = r#"{"Statement": [{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject",
        "Resource": "arn:aws:s3:::bucket/*",
        "Condition": {"NumericGreaterThanEquals": {"s3:TlsVersion": 1.3}}}]}"#;
    home.write("policy", policy.as_bytes());
    let script = format!(
        "import boto3\ns3 = boto3.client('s3')\ns3.create_bucket(Bucket='bucket')\n\
         s3.put_object(Bucket='bucket', Key='k', Body=b'x')\n\
         s3.put_bucket_policy(Bucket='bucket', Policy=open('{}').read())",
        home.path("policy").display()
    );
    home.python(&["-c", &script]).await;
    let url = &server.endpoint().url;
    for (version, expected) in [("--tls-max 1.2", "403"), ("--tlsv1.3", "200")] {
        let command = format!(
            "curl -s {version} --cacert {certificate} -o /dev/null -w '%{{http_code}}' {url}/bucket/k"
        );
        assert_eq!(home.shell(&command).await, expected, "{version}");
    }
}

/// Whether a client that trusts this certificate alone talks to the server.
async fn is_trusted(home: &ClientHome, certificate: &str, url: &str) -> bool {
    let command =
        format!("curl -s --cacert {certificate} -o /dev/null {url}/ && echo yes || echo no");
    home.shell(&command).await.trim() == "yes"
}

#[tokio::test]
async fn a_new_certificate_is_taken_at_a_hangup_and_a_bad_one_is_not() {
    const DEADLINE: Duration = Duration::from_secs(120);
    let dir = TempDir::new().unwrap();
    let (mut server, certificate) = server(&dir).await;
    let (home, url) = (home(&server, &certificate), server.endpoint().url.clone());
    let old = path(&dir, "old.pem");
    fs::copy(&certificate, &old).unwrap();
    new_certificate(&dir);
    assert!(
        !is_trusted(&home, &certificate, &url).await,
        "nobody said so yet"
    );

    server.gateway().process().hang_up();
    eventually("the new certificate", DEADLINE, async || {
        let is_new = is_trusted(&home, &certificate, &url).await;
        is_new.then_some(())
    })
    .await;
    assert!(!is_trusted(&home, &old, &url).await);

    let new = path(&dir, "new.pem");
    fs::copy(&certificate, &new).unwrap();
    fs::write(&certificate, "no certificate").unwrap();
    server.gateway().process().hang_up();
    eventually("a word about it", DEADLINE, async || {
        let said = server.log().contains("keeping the current one");
        said.then_some(())
    })
    .await;
    assert!(is_trusted(&home, &new, &url).await);
}

#[tokio::test]
async fn both_ways_to_sign_work_over_tls() {
    let dir = TempDir::new().unwrap();
    let (server, certificate) = server_with(&dir, &["--sigv2-headers"]).await;
    let home = home(&server, &certificate);
    let script = own_source("python").join("signatures.py");
    home.python(&["-B", script.to_str().unwrap()]).await;
}

#[tokio::test]
async fn curl_signs_by_header_and_follows_urls_over_http_2() {
    let dir = TempDir::new().unwrap();
    let (server, certificate) = server(&dir).await;
    let home = home(&server, &certificate);
    let at = server.endpoint();
    let curl = format!("curl -sS --fail --http2 --cacert {certificate} -w '%{{http_version}}'");
    let signed = format!(
        "{curl} --aws-sigv4 aws:amz:us-east-1:s3 --user {}:{}",
        at.access_key, at.secret_key
    );
    let body = "over http 2";
    let digest = "x-amz-content-sha256: UNSIGNED-PAYLOAD";
    for (arguments, answer) in [
        (format!("-X PUT {}/bucket", at.url), ""),
        (format!("-T - {}/bucket/k", at.url), ""),
        (format!("{}/bucket/k", at.url), body),
        (format!("-H 'range: bytes=0-3' {}/bucket/k", at.url), "over"),
        (format!("-X DELETE {}/bucket/k", at.url), ""),
    ] {
        let command = format!("printf %s '{body}' | {signed} -H '{digest}' {arguments}");
        assert_eq!(
            home.shell(&command).await,
            format!("{answer}2"),
            "{arguments}"
        );
    }
    for style in ["s3", "s3v4"] {
        let presign = |operation: &str| {
            let script = format!(
                "import boto3\nfrom botocore.config import Config\n\
                 s3 = boto3.client('s3', config=Config(signature_version='{style}'))\n\
                 print(s3.generate_presigned_url('{operation}', Params=dict(Bucket='bucket', Key='a+b ü')))"
            );
            let home = &home;
            async move { home.python(&["-c", &script]).await.trim().to_owned() }
        };
        let (put, get) = (presign("put_object").await, presign("get_object").await);
        let sent = format!("printf %s '{style}' | {curl} -T - '{put}'");
        assert_eq!(home.shell(&sent).await, "2", "{style}");
        assert_eq!(
            home.shell(&format!("{curl} '{get}'")).await,
            format!("{style}2")
        );
    }
}

#[tokio::test]
async fn the_sdk_for_rust_works_over_http_2() {
    const MIB: u64 = 1024 * 1024;
    let dir = TempDir::new().unwrap();
    let (server, certificate) = server(&dir).await;
    let client = sdk_over_tls(server.endpoint(), &fs::read(&certificate).unwrap());
    let bucket = client.create_bucket().bucket("bucket").send().await;
    bucket.expect("a bucket can be made");

    // Many streams of one connection at a time, each with a checksum behind its body.
    let objects = futures::future::join_all((0..8u64).map(|seed| {
        let (client, payload) = (client.clone(), Payload::new(seed, 3 * MIB + seed));
        async move {
            let key = format!("a//b c+ü/{seed}");
            let body = futures::stream::iter(payload.pieces(100_000));
            let put = client.put_object().bucket("bucket").key(&key);
            let put = put.checksum_algorithm(ChecksumAlgorithm::Crc32C);
            let put = put.body(body_of_pieces(payload.length_bytes, body)).send();
            put.await.expect("an object can be written");
            let got = client.get_object().bucket("bucket").key(&key);
            let got = got.checksum_mode(ChecksumMode::Enabled).send().await;
            let body = got.expect("it is there").body.collect().await;
            assert!(body.expect("it comes whole").into_bytes() == payload.bytes());
        }
    }));
    objects.await;
    let page = client
        .list_objects_v2()
        .bucket("bucket")
        .send()
        .await
        .unwrap();
    assert_eq!(page.key_count(), Some(8));

    let body = ByteStream::from_static(b"x");
    let refused = client
        .put_object()
        .bucket("nowhere")
        .key("k")
        .body(body)
        .send();
    let error = refused.await.unwrap_err().into_service_error();
    assert_eq!(error.meta().code(), Some("NoSuchBucket"));
}
