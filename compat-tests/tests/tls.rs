//! The S3 listener over TLS: boto3 with checks of the certificate, a client's keys, HTTP/2.

use std::fs;
use std::time::Duration;

use compat_tests::{ClientHome, Standalone, eventually, own_source};
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
    let (certificate, key) = new_certificate(dir);
    let server = Standalone::start_with(&["--tls-cert", &certificate, "--tls-key", &key]).await;
    (server, certificate)
}

fn home(server: &Standalone, certificate: &str) -> ClientHome {
    let home = ClientHome::new(server.endpoint());
    let trust = format!("[default]\nca_bundle = {certificate}\n");
    home.write(".aws/config", trust.as_bytes());
    home
}

#[tokio::test]
async fn boto3_works_over_tls_and_sends_its_checksums_in_trailers() {
    let dir = TempDir::new().unwrap();
    let (server, certificate) = server(&dir).await;
    assert!(server.endpoint().url.starts_with("https://"));
    let home = home(&server, &certificate);
    for script in ["objects.py", "checksums.py", "multipart.py"] {
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

/// Whether a client that trusts this certificate alone talks to the server.
async fn is_trusted(home: &ClientHome, certificate: &str, url: &str) -> bool {
    let command =
        format!("curl -s --cacert {certificate} -o /dev/null {url}/ && echo yes || echo no");
    home.shell(&command).await.trim() == "yes"
}

#[tokio::test]
async fn a_new_certificate_is_taken_at_a_hangup_and_a_bad_one_is_not() {
    const DEADLINE: Duration = Duration::from_secs(30);
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
        let said = server.log().contains("the one before stays in use");
        said.then_some(())
    })
    .await;
    assert!(is_trusted(&home, &new, &url).await);
}
