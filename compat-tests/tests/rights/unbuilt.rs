//! Operations that are not built, asked for by those who might use them.

use http::Method;

use crate::kit::{get, request, world};

#[tokio::test]
async fn an_operation_that_is_not_built_says_so_to_the_owner_and_to_nobody_else() {
    let world = world().await;
    for resource in [
        "accelerate",
        "replication",
        "metrics&id=x",
        "inventory&id=x",
    ] {
        let path = format!("/bucket?{resource}");
        let answer = get(&world.alice, &path).await;
        answer.assert_error(501, "NotImplemented");
        get(&world.bob, &path)
            .await
            .assert_error(403, "AccessDenied");
    }
    let restore = request(&world.alice, Method::POST, "/bucket/k?restore");
    restore.send().await.assert_error(501, "NotImplemented");
}
