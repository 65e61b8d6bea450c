//! A server with the users alice, bob and carol, and requests of theirs.

use compat_tests::{Answer, Endpoint, SignedRequest, Standalone, send_unsigned};
use http::Method;
use tempfile::TempDir;

pub(crate) struct World {
    // Gone with the world.
    _server: Standalone,
    pub(crate) alice: Endpoint,
    pub(crate) bob: Endpoint,
    pub(crate) carol: Endpoint,
    _users: TempDir,
}

/// A server on which alice owns the bucket `bucket`.
pub(crate) async fn world() -> World {
    let users = TempDir::new().expect("the temporary directory can be written");
    let file = users.path().join("users.toml");
    let entry = |name: &str| {
        format!(
            "[[user]]\nid = \"{name}\"\ndisplay_name = \"{name}\"\naccess_key = \"AK{name}\"\n\
             secret_key = \"secret-of-{name}\"\n"
        )
    };
    let entries: String = ["alice", "bob", "carol"].map(entry).concat();
    std::fs::write(&file, entries).expect("the temporary directory can be written");
    let file = file.to_str().expect("a path in UTF-8");
    let server = Standalone::start_with(&["--users-file", file]).await;
    let user = |name: &str| Endpoint {
        access_key: format!("AK{name}"),
        secret_key: format!("secret-of-{name}"),
        ..server.endpoint().clone()
    };
    let world = World {
        alice: user("alice"),
        bob: user("bob"),
        carol: user("carol"),
        _server: server,
        _users: users,
    };
    put(&world.alice, "/bucket", "").await;
    world
}

pub(crate) fn request(user: &Endpoint, method: Method, path: &str) -> SignedRequest {
    SignedRequest::new(user, method, path)
}

/// A PUT that succeeds.
pub(crate) async fn put(user: &Endpoint, path: &str, body: &str) -> Answer {
    let answer = request(user, Method::PUT, path).body(body.to_owned());
    let answer = answer.send().await;
    assert!(answer.status.is_success(), "{path}: {}", answer.text());
    answer
}

pub(crate) async fn get(user: &Endpoint, path: &str) -> Answer {
    request(user, Method::GET, path).send().await
}

pub(crate) async fn delete(user: &Endpoint, path: &str) -> Answer {
    request(user, Method::DELETE, path).send().await
}

/// A request that nobody signed.
pub(crate) async fn unsigned(at: &Endpoint, method: Method, path: &str) -> Answer {
    let url = format!("{}{path}", at.url);
    let request = http::Request::builder().method(method).uri(url);
    send_unsigned(request.body(bytes::Bytes::new()).expect("a request")).await
}

/// Lets bob do these actions to the objects in the bucket.
pub(crate) async fn let_bob(world: &World, actions: &[&str]) {
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [{
        "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam:::user/bob"},
        "Action": actions, "Resource": ["arn:aws:s3:::bucket", "arn:aws:s3:::bucket/*"],
    }]});
    put(&world.alice, "/bucket?policy", &policy.to_string()).await;
}

/// Lets everybody write into the bucket, by its list.
pub(crate) async fn open_bucket(world: &World) {
    let request = request(&world.alice, Method::PUT, "/bucket?acl");
    let answer = request.header("x-amz-acl", "public-read-write").send();
    assert_eq!(answer.await.status, 200);
}
