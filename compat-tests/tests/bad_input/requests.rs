//! Requests that mean something else, or nothing.

use compat_tests::SignedRequest;
use http::Method;

use crate::kit::{
    WRONG_MD5, assert_nothing_changed, crc32, delete, post, put, server, start_upload,
    with_content_md5,
};

#[tokio::test]
async fn an_unknown_sub_resource_is_not_a_write_of_the_whole() {
    let server = server().await;
    let endpoint = server.endpoint();
    for query in ["torrent", "metadata", "unknown=1", "restore", "acls"] {
        let path = format!("/bucket/kept?{query}");
        put(endpoint, &path)
            .body("x")
            .send()
            .await
            .assert_error(501, "NotImplemented");
        delete(endpoint, &path)
            .send()
            .await
            .assert_error(501, "NotImplemented");
        let path = format!("/bucket?{query}");
        delete(endpoint, &path)
            .send()
            .await
            .assert_error(501, "NotImplemented");
        let path = format!("/another?{query}");
        put(endpoint, &path)
            .send()
            .await
            .assert_error(501, "NotImplemented");
    }
    let head = SignedRequest::new(endpoint, Method::HEAD, "/another")
        .send()
        .await;
    assert_eq!(head.status, 404);
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_known_sub_resource_that_is_not_built_is_not_a_write_of_the_whole() {
    let server = server().await;
    let endpoint = server.endpoint();
    for query in ["tagging", "acl", "retention", "legal-hold"] {
        let path = format!("/bucket/kept?{query}");
        let answer = put(endpoint, &path).body("<x/>").send().await;
        assert!(!answer.status.is_success(), "{query}: {}", answer.status);
    }
    for query in ["policy", "lifecycle", "cors", "versioning", "encryption"] {
        let path = format!("/bucket?{query}");
        let answer = put(endpoint, &path).body("<x/>").send().await;
        assert!(!answer.status.is_success(), "{query}: {}", answer.status);
        if query != "versioning" {
            let answer = delete(endpoint, &path).send().await;
            assert!(!answer.status.is_server_error() || answer.status == 501);
        }
    }
    let path = "/bucket/kept?versionId=3HL4kqtJvjVBH40Nrjfkd";
    let answer = delete(endpoint, path).send().await;
    assert!(answer.status.is_success() || answer.status.is_client_error());
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_part_has_a_number_from_1_to_10000() {
    let server = server().await;
    let upload = start_upload(server.endpoint()).await;
    for number in ["0", "10001", "-1", "x", "99999999999"] {
        let path = format!("/bucket/k?partNumber={number}&uploadId={upload}");
        let answer = put(server.endpoint(), &path).body("x").send().await;
        answer.assert_error(400, "InvalidArgument");
    }
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn half_of_a_part_s_address_is_not_a_whole_object() {
    let server = server().await;
    let upload = start_upload(server.endpoint()).await;
    for query in ["partNumber=1".to_owned(), format!("uploadId={upload}")] {
        let path = format!("/bucket/kept?{query}");
        let answer = put(server.endpoint(), &path).body("x").send().await;
        assert!(
            answer.status.is_client_error(),
            "{query}: {}",
            answer.status
        );
    }
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn malformed_xml_is_called_that() {
    let server = server().await;
    let endpoint = server.endpoint();
    let upload = start_upload(endpoint).await;
    let complete = format!("/bucket/k?uploadId={upload}");
    let bomb = "<!DOCTYPE x [<!ENTITY a \"aaaa\"><!ENTITY b \"&a;&a;\">]><Delete><Object>\
                <Key>&b;</Key></Object></Delete>";
    let empty = with_content_md5(post(endpoint, "/bucket?delete"), String::new());
    empty
        .send()
        .await
        .assert_error(400, "MissingRequestBodyError");
    post(endpoint, &complete)
        .send()
        .await
        .assert_error(400, "MalformedXML");
    for xml in ["no xml", "<Delete><Object>", "<Wrong/>", bomb] {
        let request = with_content_md5(post(endpoint, "/bucket?delete"), xml.to_owned());
        request.send().await.assert_error(400, "MalformedXML");
        let request = post(endpoint, &complete).body(xml.to_owned());
        request.send().await.assert_error(400, "MalformedXML");
    }
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn deleting_many_with_a_wrong_digest_deletes_none() {
    let server = server().await;
    let xml = "<Delete><Object><Key>kept</Key></Object></Delete>";
    for (name, value) in [
        ("content-md5", WRONG_MD5.to_owned()),
        ("x-amz-checksum-crc32", crc32(b"other")),
    ] {
        for key in ["delete", "%64elete"] {
            let request = post(server.endpoint(), &format!("/bucket?{key}")).body(xml);
            let answer = request.header(name, &value).send().await;
            answer.assert_error(400, "BadDigest");
        }
    }
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn metadata_that_cannot_be_is_refused() {
    let server = server().await;
    let request = put(server.endpoint(), "/bucket/k").body("x");
    let answer = request
        .header("x-amz-meta-a", &"x".repeat(2100))
        .send()
        .await;
    answer.assert_error(400, "MetadataTooLarge");
    let request = put(server.endpoint(), "/bucket/k").body("x");
    let answer = request
        .header("x-amz-storage-class", "NONSENSE")
        .send()
        .await;
    answer.assert_error(400, "InvalidStorageClass");
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_configuration_that_would_burden_every_request_is_refused() {
    let server = server().await;
    let endpoint = server.endpoint();
    let origins = "<AllowedOrigin>https://example.com</AllowedOrigin>".repeat(20_000);
    let document = format!(
        "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod>{origins}</CORSRule></CORSConfiguration>"
    );
    put(endpoint, "/bucket?cors")
        .body(document)
        .send()
        .await
        .assert_error(400, "MaxMessageLengthExceeded");
    SignedRequest::new(endpoint, Method::GET, "/bucket?cors")
        .send()
        .await
        .assert_error(404, "NoSuchCORSConfiguration");
    assert_nothing_changed(&server).await;
}
