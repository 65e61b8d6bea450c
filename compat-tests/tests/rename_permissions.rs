//! Who may rename: whoever may read and delete the source and write the destination. And what looks
//! like a rename but is none.

use compat_tests::{Answer, Endpoint, SignedRequest, Standalone};
use http::{Method, StatusCode};

/// A bucket of root's in which a user may do what `statements` say, with an object `from/a` in it.
struct Shared {
    server: Standalone,
    bob: Endpoint,
}

async fn shared(statements: &[(&str, &str)]) -> Shared {
    let dir = tempfile::TempDir::new().expect("a directory");
    let users = dir.path().join("users.toml");
    let entry = "[[user]]\nid = \"bob\"\ndisplay_name = \"Bob\"\naccess_key = \"AKBOB\"\nsecret_key = \"secret-of-bob\"\n";
    std::fs::write(&users, entry).expect("the directory can be written");
    let server =
        Standalone::start_with(&["--users-file", users.to_str().expect("an ASCII path")]).await;
    let statements: Vec<_> = statements
        .iter()
        .map(|(action, keys)| {
            format!(
                r#"{{"Effect":"Allow","Principal":{{"AWS":"arn:aws:iam:::user/bob"}},"Action":"{action}","Resource":"arn:aws:s3:::bucket/{keys}"}}"#
            )
        })
        .collect();
    let policy = format!(
        r#"{{"Version":"2012-10-17","Statement":[{}]}}"#,
        statements.join(",")
    );
    let root = server.endpoint().clone();
    for (path, body) in [
        ("/bucket", ""),
        ("/bucket?policy", policy.as_str()),
        ("/bucket/from/a", "a"),
    ] {
        let put = SignedRequest::new(&root, Method::PUT, path).body(body.to_owned());
        let answer = put.send().await;
        assert!(answer.status.is_success(), "{path}: {}", answer.text());
    }
    let bob = Endpoint {
        access_key: "AKBOB".into(),
        secret_key: "secret-of-bob".into(),
        ..root
    };
    Shared { server, bob }
}

impl Shared {
    /// Bob renames `from/a` to `to/a`.
    async fn rename(&self) -> Answer {
        let rename = SignedRequest::new(&self.bob, Method::PUT, "/bucket/to/a?renameObject");
        rename.header("x-amz-rename-source", "from/a").send().await
    }

    async fn status_of(&self, key: &str) -> StatusCode {
        let path = format!("/bucket/{key}");
        let head = SignedRequest::new(self.server.endpoint(), Method::HEAD, &path);
        head.send().await.status
    }
}

const ALL: [(&str, &str); 3] = [
    ("s3:GetObject", "from/*"),
    ("s3:DeleteObject", "from/*"),
    ("s3:PutObject", "to/*"),
];

#[tokio::test]
async fn whoever_may_read_delete_and_write_may_rename() {
    let shared = shared(&ALL).await;
    let answer = shared.rename().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(shared.status_of("from/a").await, 404);
    assert_eq!(shared.status_of("to/a").await, 200);
}

#[tokio::test]
async fn each_of_the_three_permissions_is_needed() {
    for missing in 0..ALL.len() {
        let mut granted = ALL.to_vec();
        let (action, _) = granted.remove(missing);
        let shared = shared(&granted).await;
        let answer = shared.rename().await;
        assert_eq!(answer.status, 403, "without {action}: {}", answer.text());
        assert_eq!(shared.status_of("from/a").await, 200, "without {action}");
        assert_eq!(shared.status_of("to/a").await, 404, "without {action}");
    }
}

#[tokio::test]
async fn where_versions_are_kept_one_must_be_allowed_to_take_one_away() {
    let shared = shared(&ALL).await;
    let versioning = r"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    let put = SignedRequest::new(shared.server.endpoint(), Method::PUT, "/bucket?versioning");
    assert_eq!(put.body(versioning).send().await.status, 200);
    shared.rename().await.assert_error(403, "AccessDenied");
    assert_eq!(shared.status_of("from/a").await, 200);
}

#[tokio::test]
async fn a_put_that_names_a_source_of_a_rename_writes_nothing() {
    let shared = shared(&ALL).await;
    let put = SignedRequest::new(shared.server.endpoint(), Method::PUT, "/bucket/to/a");
    let answer = put.header("x-amz-rename-source", "from/a").send().await;
    answer.assert_error(400, "InvalidRequest");
    assert_eq!(shared.status_of("to/a").await, 404);
}
