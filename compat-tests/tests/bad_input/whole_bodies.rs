//! Documents and forms that are too long, cut off, or not what they seem.

use compat_tests::{Answer, send_unsigned};
use futures::stream;

use crate::kit::{
    MIB, WRONG_MD5, assert_nothing_changed, crc32, get, post, put, server, server_with,
    with_content_md5,
};

#[tokio::test]
async fn a_document_has_a_greatest_length() {
    let server = server().await;
    let endpoint = server.endpoint();
    let rule = |padding: usize| {
        format!(
            "<CORSConfiguration><CORSRule><AllowedMethod>GET</AllowedMethod><AllowedOrigin>{}\
             </AllowedOrigin></CORSRule></CORSConfiguration>",
            "a".repeat(padding)
        )
    };
    let long = put(endpoint, "/bucket?cors")
        .body(rule(64 * 1024))
        .send()
        .await;
    long.assert_error(400, "MaxMessageLengthExceeded");
    // It grows when it is written with its quotes escaped.
    let quotes = rule(0).replace(
        "<AllowedOrigin>",
        &format!("<AllowedOrigin>{}", "\"".repeat(20_000)),
    );
    let growing = put(endpoint, "/bucket?cors").body(quotes).send().await;
    growing.assert_error(400, "MaxMessageLengthExceeded");
    get(endpoint, "/bucket?cors")
        .send()
        .await
        .assert_error(404, "NoSuchCORSConfiguration");
    assert_eq!(
        put(endpoint, "/bucket?cors")
            .body(rule(1000))
            .send()
            .await
            .status,
        200
    );
    let long = put(endpoint, "/bucket/kept?tagging")
        .body("x".repeat(MIB))
        .send()
        .await;
    long.assert_error(400, "MaxMessageLengthExceeded");
}

#[tokio::test]
async fn a_document_other_than_declared_is_refused_and_nothing_is_kept() {
    let server = server().await;
    let endpoint = server.endpoint();
    let document = "<Tagging><TagSet><Tag><Key>a</Key><Value>b</Value></Tag></TagSet></Tagging>";
    for path in ["/bucket?tagging", "/bucket/kept?tagging"] {
        let request = || put(endpoint, path).body(document);
        let refused = request().header("content-md5", WRONG_MD5).send().await;
        refused.assert_error(400, "BadDigest");
        let refused = request().header("content-md5", "AAAA").send().await;
        refused.assert_error(400, "InvalidDigest");
        let refused = request().header("x-amz-checksum-crc32", &crc32(b"other"));
        refused.send().await.assert_error(400, "BadDigest");
        let tags = get(endpoint, path).send().await;
        assert!(!tags.text().contains("<Key>"), "{}", tags.text());
        let taken = with_content_md5(put(endpoint, path), document.to_owned());
        assert!(taken.send().await.status.is_success(), "{path}");
    }
}

