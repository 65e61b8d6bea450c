//! Headers that S3 reads in a way of its own: numbers beyond all objects, dates in old forms, headers
//! that come twice; and what errors say beside their codes.

use compat_tests::SignedRequest;
use http::Method;

use crate::kit::{assert_nothing_changed, crc32, get, post, put, server};

#[tokio::test]
async fn a_range_ends_where_the_object_does_however_far_it_reaches() {
    let server = server().await;
    let read = |range| get(server.endpoint(), "/bucket/kept").header("range", range);
    for range in [
        "bytes=1-18446744073709551615",
        "bytes=1-99999999999999999999",
    ] {
        let answer = read(range).send().await;
        assert_eq!((answer.status.as_u16(), answer.text()), (206, "ept"));
    }
    let answer = read("bytes=18446744073709551616-").send().await;
    answer.assert_error(416, "InvalidRange");
    assert_eq!(answer.tag("ActualObjectSize"), Some("4"));
    assert_eq!(
        answer.tag("RangeRequested"),
        Some("bytes=18446744073709551616-")
    );
}

#[tokio::test]
async fn dates_of_conditions_may_be_old_and_count_only_if_they_are_dates() {
    let server = server().await;
    for (name, date, expected) in [
        ("if-modified-since", "Friday, 01-Jan-38 00:00:00 GMT", 304),
        ("if-modified-since", "Fri Jan  1 00:00:00 2038", 304),
        ("if-modified-since", "yesterday", 200),
        ("if-unmodified-since", "Sunday, 06-Nov-94 08:49:37 GMT", 412),
        ("if-unmodified-since", "yesterday", 200),
    ] {
        let read = get(server.endpoint(), "/bucket/kept").header(name, date);
        assert_eq!(read.send().await.status, expected, "{name}: {date}");
    }
}

#[tokio::test]
async fn metadata_that_comes_twice_is_one_value() {
    let server = server().await;
    let twice = put(server.endpoint(), "/bucket/k").header("x-amz-meta-a", "1");
    let answer = twice.header("x-amz-meta-a", "2").send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let read = get(server.endpoint(), "/bucket/k").send().await;
    assert_eq!(read.header("x-amz-meta-a"), Some("1,2"));
}

#[tokio::test]
async fn what_contradicts_itself_or_is_unknown_is_refused() {
    let server = server().await;
    let at = server.endpoint();
    let other = put(at, "/bucket/k").body("x");
    let other = other.header("x-amz-checksum-crc32", &crc32(b"x"));
    let other = other.header("x-amz-sdk-checksum-algorithm", "SHA256");
    other.send().await.assert_error(400, "InvalidRequest");
    let copy = put(at, "/bucket/k").header("x-amz-copy-source", "/bucket/kept?part=1");
    copy.send().await.assert_error(400, "InvalidArgument");
    for tags in ["a=%zz", "a=%FF"] {
        let tagged = put(at, "/bucket/k").header("x-amz-tagging", tags);
        tagged.send().await.assert_error(400, "InvalidArgument");
    }
    for tags in ["aws%3Aa=b", "a=%3Cb%3E"] {
        let tagged = put(at, "/bucket/k").header("x-amz-tagging", tags);
        tagged.send().await.assert_error(400, "InvalidTag");
    }
    assert_nothing_changed(&server).await;
    put(at, "/some--table-s3")
        .send()
        .await
        .assert_error(400, "InvalidBucketName");
    let directory = "<CreateBucketConfiguration><Bucket><Type>Directory</Type></Bucket>\
        </CreateBucketConfiguration>";
    let directory = put(at, "/directory").body(directory).send().await;
    directory.assert_error(501, "NotImplemented");
}

#[tokio::test]
async fn errors_name_what_they_are_about() {
    let server = server().await;
    let at = server.endpoint();
    let answer = get(at, "/bucket/none%3C").send().await;
    assert_eq!(answer.tag("Key"), Some("none&lt;"), "{}", answer.text());
    let answer = get(at, "/no-such-bucket").send().await;
    assert_eq!(answer.tag("BucketName"), Some("no-such-bucket"));
    let answer = get(at, "/bucket/k?uploadId=none").send().await;
    assert_eq!(answer.tag("UploadId"), Some("none"));
    let answer = get(at, "/bucket/kept").header("if-match", "\"x\"");
    assert_eq!(answer.send().await.tag("Condition"), Some("If-Match"));
    let answer = SignedRequest::new(at, Method::HEAD, "/bucket/none");
    let answer = answer.send().await;
    assert_eq!(answer.status, 404);
    assert_eq!(answer.header("content-length"), None);
}

#[tokio::test]
async fn a_rule_tells_when_it_aborts_an_upload() {
    let server = server().await;
    let at = server.endpoint();
    let rules = "<LifecycleConfiguration><Rule><ID>a b/é</ID><Filter/><Status>Enabled</Status>\
        <AbortIncompleteMultipartUpload><DaysAfterInitiation>3</DaysAfterInitiation>\
        </AbortIncompleteMultipartUpload><Expiration><Days>3</Days></Expiration></Rule>\
        </LifecycleConfiguration>";
    let answer = put(at, "/bucket?lifecycle").body(rules).send().await;
    assert_eq!(answer.status, 200, "{}", answer.text());
    let created = post(at, "/bucket/k?uploads").send().await;
    assert!(created.header("x-amz-abort-date").is_some());
    let name = "a%20b%2F%C3%A9";
    assert_eq!(created.header("x-amz-abort-rule-id"), Some(name));
    let upload = created.tag("UploadId").expect("an id");
    let path = format!("/bucket/k?uploadId={upload}");
    let listed = get(at, &path).send().await;
    assert_eq!(listed.header("x-amz-abort-rule-id"), Some(name));
    let read = get(at, "/bucket/kept").send().await;
    let expiration = read.header("x-amz-expiration").expect("a date");
    assert!(
        expiration.ends_with(&format!("rule-id=\"{name}\"")),
        "{expiration}"
    );

    let too_early = "<LifecycleConfiguration><Rule><Filter/><Status>Enabled</Status>\
        <Transition><Days>3</Days><StorageClass>GLACIER</StorageClass></Transition>\
        <Expiration><Days>3</Days></Expiration></Rule></LifecycleConfiguration>";
    let answer = put(at, "/bucket?lifecycle").body(too_early).send().await;
    answer.assert_error(400, "InvalidArgument");
}
