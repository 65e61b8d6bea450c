//! The master key is changed: nothing is lost meanwhile, and afterwards the old one is not needed.

use std::fs;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::ServerSideEncryption;
use compat_tests::{Endpoint, Payload, Standalone, sdk};

use crate::kit::{MIB, assert_stored, client_with_bucket};

const PAYLOAD: Payload = Payload::new(1, 3 * MIB);

async fn put_sealed(client: &Client, key: &str) {
    let put = client.put_object().bucket("big").key(key);
    let put = put.server_side_encryption(ServerSideEncryption::Aes256);
    let put = put.body(ByteStream::from(PAYLOAD.bytes()));
    put.send().await.expect("the object is stored");
}

/// The endpoint with the keys of a new user.
async fn new_user(server: &Standalone) -> Endpoint {
    let created = server.admin(&["user", "create", "Alice"]).await;
    let created = created.expect_success("user create");
    let field = |name: &str| {
        let line = created.lines().find_map(|line| line.strip_prefix(name));
        line.expect("the field is shown").trim().to_owned()
    };
    let mut endpoint = server.endpoint().clone();
    endpoint.access_key = field("access key");
    endpoint.secret_key = field("secret key");
    endpoint
}

async fn may_sign(endpoint: &Endpoint) -> bool {
    sdk(endpoint).list_buckets().send().await.is_ok()
}

#[tokio::test]
async fn secrets_and_objects_outlive_a_change_of_the_master_key() {
    let mut server = Standalone::start().await;
    let client = client_with_bucket(server.endpoint()).await;
    put_sealed(&client, "before").await;
    let alice = new_user(&server).await;
    let file = server.data().join("master-key");
    let old = fs::read_to_string(&file).unwrap();

    let rotated = server.admin(&["master-key", "rotate"]).await;
    let _ = rotated.expect_success("master-key rotate");
    let early = server.admin(&["master-key", "reseal"]).await;
    let said = early.expect_failure();
    assert!(said.contains("restart it first"), "{said}");
    server.gateway().terminate().await;
    server.gateway().start_again().await;
    assert_stored(&client, "before", PAYLOAD).await;
    assert!(may_sign(&alice).await, "the old key still opens");
    put_sealed(&client, "after").await;

    let resealed = server.admin(&["master-key", "reseal"]).await;
    let said = resealed.expect_success("master-key reseal");
    assert!(
        said.contains("1 secrets of users and the keys of 1 objects"),
        "{said}"
    );
    assert!(
        said.contains("no longer needs the earlier master keys"),
        "{said}"
    );
    server.gateway().terminate().await;
    let kept = fs::read_to_string(&file).unwrap();
    assert!(
        kept.ends_with(&format!("{}\n", old.trim())),
        "the old key is kept"
    );
    let (new, _) = kept.split_once('\n').expect("two lines");
    assert_ne!(new, old.trim());
    fs::write(&file, new).unwrap();
    server.gateway().start_again().await;
    assert_stored(&client, "before", PAYLOAD).await;
    assert_stored(&client, "after", PAYLOAD).await;
    assert!(may_sign(&alice).await, "the new key is enough");
}
