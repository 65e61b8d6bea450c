//! A gateway killed at the two moments around a commit: when the data is durable and the metadata is
//! not, and when both are and nobody was told. What the object is then is never in doubt.

use std::time::Duration;

use aws_sdk_s3::Client;
use aws_sdk_s3::primitives::ByteStream;
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use compat_tests::{Cluster, Endpoint, Payload, Proxy, eventually, sdk};

use crate::kit::{MIB, assert_stored, client_with_bucket, put};

/// Garbage goes at once, and orphans soon: no write may take longer than half of their age.
const HASTY: [(&str, &str); 4] = [
    ("--gc-grace", "1"),
    ("--reconcile-every", "1"),
    ("--orphan-age", "20"),
    ("--orphan-quarantine", "1"),
];
/// Orphans wait their time.
const CLEANED_WITHIN: Duration = Duration::from_secs(120);
const OLD: Payload = Payload::new(1, MIB);
const NEW: Payload = Payload::new(2, MIB + 1);

/// Kills are told by the wire: within this time.
const KILLED_WITHIN: Duration = Duration::from_secs(120);

async fn restart(cluster: &mut Cluster, nodes: usize) {
    cluster.gateway().kill().await; // it is dead; this waits for its end
    cluster.gateway().start_again().await;
    cluster.wait_for_live(nodes).await;
}

/// Puts an object under a key that has another, and a new one; the gateway is killed when a chunk
/// server says that the first chunk is durable.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_killed_between_data_and_commit_leaves_the_old_object() {
    let mut cluster = Cluster::start_with(0, 1, &HASTY).await;
    cluster.add_node_behind_proxy().await;
    cluster.wait_for_live(1).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    put(&client, "old", OLD).await;
    for key in ["old", "new"] {
        let pid = cluster.gateway().process().pid();
        let proxy = cluster.nodes()[0].proxy();
        proxy.kill_at_answer("PUT /v1/chunks/", pid);

        let put = client.put_object().bucket("big").key(key);
        let put = put.body(ByteStream::from(NEW.bytes())).send().await;

        assert!(put.is_err(), "nobody could acknowledge it");
        assert!(cluster.nodes()[0].proxy().has_killed());
        restart(&mut cluster, 1).await;
    }
    assert_stored(&client, "old", OLD).await;
    let listed = client.list_objects_v2().bucket("big").send().await.unwrap();
    let keys: Vec<_> = listed.contents().iter().filter_map(|o| o.key()).collect();
    assert_eq!(keys, ["old"]);
    // The two chunks that nobody speaks of are cleaned up.
    cluster
        .wait_for_copies(CLEANED_WITHIN, |copies| copies.len() == 1)
        .await;
    assert_stored(&client, "old", OLD).await;
}

/// What a client does through a proxy that kills the gateway at its answer.
async fn killed_at_answer(
    cluster: &mut Cluster,
    request: &'static str,
    act: impl AsyncFnOnce(Client),
) {
    let proxy = Proxy::start().await;
    proxy.lead_to(cluster.endpoint().authority());
    proxy.kill_at_answer(request, cluster.gateway().process().pid());
    let through = Endpoint {
        url: proxy.url(),
        ..cluster.endpoint().clone()
    };
    act(sdk(&through)).await;
    eventually("the kill", KILLED_WITHIN, async || {
        proxy.has_killed().then_some(())
    })
    .await;
    let nodes = cluster.nodes().len();
    restart(cluster, nodes).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_stands_although_the_gateway_died_before_it_could_say_so() {
    let mut cluster = Cluster::start(1, 1).await;
    let client = client_with_bucket(cluster.endpoint()).await;
    for key in ["put", "deleted"] {
        put(&client, key, OLD).await;
    }

    killed_at_answer(&mut cluster, "PUT /big/put", async |client| {
        let put = client.put_object().bucket("big").key("put");
        let put = put.body(ByteStream::from(NEW.bytes())).send().await;
        assert!(put.is_err(), "nobody could acknowledge it");
    })
    .await;
    assert_stored(&client, "put", NEW).await;

    killed_at_answer(&mut cluster, "DELETE /big/deleted", async |client| {
        let delete = client.delete_object().bucket("big").key("deleted");
        assert!(delete.send().await.is_err(), "nobody could acknowledge it");
    })
    .await;
    let head = client.head_object().bucket("big").key("deleted").send();
    assert!(head.await.unwrap_err().into_service_error().is_not_found());

    let create = client.create_multipart_upload().bucket("big").key("parts");
    let upload = create.send().await.unwrap().upload_id.unwrap();
    let part = client.upload_part().bucket("big").key("parts");
    let part = part.upload_id(&upload).part_number(1);
    let part = part.body(ByteStream::from(NEW.bytes())).send().await;
    let part = CompletedPart::builder()
        .part_number(1)
        .set_e_tag(part.unwrap().e_tag);
    let parts = CompletedMultipartUpload::builder()
        .parts(part.build())
        .build();
    killed_at_answer(&mut cluster, "POST /big/parts", async |client| {
        let complete = client.complete_multipart_upload().bucket("big");
        let complete = complete.key("parts").upload_id(&upload);
        let complete = complete.multipart_upload(parts.clone()).send();
        assert!(complete.await.is_err(), "nobody could acknowledge it");
    })
    .await;
    assert_stored(&client, "parts", NEW).await;
    // A client that tries again is told the same as if it had been told the first time.
    let again = client.complete_multipart_upload().bucket("big");
    let again = again.key("parts").upload_id(&upload);
    let again = again.multipart_upload(parts).send().await;
    assert!(again.is_ok(), "{again:?}");
}
