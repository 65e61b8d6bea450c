//! Users by `gateway admin user`: made, shown, disabled, rotated and deleted while the gateway runs.

use std::fs;
use std::path::Path;

use compat_tests::{Answer, Endpoint, SignedRequest, Standalone};
use http::Method;

/// `gateway admin user …` against a server.
async fn user(server: &Standalone, words: &[&str]) -> Result<String, String> {
    let words = [&["user"], words].concat();
    server.admin(&words).await.outcome()
}

/// What stands behind a word in the answer.
fn field<'a>(answer: &'a str, word: &str) -> &'a str {
    let line = answer.lines().find_map(|line| line.strip_prefix(word));
    line.expect("the answer has the field").trim()
}

fn signed_by(server: &Standalone, made: &str) -> Endpoint {
    Endpoint {
        access_key: field(made, "access key").to_owned(),
        secret_key: field(made, "secret key").to_owned(),
        ..server.endpoint().clone()
    }
}

async fn list_buckets(endpoint: &Endpoint) -> Answer {
    SignedRequest::new(endpoint, Method::GET, "/").send().await
}

#[tokio::test]
async fn a_user_signs_from_its_creation_to_its_end() {
    let server = Standalone::start().await;
    let made = user(&server, &["create", "Alice", "--email", "a@x"])
        .await
        .unwrap();
    let id = field(&made, "id").to_owned();
    let alice = signed_by(&server, &made);
    assert_eq!(list_buckets(&alice).await.status, 200);
    let listed = user(&server, &["list"]).await.unwrap();
    assert!(listed.contains(&id) && listed.contains("Alice"), "{listed}");
    assert!(!listed.contains(&alice.secret_key));

    user(&server, &["disable", &id]).await.unwrap();
    list_buckets(&alice)
        .await
        .assert_error(403, "InvalidAccessKeyId");
    assert!(
        user(&server, &["show", &id])
            .await
            .unwrap()
            .contains("disabled")
    );
    user(&server, &["enable", &id]).await.unwrap();
    assert_eq!(list_buckets(&alice).await.status, 200);

    let rotated = user(&server, &["rotate", &id]).await.unwrap();
    list_buckets(&alice)
        .await
        .assert_error(403, "InvalidAccessKeyId");
    let alice = signed_by(&server, &rotated);
    assert_eq!(list_buckets(&alice).await.status, 200);

    user(&server, &["delete", &id]).await.unwrap();
    list_buckets(&alice)
        .await
        .assert_error(403, "InvalidAccessKeyId");
    let missing = user(&server, &["show", &id]).await.unwrap_err();
    assert!(missing.contains("no such user"), "{missing}");
}

#[tokio::test]
async fn an_email_is_one_users_alone() {
    let server = Standalone::start().await;
    user(&server, &["create", "Alice", "--email", "a@x"])
        .await
        .unwrap();
    let taken = user(&server, &["create", "Bob", "--email", "a@x"]).await;
    assert!(taken.unwrap_err().contains("used by another user"));
}

#[tokio::test]
async fn no_secret_key_lies_open_in_the_metadata() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("users.toml");
    let secret = "a-secret-that-must-not-be-found";
    let entry = format!(
        "[[user]]\nid = \"bob\"\ndisplay_name = \"Bob\"\naccess_key = \"AKBOB\"\nsecret_key = \"{secret}\"\n"
    );
    fs::write(&file, entry).unwrap();
    let mut server = Standalone::start_with(&["--users-file", file.to_str().unwrap()]).await;
    let bob = Endpoint {
        access_key: "AKBOB".into(),
        secret_key: secret.into(),
        ..server.endpoint().clone()
    };
    assert_eq!(list_buckets(&bob).await.status, 200);
    server.gateway().terminate().await;
    assert!(
        holds(&server.data(), b"AKBOB"),
        "the search finds what is there"
    );
    assert!(!holds(&server.data(), secret.as_bytes()));
}

#[tokio::test]
async fn an_account_before_a_bucket_s_name_confirms_whose_it_is() {
    let dir = tempfile::TempDir::new().unwrap();
    let file = dir.path().join("users.toml");
    let entry = |id: &str, key: &str| {
        format!(
            "[[user]]\nid = '{id}'\ndisplay_name = '{key}'\naccess_key = '{key}'\nsecret_key = 'secret-of-{key}'\n"
        )
    };
    let users = entry("acme$alice", "AKALICE") + &entry("bob", "AKBOB");
    fs::write(&file, users).unwrap();
    let server = Standalone::start_with(&["--users-file", file.to_str().unwrap()]).await;
    let signed_by = |key: &str| Endpoint {
        access_key: key.to_owned(),
        secret_key: format!("secret-of-{key}"),
        ..server.endpoint().clone()
    };
    let (alice, bob) = (signed_by("AKALICE"), signed_by("AKBOB"));
    let send = async |at: &Endpoint, method: Method, path: &str, body: &str| {
        let request = SignedRequest::new(at, method, path).body(body.to_owned());
        request.send().await
    };
    for (at, bucket) in [(&alice, "photos"), (&bob, "notes")] {
        let made = send(at, Method::PUT, &format!("/{bucket}"), "").await;
        assert_eq!(made.status, 200, "{}", made.text());
        let put = send(at, Method::PUT, &format!("/{bucket}/k"), bucket).await;
        assert_eq!(put.status, 200, "{}", put.text());
    }
    for (at, address) in [(&alice, "acme:photos"), (&bob, ":notes")] {
        let read = send(at, Method::GET, &format!("/{address}/k"), "").await;
        assert!(address.ends_with(read.text()), "{}", read.text());
        let listed = send(at, Method::GET, &format!("/{address}"), "").await;
        assert_eq!(listed.tag("KeyCount").or(listed.tag("Key")), Some("k"));
        assert!(address.ends_with(listed.tag("Name").unwrap()));
    }
    for (at, address) in [
        (&alice, ":photos"),
        (&alice, "other:photos"),
        (&bob, "acme:notes"),
    ] {
        for (method, key) in [
            (Method::GET, "/k"),
            (Method::PUT, "/k"),
            (Method::DELETE, "/k"),
        ] {
            let answer = send(at, method, &format!("/{address}{key}"), "").await;
            answer.assert_error(404, "NoSuchBucket");
        }
        let removed = send(at, Method::DELETE, &format!("/{address}"), "").await;
        removed.assert_error(404, "NoSuchBucket");
    }
    let made = send(&alice, Method::PUT, "/acme:other", "").await;
    made.assert_error(400, "InvalidBucketName");
    let barred = send(&bob, Method::GET, "/acme:photos/k", "").await;
    barred.assert_error(403, "AccessDenied");
    let policy = r#"{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:GetObject",
        "Principal": {"AWS": "arn:aws:iam::acme:root"}, "Resource": "arn:aws:s3:::notes/*"}]}"#;
    let set = send(&bob, Method::PUT, "/:notes?policy", policy).await;
    assert!(set.status.is_success(), "{}", set.text());
    assert_eq!(
        send(&alice, Method::GET, "/notes/k", "").await.text(),
        "notes"
    );
}

/// Whether any file below `dir` holds these bytes.
fn holds(dir: &Path, wanted: &[u8]) -> bool {
    fs::read_dir(dir).expect("a directory").any(|entry| {
        let path = entry.expect("an entry").path();
        match path.is_dir() {
            true => holds(&path, wanted),
            false => {
                let bytes = fs::read(&path).unwrap_or_default();
                bytes.windows(wanted.len()).any(|window| window == wanted)
            }
        }
    })
}
