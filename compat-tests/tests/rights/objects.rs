//! Objects and versions: what is decided is decided about the very thing that is changed.

use compat_tests::{Endpoint, SignedRequest};
use http::Method;

use crate::kit::{World, delete, get, let_bob, open_bucket, put, request, world};

/// Rounds of a race in which nothing may go wrong in any order.
const ROUNDS: usize = 50;

async fn versioned(world: &World) -> String {
    let on = "<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>";
    put(&world.alice, "/bucket?versioning", on).await;
    let written = put(&world.alice, "/bucket/k", "kept").await;
    let version = written.header("x-amz-version-id");
    version.expect("a version").to_owned()
}

#[tokio::test]
async fn a_version_is_not_deleted_by_who_may_only_delete_objects() {
    let world = world().await;
    let version = versioned(&world).await;
    let_bob(&world, &["s3:DeleteObject"]).await;
    for name in ["versionId", "version%49d", "%76ersionId"] {
        let answer = delete(&world.bob, &format!("/bucket/k?{name}={version}")).await;
        answer.assert_error(403, "AccessDenied");
    }
    assert_eq!(delete(&world.bob, "/bucket/k").await.status, 204);
    let kept = get(&world.alice, &format!("/bucket/k?versionId={version}")).await;
    assert_eq!(kept.text(), "kept");
}

#[tokio::test]
async fn whoever_may_write_into_a_bucket_may_not_delete_versions_in_it() {
    let world = world().await;
    let version = versioned(&world).await;
    open_bucket(&world).await;
    assert_eq!(delete(&world.bob, "/bucket/k").await.status, 204);
    let path = format!("/bucket/k?versionId={version}");
    let answer = delete(&world.bob, &path).await;
    answer.assert_error(403, "AccessDenied");
    let listed =
        format!("<Delete><Object><Key>k</Key><VersionId>{version}</VersionId></Object></Delete>");
    let answer = request(&world.bob, Method::POST, "/bucket?delete").body(listed);
    let answer = answer.send().await;
    assert_eq!(
        answer.tag("Code"),
        Some("AccessDenied"),
        "{}",
        answer.text()
    );
    assert_eq!(get(&world.alice, &path).await.text(), "kept");
}

/// A request of bob's, whose own object is replaced by alice's after the gate let it pass.
async fn overtaken(world: &World, request: SignedRequest) -> String {
    put(&world.bob, "/bucket/k", "bob's").await;
    let replace = async || {
        put(&world.alice, "/bucket/k", "alice's").await;
    };
    let answer = request.send_body_after(replace).await;
    let (head, _) = answer.split_once("\r\n").expect("an answer");
    head.to_owned()
}

#[tokio::test]
async fn an_object_that_became_anothers_meanwhile_is_not_changed() {
    let world = world().await;
    open_bucket(&world).await;
    let public = "<AccessControlPolicy><AccessControlList><Grant><Grantee xmlns:xsi=\
        \"http://www.w3.org/2001/XMLSchema-instance\" xsi:type=\"Group\"><URI>\
        http://acs.amazonaws.com/groups/global/AllUsers</URI></Grantee>\
        <Permission>READ</Permission></Grant></AccessControlList></AccessControlPolicy>";
    let own = request(&world.bob, Method::PUT, "/bucket/k?acl").body(public);
    let said = overtaken(&world, own.clone()).await;
    assert!(said.contains("403"), "{said}");
    get(&world.bob, "/bucket/k")
        .await
        .assert_error(403, "AccessDenied");
    let acl = get(&world.alice, "/bucket/k?acl").await;
    assert!(!acl.text().contains("AllUsers"), "{}", acl.text());

    put(&world.bob, "/bucket/k", "bob's").await;
    assert_eq!(own.send().await.status, 200, "his own object is his");
}

#[tokio::test]
async fn locks_need_permissions_of_their_own() {
    let world = world().await;
    let create = request(&world.alice, Method::PUT, "/locked");
    let create = create.header("x-amz-bucket-object-lock-enabled", "true");
    assert_eq!(create.send().await.status, 200);
    let allow = async |actions: &[&str]| {
        let policy = serde_json::json!({"Statement": [{
            "Effect": "Allow", "Principal": {"AWS": "arn:aws:iam:::user/bob"},
            "Action": actions, "Resource": "arn:aws:s3:::locked/*",
        }]});
        put(&world.alice, "/locked?policy", &policy.to_string()).await;
    };
    let held = async |method: Method, path: &str| {
        let request = request(&world.bob, method, path).body("x");
        request
            .header("x-amz-object-lock-legal-hold", "ON")
            .send()
            .await
    };
    let retained = async || {
        let request = request(&world.bob, Method::PUT, "/locked/k").body("x");
        let request = request.header("x-amz-object-lock-mode", "GOVERNANCE");
        let until = "2099-01-01T00:00:00Z";
        let request = request.header("x-amz-object-lock-retain-until-date", until);
        request.send().await
    };
    allow(&["s3:PutObject"]).await;
    put(&world.bob, "/locked/k", "x").await;
    held(Method::PUT, "/locked/k")
        .await
        .assert_error(403, "AccessDenied");
    held(Method::POST, "/locked/k?uploads")
        .await
        .assert_error(403, "AccessDenied");
    retained().await.assert_error(403, "AccessDenied");
    allow(&["s3:PutObject", "s3:PutObjectLegalHold"]).await;
    assert_eq!(held(Method::PUT, "/locked/k").await.status, 200);
    retained().await.assert_error(403, "AccessDenied");
    allow(&["s3:PutObject", "s3:PutObjectRetention"]).await;
    assert_eq!(retained().await.status, 200);
}