#[tokio::test]
async fn a_document_with_cdata_is_refused_and_nothing_is_kept() {
    let server = server().await;
    let endpoint = server.endpoint();
    let everything = "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter><Prefix>\
        <![CDATA[logs/]]></Prefix></Filter><Expiration><Days>1</Days></Expiration></Rule>\
        </LifecycleConfiguration>";
    let request = with_content_md5(put(endpoint, "/bucket?lifecycle"), everything.to_owned());
    request.send().await.assert_error(400, "MalformedXML");
    let answer = get(endpoint, "/bucket?lifecycle").send().await;
    answer.assert_error(404, "NoSuchLifecycleConfiguration");
    let keys = "<Delete><Object><Key>kept<![CDATA[2]]></Key></Object></Delete>";
    let request = with_content_md5(post(endpoint, "/bucket?delete"), keys.to_owned());
    request.send().await.assert_error(400, "MalformedXML");
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_document_that_is_not_as_it_was_signed_is_the_clients_error() {
    let server = server().await;
    let tags = "<Tagging><TagSet><Tag><Key>a</Key><Value>1</Value></Tag></TagSet></Tagging>";
    let mut request = put(server.endpoint(), "/bucket?tagging").body(tags).sign();
    *request.body_mut() = tags.replace('1', "2").into();
    let answer = send_unsigned(request).await;
    answer.assert_error(400, "XAmzContentSHA256Mismatch");
    let answer = get(server.endpoint(), "/bucket?tagging").send().await;
    answer.assert_error(404, "NoSuchTagSet");
}

/// A form of an object of so many bytes, which nobody signed.
async fn send_form(at: &str, bytes: usize, declared: bool) -> Answer {
    let field = |name: &str, value: &str| {
        format!("--xYzZY\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = field("key", "k") + &field("file", &"x".repeat(bytes)) + "--xYzZY--\r\n";
    let body = match declared {
        true => reqwest::Body::from(form),
        false => reqwest::Body::wrap_stream(stream::iter([Ok::<_, std::io::Error>(form)])),
    };
    let client = reqwest::Client::builder()
        .no_proxy()
        .build()
        .expect("a plain client needs nothing");
    let request = client.post(format!("{at}/bucket"));
    let request = request.header("content-type", "Multipart/Form-Data; boundary=xYzZY");
    Answer::of(request.body(body).send().await.expect("an answer")).await
}

#[tokio::test]
async fn a_form_declares_its_length_and_keeps_to_the_limit() {
    let server = server_with(&["--max-object-size", "1MiB"]).await;
    let endpoint = server.endpoint();
    let open = put(endpoint, "/bucket?acl").header("x-amz-acl", "public-read-write");
    assert_eq!(open.send().await.status, 200);
    let undeclared = send_form(&endpoint.url, 1, false).await;
    undeclared.assert_error(411, "MissingContentLength");
    let long = send_form(&endpoint.url, MIB + 1, true).await;
    long.assert_error(400, "EntityTooLarge");
    assert_nothing_changed(&server).await;
    assert_eq!(send_form(&endpoint.url, MIB, true).await.status, 204);
}

#[tokio::test]
async fn what_is_said_of_transitions_sizes_is_kept_and_shown() {
    let server = server().await;
    let endpoint = server.endpoint();
    let name = "x-amz-transition-default-minimum-object-size";
    let rules = "<LifecycleConfiguration><Rule><Status>Enabled</Status><Filter/><Transition>\
        <Days>1</Days><StorageClass>GLACIER</StorageClass></Transition></Rule></LifecycleConfiguration>";
    let write = async |value: Option<&str>| {
        let request = put(endpoint, "/bucket?lifecycle");
        let request = with_content_md5(request, rules.to_owned());
        match value {
            Some(value) => request.header(name, value).send().await,
            None => request.send().await,
        }
    };
    for (given, shown) in [
        (None, "all_storage_classes_128K"),
        (Some("varies_by_storage_class"), "varies_by_storage_class"),
        (Some("all_storage_classes_128K"), "all_storage_classes_128K"),
    ] {
        assert_eq!(write(given).await.header(name), Some(shown));
        let read = get(endpoint, "/bucket?lifecycle").send().await;
        assert_eq!(read.header(name), Some(shown), "{}", read.text());
    }
    write(Some("none"))
        .await
        .assert_error(400, "InvalidRequest");
}

#[tokio::test]
async fn keys_are_answered_in_the_order_in_which_they_were_listed() {
    let server = server().await;
    let endpoint = server.endpoint();
    let keys: Vec<_> = (0..100).map(|n| format!("k{:02}", n * 37 % 100)).collect();
    let listed: String = keys
        .iter()
        .map(|key| format!("<Object><Key>{key}</Key></Object>"))
        .collect();
    let twice = format!("<Delete>{listed}{listed}</Delete>");
    let request = with_content_md5(post(endpoint, "/bucket?delete"), twice);
    let answer = request.send().await;
    let answered: Vec<_> = answer
        .text()
        .split("<Key>")
        .skip(1)
        .map(|key| &key[..3])
        .collect();
    assert_eq!(answered, [&keys[..], &keys[..]].concat());
    assert_nothing_changed(&server).await;
}
