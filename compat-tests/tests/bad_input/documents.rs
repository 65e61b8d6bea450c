//! Documents that are malformed, too large, or made to blow up: refused, kept out, and never held in
//! memory.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use compat_tests::{Answer, Endpoint, SignedRequest, Standalone};
use md5::{Digest as _, Md5};

use crate::kit::{MIB, assert_nothing_changed, get, post, put, server, start_upload};

/// Sub-resources of a bucket that are set by a document in XML.
const OF_BUCKET: [&str; 12] = [
    "cors",
    "encryption",
    "lifecycle",
    "logging",
    "notification",
    "object-lock",
    "ownershipControls",
    "publicAccessBlock",
    "requestPayment",
    "tagging",
    "versioning",
    "website",
];
/// Longest document that the server reads.
const DOCUMENT_MAX_BYTES: usize = 8 * MIB;
/// What the server's memory may grow by over a scenario; its buffers and heap settle within it.
const GROWTH_MAX_BYTES: u64 = 96 * MIB as u64;

/// A request with a document and its MD5, which some documents need.
fn with(request: SignedRequest, document: impl Into<Vec<u8>>) -> SignedRequest {
    let document = document.into();
    let md5 = STANDARD.encode(Md5::digest(&document));
    request.header("content-md5", &md5).body(document)
}

/// Every request that takes a document in XML, with this one.
fn requests(at: &Endpoint, upload: &str, document: &[u8]) -> Vec<(String, SignedRequest)> {
    let mut requests: Vec<_> = OF_BUCKET
        .iter()
        .map(|resource| format!("/bucket?{resource}"))
        .chain(["tagging", "retention", "legal-hold"].map(|of| format!("/bucket/kept?{of}")))
        .map(|path| (path.clone(), with(put(at, &path), document)))
        .collect();
    for path in ["/bucket?delete", &format!("/bucket/k?uploadId={upload}")] {
        requests.push((path.to_owned(), with(post(at, path), document)));
    }
    requests
}

/// None of the bucket's settings was set by a document that was refused.
async fn assert_no_settings(at: &Endpoint) {
    for (resource, code) in [
        ("cors", "NoSuchCORSConfiguration"),
        ("lifecycle", "NoSuchLifecycleConfiguration"),
        ("policy", "NoSuchBucketPolicy"),
        ("tagging", "NoSuchTagSet"),
        ("website", "NoSuchWebsiteConfiguration"),
    ] {
        let answer = get(at, &format!("/bucket?{resource}")).send().await;
        answer.assert_error(404, code);
    }
    let tags = get(at, "/bucket/kept?tagging").send().await;
    assert!(!tags.text().contains("<Tag>"), "{}", tags.text());
}

fn memory_bytes(server: &mut Standalone) -> u64 {
    let pid = server.gateway().process().pid();
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).expect("the server runs");
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = peak.and_then(|peak| peak.trim().trim_end_matches(" kB").parse::<u64>().ok());
    kib.expect("Linux tells the peak") * 1024
}

#[track_caller]
fn assert_refused(answer: &Answer, what: &str) {
    assert!(
        answer.status.is_client_error(),
        "{what}: {} {}",
        answer.status,
        answer.text()
    );
    assert!(answer.tag("Code").is_some(), "{what}: {}", answer.text());
}

