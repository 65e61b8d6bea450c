//! Multipart uploads: who began one may list and abort it, whoever owns the bucket.

use compat_tests::Endpoint;
use http::Method;

use crate::kit::{delete, get, let_bob, open_bucket, put, request, world};

async fn begin(user: &Endpoint) -> String {
    let begun = request(user, Method::POST, "/bucket/k?uploads")
        .send()
        .await;
    let id = begun.tag("UploadId").map(str::to_owned);
    id.unwrap_or_else(|| panic!("{}", begun.text()))
}

#[tokio::test]
async fn an_upload_is_aborted_by_who_began_it_and_by_the_owner_of_the_bucket() {
    let world = world().await;
    open_bucket(&world).await;
    let path = format!("/bucket/k?uploadId={}", begin(&world.bob).await);
    delete(&world.carol, &path)
        .await
        .assert_error(403, "AccessDenied");
    get(&world.carol, &path)
        .await
        .assert_error(403, "AccessDenied");
    assert_eq!(get(&world.bob, &path).await.status, 200);
    assert_eq!(delete(&world.bob, &path).await.status, 204);
    let path = format!("/bucket/k?uploadId={}", begin(&world.bob).await);
    assert_eq!(delete(&world.alice, &path).await.status, 204);
}

#[tokio::test]
async fn an_upload_shows_who_began_it_where_the_bucket_owns_what_comes_of_it() {
    let world = world().await;
    let enforced = "<OwnershipControls><Rule><ObjectOwnership>BucketOwnerEnforced</ObjectOwnership>\
        </Rule></OwnershipControls>";
    put(&world.alice, "/bucket?ownershipControls", enforced).await;
    let_bob(&world, &["s3:PutObject"]).await;
    let path = format!("/bucket/k?uploadId={}", begin(&world.bob).await);
    for listing in [path.as_str(), "/bucket?uploads"] {
        let listed = get(&world.alice, listing).await;
        let shown = |tag: &str| {
            let (_, behind) = listed
                .text()
                .split_once(&format!("<{tag}>"))
                .expect("it is shown");
            behind
                .split_once("<ID>")
                .and_then(|(_, id)| id.split('<').next().map(str::to_owned))
        };
        assert_eq!(
            shown("Initiator").as_deref(),
            Some("bob"),
            "{}",
            listed.text()
        );
        assert_eq!(
            shown("Owner").as_deref(),
            Some("alice"),
            "{}",
            listed.text()
        );
    }
    assert_eq!(get(&world.bob, &path).await.status, 200);
    assert_eq!(delete(&world.bob, &path).await.status, 204);
}
