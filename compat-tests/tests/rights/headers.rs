//! What a write says of its object in headers, and what a copy carries along: permissions of their own.

use http::Method;

use crate::kit::{World, delete, get, let_bob, put, request, world};

/// Bob may write and read, but not what `denied` names.
async fn deny_bob(world: &World, denied: &[&str]) {
    let bob = serde_json::json!({"AWS": "arn:aws:iam:::user/bob"});
    let policy = serde_json::json!({"Version": "2012-10-17", "Statement": [
        {"Effect": "Allow", "Principal": bob, "Action": ["s3:PutObject", "s3:GetObject"],
            "Resource": "arn:aws:s3:::bucket/*"},
        {"Effect": "Deny", "Principal": bob, "Action": denied,
            "Resource": "arn:aws:s3:::bucket/*"},
    ]});
    put(&world.alice, "/bucket?policy", &policy.to_string()).await;
}

#[tokio::test]
async fn what_a_policy_denies_is_not_had_by_a_header_either() {
    let world = world().await;
    let writes = [
        (Method::PUT, "/bucket/k", ""),
        (Method::POST, "/bucket/k?uploads", ""),
        (Method::PUT, "/bucket/k", "/bucket/source"),
    ];
    put(&world.alice, "/bucket/source", "x").await;
    for (denied, header, value) in [
        ("s3:PutObjectAcl", "x-amz-acl", "public-read"),
        ("s3:PutObjectAcl", "x-amz-grant-read", "id=\"carol\""),
        ("s3:PutObjectTagging", "x-amz-tagging", "a=b"),
    ] {
        for (method, path, source) in &writes {
            let write = |named: bool| {
                let mut write = request(&world.bob, method.clone(), path);
                if !source.is_empty() {
                    write = write.header("x-amz-copy-source", source);
                }
                match named {
                    true => write.header(header, value),
                    false => write.header("x-amz-acl", "private"),
                }
            };
            deny_bob(&world, &[denied]).await;
            let answer = write(true).send().await;
            answer.assert_error(403, "AccessDenied");
            assert_eq!(write(false).send().await.status, 200, "{method} {path}");
            deny_bob(&world, &["s3:DeleteObject"]).await;
            let answer = write(true).send().await;
            assert_eq!(answer.status, 200, "{method} {path} {}", answer.text());
        }
    }
}

#[tokio::test]
async fn a_copy_hands_no_tags_to_whoever_may_not_read_them() {
    let world = world().await;
    let tagged = request(&world.alice, Method::PUT, "/bucket/tagged");
    let tagged = tagged.header("x-amz-tagging", "secret=yes").send().await;
    assert_eq!(tagged.status, 200);
    put(&world.alice, "/bucket/plain", "x").await;
    put(&world.bob, "/bobs-bucket", "").await;
    let copy = |source: &str, directive: &str| {
        let copy = request(&world.bob, Method::PUT, "/bobs-bucket/k");
        let copy = copy.header("x-amz-copy-source", source);
        copy.header("x-amz-tagging-directive", directive).send()
    };
    let_bob(&world, &["s3:GetObject"]).await;
    let answer = copy("/bucket/tagged", "COPY").await;
    answer.assert_error(403, "AccessDenied");
    assert_eq!(copy("/bucket/plain", "COPY").await.status, 200);
    assert_eq!(copy("/bucket/tagged", "REPLACE").await.status, 200);
    let_bob(&world, &["s3:GetObject", "s3:GetObjectTagging"]).await;
    assert_eq!(copy("/bucket/tagged", "COPY").await.status, 200);
    let tags = get(&world.bob, "/bobs-bucket/k?tagging").await;
    assert_eq!(tags.tag("Key"), Some("secret"));
}

#[tokio::test]
async fn a_policy_stays_in_the_account_of_the_buckets_owner() {
    let world = world().await;
    let_bob(&world, &["s3:*"]).await;
    let path = "/bucket?policy";
    let answer = get(&world.bob, path).await;
    answer.assert_error(405, "MethodNotAllowed");
    assert_eq!(answer.tag("ResourceType"), Some("BUCKETPOLICY"));
    let answer = request(&world.bob, Method::PUT, path).body("{}").send();
    answer.await.assert_error(405, "MethodNotAllowed");
    let answer = delete(&world.bob, path).await;
    answer.assert_error(405, "MethodNotAllowed");
    get(&world.carol, path)
        .await
        .assert_error(403, "AccessDenied");
    assert_eq!(get(&world.alice, path).await.status, 200);
}

#[tokio::test]
async fn a_policy_that_can_never_match_is_refused() {
    let world = world().await;
    let statement = |principal: &str, action: &str, resource: &str| {
        format!(
            r#"{{"Statement": {{"Effect": "Deny", "Principal": {principal}, "Action": "{action}",
            "Resource": "arn:aws:s3:::{resource}", "Effect": "Deny"}}}}"#
        )
    };
    let twice = statement("\"*\"", "s3:GetObject", "bucket/*");
    let once = |text: String| text.replace(r#", "Effect": "Deny"}"#, "}");
    for (policy, said) in [
        (
            twice.clone(),
            "Policies must not have the same member twice",
        ),
        (
            once(statement("\"*\"", "s3:GetObjekt", "bucket/*")),
            "Policy has invalid action",
        ),
        (
            once(statement("{\"AWS\": []}", "s3:GetObject", "bucket/*")),
            "Invalid principal in policy",
        ),
        (
            once(statement("\"*\"", "s3:ListBucket", "bucket/*")),
            "Action does not apply to any resource(s) in statement",
        ),
    ] {
        let answer = request(&world.alice, Method::PUT, "/bucket?policy").body(policy);
        let answer = answer.send().await;
        answer.assert_error(400, "MalformedPolicy");
        assert_eq!(answer.tag("Message"), Some(said));
    }
    put(&world.alice, "/bucket?policy", &once(twice)).await;
}