#[tokio::test]
async fn entities_and_nested_elements_are_refused_and_take_no_memory() {
    let mut server = server().await;
    let at = server.endpoint().clone();
    let upload = start_upload(&at).await;
    let before_bytes = memory_bytes(&mut server);
    let doubling: String = (1..40)
        .map(|n| format!("<!ENTITY e{n} \"&e{};&e{};\">", n - 1, n - 1))
        .collect();
    let bomb = format!("<!DOCTYPE x [<!ENTITY e0 \"ha\">{doubling}]><x>&e39;</x>");
    let outside = "<!DOCTYPE x [<!ENTITY e SYSTEM \"file:///etc/passwd\">]><x>&e;</x>";
    let deep = "<a>".repeat(200_000);
    let closed = format!("{deep}{}", "</a>".repeat(200_000));
    for document in [bomb.as_str(), outside, &deep, &closed] {
        for (path, request) in requests(&at, &upload, document.as_bytes()) {
            let answer = request.send().await;
            assert_refused(&answer, &path);
            assert!(!answer.text().contains("root:"), "{}", answer.text());
        }
    }
    let grown_bytes = memory_bytes(&mut server).saturating_sub(before_bytes);
    assert!(grown_bytes < GROWTH_MAX_BYTES, "{grown_bytes}");
    assert_no_settings(&at).await;
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn a_document_over_the_limit_is_refused_unread() {
    let mut server = server().await;
    let at = server.endpoint().clone();
    let upload = start_upload(&at).await;
    let before_bytes = memory_bytes(&mut server);
    let huge = vec![b'<'; DOCUMENT_MAX_BYTES + 1];
    for (path, request) in requests(&at, &upload, &huge) {
        let said = request.ask_to_continue().await;
        assert!(said.contains("400 Bad Request"), "{path}: {said}");
    }
    let grown_bytes = memory_bytes(&mut server).saturating_sub(before_bytes);
    assert!(grown_bytes < GROWTH_MAX_BYTES, "{grown_bytes}");
    assert_no_settings(&at).await;
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn policies_that_are_none_or_too_large_are_refused_and_the_old_one_stays() {
    let server = server().await;
    let at = server.endpoint();
    let statement = |resource: &str| {
        format!(
            r#"{{"Effect": "Allow", "Principal": "*", "Action": "s3:GetObject", "Resource": "{resource}"}}"#
        )
    };
    let policy =
        |statements: &str| format!(r#"{{"Version": "2012-10-17", "Statement": [{statements}]}}"#);
    let good = policy(&statement("arn:aws:s3:::bucket/*"));
    let set = put(at, "/bucket?policy").body(good.clone()).send().await;
    assert!(set.status.is_success(), "{}", set.text());
    let many = vec![statement("arn:aws:s3:::bucket/*"); 300].join(",");
    for bad in [
        String::new(),
        "no json".to_owned(),
        "{".repeat(100_000),
        "[".repeat(100_000),
        good.replace("2012-10-17", "1999-01-01"),
        good.replace("Allow", "Perhaps"),
        good.replace("s3:GetObject", "ec2:Reboot"),
        policy(&statement("arn:aws:s3:::another/*")),
        policy(&many),
        policy(&statement(&format!(
            "arn:aws:s3:::bucket/{}",
            "a*".repeat(20_000)
        ))),
        format!("{good}{}", " ".repeat(MIB)),
    ] {
        let answer = put(at, "/bucket?policy").body(bad.clone()).send().await;
        assert_refused(&answer, &bad[..bad.len().min(80)]);
    }
    assert_eq!(get(at, "/bucket?policy").send().await.text(), good);
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn lifecycles_that_cannot_be_are_refused_and_the_old_one_stays() {
    let server = server().await;
    let at = server.endpoint();
    let rule = |inner: &str| format!("<Rule><Status>Enabled</Status>{inner}</Rule>");
    let document =
        |rules: &str| format!("<LifecycleConfiguration>{rules}</LifecycleConfiguration>");
    let days = "<Filter><Prefix>a</Prefix></Filter><Expiration><Days>1</Days></Expiration>";
    let set = with(put(at, "/bucket?lifecycle"), document(&rule(days)));
    let set = set.send().await;
    assert!(set.status.is_success(), "{}", set.text());
    let kept = get(at, "/bucket?lifecycle").send().await;
    for bad in [
        String::new(),
        document(""),
        document("<Rule></Rule>"),
        document(&rule("<Filter></Filter>")),
        document(&rule(&days.replace("<Days>1<", "<Days>0<"))),
        document(&rule(&days.replace("<Days>1<", "<Days>-1<"))),
        document(&rule(&days.replace("<Days>1<", "<Days>99999999999<"))),
        document(&rule(
            &days.replace("<Days>1</Days>", "<Date>tomorrow</Date>"),
        )),
        document(&rule(days).replace("Enabled", "Perhaps")),
        document(&rule(&format!("<ID>{}</ID>{days}", "i".repeat(256)))),
        document(&rule(days).repeat(1001)),
        document(&rule(days)).replace("</LifecycleConfiguration>", ""),
    ] {
        let answer = with(put(at, "/bucket?lifecycle"), bad.clone()).send().await;
        assert_refused(&answer, &bad[..bad.len().min(200)]);
    }
    let still = get(at, "/bucket?lifecycle").send().await;
    assert_eq!(still.text(), kept.text());
    assert_nothing_changed(&server).await;
}

#[tokio::test]
async fn an_object_has_at_most_ten_tags_however_they_come() {
    let server = server().await;
    let at = server.endpoint();
    let header = |count| {
        let tags: Vec<_> = (0..count).map(|n| format!("k{n}=v")).collect();
        tags.join("&")
    };
    let document = |count| {
        let tags: String = (0..count)
            .map(|n| format!("<Tag><Key>k{n}</Key><Value>v</Value></Tag>"))
            .collect();
        format!("<Tagging><TagSet>{tags}</TagSet></Tagging>")
    };
    let tagged = |path: &str, tags: String| put(at, path).header("x-amz-tagging", &tags);
    let long = |length| format!("{}=v", "k".repeat(length));
    for tags in [header(11), long(129), format!("k={}", "v".repeat(257))] {
        let answer = tagged("/bucket/k", tags.clone()).body("x").send().await;
        assert_refused(&answer, &tags);
        let copy = tagged("/bucket/k", tags.clone())
            .header("x-amz-copy-source", "/bucket/kept")
            .header("x-amz-tagging-directive", "REPLACE");
        assert_refused(&copy.send().await, &tags);
        let upload = post(at, "/bucket/k?uploads").header("x-amz-tagging", &tags);
        assert_refused(&upload.send().await, &tags);
    }
    let answer = with(put(at, "/bucket/kept?tagging"), document(11));
    answer.send().await.assert_error(400, "InvalidTag");
    let answer = with(put(at, "/bucket?tagging"), document(51));
    assert_refused(&answer.send().await, "a bucket's tags");
    assert_no_settings(at).await;
    assert_nothing_changed(&server).await;

    let fits = with(put(at, "/bucket/kept?tagging"), document(10));
    assert_eq!(fits.send().await.status, 200);
    let fits = with(put(at, "/bucket?tagging"), document(50));
    assert!(fits.send().await.status.is_success());
}

#[tokio::test]
async fn an_upload_is_completed_from_at_most_10000_parts() {
    let server = server().await;
    let at = server.endpoint();
    let upload = start_upload(at).await;
    let path = format!("/bucket/k?partNumber=1&uploadId={upload}");
    let part = put(at, &path).body("x").send().await;
    let etag = part.header("etag").expect("a part has an ETag").to_owned();
    let entry =
        |number| format!("<Part><PartNumber>{number}</PartNumber><ETag>{etag}</ETag></Part>");
    let complete = |numbers: &mut dyn Iterator<Item = u32>| {
        let parts: String = numbers.map(entry).collect();
        let list = format!("<CompleteMultipartUpload>{parts}</CompleteMultipartUpload>");
        post(at, &format!("/bucket/k?uploadId={upload}")).body(list)
    };
    for (numbers, code) in [
        (
            &mut (1u32..10_002) as &mut dyn Iterator<Item = u32>,
            "MalformedXML",
        ),
        (&mut [1u32; 10_001].into_iter(), "MalformedXML"),
        (&mut (10_000u32..10_002), "InvalidArgument"),
        (&mut (0u32..1), "InvalidArgument"),
        (&mut [2, 1].into_iter(), "InvalidPartOrder"),
        (&mut [1, 2].into_iter(), "InvalidPart"),
        (&mut [].into_iter(), "MalformedXML"),
    ] {
        complete(numbers).send().await.assert_error(400, code);
    }
    assert_nothing_changed(&server).await;
    // Of one part that is listed twice, the last mention counts.
    let done = complete(&mut [1, 1].into_iter()).send().await;
    assert_eq!(done.status, 200, "{}", done.text());
    assert_eq!(get(at, "/bucket/k").send().await.text(), "x");
}

#[tokio::test]
async fn what_is_not_built_is_refused_after_what_s3_would_refuse() {
    let server = server().await;
    let at = server.endpoint();
    let logging = |target: &str| {
        let enabled = format!(
            "<LoggingEnabled><TargetBucket>{target}</TargetBucket><TargetPrefix/></LoggingEnabled>"
        );
        with(
            put(at, "/bucket?logging"),
            format!("<BucketLoggingStatus>{enabled}</BucketLoggingStatus>"),
        )
    };
    let missing = logging("nowhere").send().await;
    missing.assert_error(400, "InvalidTargetBucketForLogging");
    let enabled = logging("bucket").send().await;
    enabled.assert_error(501, "NotImplemented");

    let notify = |arn: &str, event: &str| {
        let topic = format!(
            "<TopicConfiguration><Topic>{arn}</Topic><Event>{event}</Event></TopicConfiguration>"
        );
        with(
            put(at, "/bucket?notification"),
            format!("<NotificationConfiguration>{topic}</NotificationConfiguration>"),
        )
    };
    let (topic, event) = ("arn:aws:sns:us-east-1:123456789012:t", "s3:ObjectCreated:*");
    for (arn, event) in [("nowhere", event), (topic, "made:Up")] {
        let refused = notify(arn, event).send().await;
        refused.assert_error(400, "InvalidArgument");
    }
    let asked = notify(topic, event).send().await;
    asked.assert_error(501, "NotImplemented");
    for (resource, root) in [
        ("logging", "BucketLoggingStatus"),
        ("notification", "NotificationConfiguration"),
    ] {
        let path = format!("/bucket?{resource}");
        let off = with(put(at, &path), format!("<{root}/>")).send().await;
        assert!(off.status.is_success(), "{}", off.text());
        let shown = get(at, &path).send().await;
        assert!(shown.text().contains(root), "{}", shown.text());
        assert!(!shown.text().contains("Enabled") && !shown.text().contains("Topic"));
    }
}