#[tokio::test]
async fn attributes_are_asked_for_by_their_own_name() {
    let world = world().await;
    put(&world.alice, "/bucket/k", "x").await;
    let asked = async || {
        let request = request(&world.bob, Method::GET, "/bucket/k?attributes");
        request
            .header("x-amz-object-attributes", "ETag")
            .send()
            .await
    };
    let_bob(&world, &["s3:GetObject"]).await;
    asked().await.assert_error(403, "AccessDenied");
    let_bob(&world, &["s3:GetObject", "s3:GetObjectAttributes"]).await;
    assert_eq!(asked().await.status, 200);
}

#[tokio::test]
async fn a_copy_is_refused_where_its_source_is_not_whose_it_should_be() {
    let world = world().await;
    put(&world.alice, "/bucket/k", "x").await;
    let copy = async |owner: &str| {
        let request = request(&world.alice, Method::PUT, "/bucket/copy");
        let request = request.header("x-amz-copy-source", "/bucket/k");
        let request = request.header("x-amz-source-expected-bucket-owner", owner);
        request.send().await
    };
    copy("bob").await.assert_error(403, "AccessDenied");
    get(&world.alice, "/bucket/copy")
        .await
        .assert_error(404, "NoSuchKey");
    assert_eq!(copy("alice").await.status, 200);
}

#[tokio::test]
async fn governance_is_bypassed_only_for_the_version_that_a_policy_allows() {
    let world = world().await;
    let create = request(&world.alice, Method::PUT, "/locked");
    let create = create.header("x-amz-bucket-object-lock-enabled", "true");
    assert_eq!(create.send().await.status, 200);
    let retained = async |tags: &str| {
        let request = request(&world.alice, Method::PUT, "/locked/k").body("x");
        let request = request.header("x-amz-object-lock-mode", "GOVERNANCE");
        let until = "2099-01-01T00:00:00Z";
        let request = request.header("x-amz-object-lock-retain-until-date", until);
        let answer = request.header("x-amz-tagging", tags).send().await;
        answer
            .header("x-amz-version-id")
            .expect("a version")
            .to_owned()
    };
    let secret = retained("kind=secret").await;
    let scratch = retained("kind=scratch").await;
    let policy = r#"{"Statement": [
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam:::user/bob"},
         "Action": "s3:DeleteObjectVersion", "Resource": "arn:aws:s3:::locked/*"},
        {"Effect": "Allow", "Principal": {"AWS": "arn:aws:iam:::user/bob"},
         "Action": "s3:BypassGovernanceRetention", "Resource": "arn:aws:s3:::locked/*",
         "Condition": {"StringEquals": {"s3:ExistingObjectTag/kind": "scratch"}}}]}"#;
    put(&world.alice, "/locked?policy", policy).await;
    let bypass = async |version: &str| {
        let path = format!("/locked/k?versionId={version}");
        let request = request(&world.bob, Method::DELETE, &path);
        request
            .header("x-amz-bypass-governance-retention", "true")
            .send()
            .await
    };
    bypass(&secret).await.assert_error(403, "AccessDenied");
    assert_eq!(bypass(&scratch).await.status, 204);
}

#[tokio::test]
async fn a_list_is_made_for_the_owner_of_the_very_object_that_it_is_put_on() {
    let world = world().await;
    open_bucket(&world).await;
    let_bob(&world, &["s3:PutObjectAcl"]).await;
    for _ in 0..ROUNDS {
        put(&world.alice, "/bucket/k", "alice's").await;
        let list = request(&world.bob, Method::PUT, "/bucket/k?acl");
        let list = list.header("x-amz-acl", "public-read");
        let (listed, _) = futures::join!(list.send(), put(&world.bob, "/bucket/k", "bob's"));
        assert_eq!(listed.status, 200, "{}", listed.text());
        let acl = get(&world.bob, "/bucket/k?acl").await;
        assert!(!acl.text().contains("alice"), "{}", acl.text());
    }
}

/// A copy of `k` onto itself that replaces nothing but its metadata.
fn copy_onto_itself(user: &Endpoint) -> SignedRequest {
    let request = request(user, Method::PUT, "/bucket/k");
    let request = request.header("x-amz-copy-source", "/bucket/k");
    request.header("x-amz-metadata-directive", "REPLACE")
}

#[tokio::test]
async fn whoever_copies_an_object_onto_itself_owns_it() {
    let world = world().await;
    put(&world.alice, "/bucket/k", "x").await;
    let_bob(&world, &["s3:GetObject", "s3:PutObject"]).await;
    let answer = copy_onto_itself(&world.bob).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let acl = get(&world.bob, "/bucket/k?acl").await;
    assert_eq!(acl.status, 200, "{}", acl.text());
    assert!(!acl.text().contains("alice"), "{}", acl.text());
    get(&world.alice, "/bucket/k")
        .await
        .assert_error(403, "AccessDenied");
    let refused = copy_onto_itself(&world.carol).send().await;
    refused.assert_error(403, "AccessDenied");
}

#[tokio::test]
async fn a_copy_onto_itself_never_undoes_tags_that_are_set_meanwhile() {
    let world = world().await;
    put(&world.alice, "/bucket/k", "x").await;
    for round in 0..ROUNDS {
        let tags = format!(
            "<Tagging><TagSet><Tag><Key>round</Key><Value>{round}</Value></Tag></TagSet></Tagging>"
        );
        let (copied, _) = futures::join!(
            copy_onto_itself(&world.alice).send(),
            put(&world.alice, "/bucket/k?tagging", &tags),
        );
        assert_eq!(copied.status, 200, "{}", copied.text());
        let kept = get(&world.alice, "/bucket/k?tagging").await;
        assert_eq!(kept.tag("Value"), Some(&*round.to_string()));
    }
}
