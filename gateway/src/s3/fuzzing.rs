//! Fuzz targets for what clients send: documents, headers, addresses, forms.

use std::fmt::Debug;

use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri};
use metastore::{
    ChunkLayout, ObjectAttributes, ObjectData, ObjectVersion, Scheme, Sequence, SystemHeaders,
    Timestamp, VersionId, VersionOrder,
};
use percent_encoding::percent_decode_str;
use s3s::dto::{
    BucketLifecycleConfiguration, BucketLoggingStatus, CORSConfiguration, CORSRule, Metadata,
    ObjectLockConfiguration, PostObjectInput, Range, RequestPaymentConfiguration,
    ServerSideEncryptionConfiguration, Tagging, WebsiteConfiguration,
};
use s3s::path::{S3Path, parse_virtual_hosted_style_with_validation};
use s3s::xml::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::access::BucketAddresses;
pub use super::access::fuzzing as access;
use super::body::check::BodyCheck;
use super::bucket::{self, lifecycle};
use super::edge::guard::refuse_unknown_subresource;
use super::edge::signature::Signature;
use super::edge::signature_dates::refuse_bad_dates;
use super::edge::target::RequestTarget;
use super::edge::virtual_host::VirtualHosts;
use super::edge::xml_text::xml_text;
use super::edge::{cors, redispatch};
use super::form::head::FormFields;
use super::object::range::{Selection, copy_source_range};
use super::object::{self, conditions, headers};
use super::{encryption, form, listing};
use crate::lifecycle::{Calendar, Judge, Rule};

/// The document of that kind; none for bytes that are none.
pub fn document<D: for<'x> Deserialize<'x>>(bytes: &[u8]) -> Option<D> {
    D::deserialize(&mut s3s::xml::Deserializer::new(bytes)).ok()
}

/// The header lines in a text that HTTP could carry.
pub fn headers_of(text: &str) -> HeaderMap {
    let pairs = text.lines().filter_map(|line| line.split_once(':'));
    let pairs = pairs.filter_map(|(name, value)| {
        let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
        Some((name, HeaderValue::from_bytes(value.trim().as_bytes()).ok()?))
    });
    let mut headers = HeaderMap::new();
    pairs.take(200).for_each(|(name, value)| {
        headers.append(name, value);
    });
    headers
}

/// A document of a bucket, of the kind that the first byte names. What is taken can be read back:
/// otherwise the bucket would answer with a failure from then on.
pub fn bucket_document(bytes: &[u8]) {
    let Some((kind, bytes)) = bytes.split_first() else {
        return;
    };
    match kind {
        b'l' => rules(bytes),
        b't' => {
            if let Some(tagging) = document::<Tagging>(bytes) {
                let tags = object::tags::tags_of(&tagging, object::tags::Tagged::Bucket);
                tags.is_ok().then(|| comes_back(&tagging));
            }
            let _ = std::str::from_utf8(bytes).map(object::tags::parse_tagging);
        }
        b'c' => {
            if let Some(cors) = document::<CORSConfiguration>(bytes) {
                let checked = bucket::documents::check_cors(&cors);
                checked.is_ok().then(|| comes_back(&cors));
            }
        }
        b'o' => {
            let _ = document::<ObjectLockConfiguration>(bytes).map(bucket::settings::lock_settings);
        }
        b'e' => {
            let asked = document::<ServerSideEncryptionConfiguration>(bytes);
            let _ = asked.as_ref().map(bucket::encryption::parse);
        }
        b'w' => kept::<WebsiteConfiguration>(bytes),
        b'g' => kept::<BucketLoggingStatus>(bytes),
        b'p' => kept::<RequestPaymentConfiguration>(bytes),
        _ => {}
    }
}

fn kept<D: for<'x> Deserialize<'x> + Serialize + PartialEq + Debug>(bytes: &[u8]) {
    if let Some(read) = document::<D>(bytes) {
        comes_back(&read);
    }
}

fn comes_back<D: for<'x> Deserialize<'x> + Serialize + PartialEq + Debug>(read: &D) {
    let written = bucket::document_store::to_xml(read).expect("what was read can be written");
    let again = document::<D>(written.as_bytes());
    assert_eq!(again.as_ref(), Some(read), "{written}");
}

/// A lifecycle configuration, and what its rules say of objects of all ages.
fn rules(bytes: &[u8]) {
    let Some(mut configuration) = document::<BucketLifecycleConfiguration>(bytes) else {
        return;
    };
    if lifecycle::check(&mut configuration).is_err() {
        return;
    }
    comes_back(&configuration);
    let rules = configuration
        .rules
        .into_iter()
        .map(bucket::lifecycle_rule::parse);
    let rules: Vec<Rule> = rules.filter_map(|rule| rule.expect("checked")).collect();
    for (born, now, day) in [
        (0, u64::MAX, 1),
        (u64::MAX, 0, 86_400),
        (1_700_000_000_000, 1_800_000_000_000, 86_400),
        (u64::MAX, u64::MAX, u64::MAX),
    ] {
        let judge = Judge {
            rules: &rules,
            calendar: Calendar::with_days_of(day),
            now: Timestamp(now),
        };
        let object = object(Timestamp(born));
        let _ = judge.current("key", &object);
        let _ = judge.expiry("key", &object);
        let _ = judge.noncurrent("key", &object, Timestamp(born), 3);
        let _ = judge.noncurrent_marker("key", Timestamp(born), 3);
        let _ = judge.lone_marker("key", Timestamp(born));
        let _ = judge.abandoned("key", Timestamp(born));
    }
}

fn object(modified_at: Timestamp) -> ObjectVersion {
    ObjectVersion {
        version: VersionId::Null,
        sequence: Sequence::generate(),
        modified_at,
        size_bytes: 5,
        etag: "abc".into(),
        checksum: None,
        headers: SystemHeaders::default(),
        user_metadata: Vec::new(),
        owner: String::new(),
        data: ObjectData::Chunks(ChunkLayout {
            scheme: Scheme::Replicated,
            chunks: Vec::new(),
        }),
        order: VersionOrder::FIRST,
        attributes: ObjectAttributes {
            tags: vec![("a".into(), "b".into())],
            ..ObjectAttributes::default()
        },
    }
}

/// Headers, each on a line.
pub fn request_headers(text: &str) {
    let given = headers_of(text);
    let now = OffsetDateTime::from_unix_timestamp(1_800_000_000).expect("in 2027");
    let signature = Signature::of(&Method::GET, &given, None);
    let _ = refuse_bad_dates(signature, &given, None, now);
    let _ = headers::system_headers(&given);
    let _ = headers::refuse_append(&given);
    let metadata: Metadata = given
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), value.to_str().ok()?.to_owned())))
        .collect();
    let _ = headers::user_metadata(Some(metadata));
    let _ = object::lock::requested_retention(&given);
    let _ = object::lock::requested_hold(&given);
    let _ = encryption::request::method_in(&given);
    let _ = encryption::request::customer_key(&given, encryption::request::CUSTOMER);
    let _ = BodyCheck::declared_in(&given);
    let _ = conditions::range_applies(given.get("if-range"), &object(Timestamp(u64::MAX)));
    let _ = given.get("range").map(redispatch::is_well_formed);
    let tags = given.get("x-amz-tagging").map(HeaderValue::to_str);
    if let Some(Ok(tags)) = tags
        && let Ok(tags) = object::tags::parse_tags(tags)
    {
        assert!(tags.len() <= object::tags::Tagged::Object.tags_max());
    }
    if let Some(named) = cors::CrossOrigin::of(&Method::PUT, &given) {
        let pattern = given
            .get("pattern")
            .and_then(|pattern| pattern.to_str().ok());
        let rule = CORSRule {
            allowed_headers: Some(vec![pattern.unwrap_or("*").to_owned()]),
            allowed_methods: vec!["PUT".into()],
            allowed_origins: vec![pattern.unwrap_or("*").to_owned()],
            ..CORSRule::default()
        };
        if cors::allows(&rule, &named) {
            assert!(!cors::answer(&rule, &named).is_empty());
        }
    }
}

/// A length, then a range of it.
pub fn range(bytes: &[u8]) {
    let Some((size_bytes, text)) = bytes.split_first_chunk() else {
        return;
    };
    let size_bytes = u64::from_le_bytes(*size_bytes);
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    if let Ok(range) = copy_source_range(text, size_bytes) {
        assert!(range.start < range.end && range.end <= size_bytes);
    }
    if let Ok(asked) = Range::parse(text)
        && let Ok(selection) = Selection::of_range(&asked, size_bytes)
    {
        let range = selection.range;
        assert!(range.start < range.end && range.end <= size_bytes);
        assert!(selection.content_range(size_bytes).is_some());
    }
}

/// A method, a host and an address, each on a line. Whatever the gateway takes them for, s3s takes
/// them for the same.
pub fn address(text: &str) {
    let mut lines = text.splitn(3, '\n');
    let (method, host) = (lines.next().unwrap_or_default(), lines.next());
    let Some(Ok(uri)) = lines.next().map(str::parse::<Uri>) else {
        return;
    };
    let hosts = VirtualHosts::new(vec!["localhost".into(), "s3.example.com".into()]);
    let mut headers = HeaderMap::new();
    if let Some(Ok(host)) = host.map(HeaderValue::from_str) {
        headers.insert(http::header::HOST, host);
    }
    let named = headers.get("host").and_then(|host| host.to_str().ok());
    if let Some(bucket) = named.and_then(|host| hosts.bucket_in(host)) {
        assert!(named.is_some_and(|host| host.starts_with(bucket)) && !bucket.is_empty());
    }
    let target = RequestTarget::of(&hosts, &uri, &headers);
    let names_object = target.names_object();
    if let Ok(path) = percent_decode_str(uri.path()).decode_utf8() {
        let vh_bucket = named.and_then(|host| hosts.bucket_in(host));
        let parsed = parse_virtual_hosted_style_with_validation(vh_bucket, &path, &BucketAddresses);
        let address = target.bucket_address().map(|address| address.to_string());
        match parsed {
            Ok(S3Path::Root) => assert_eq!((address, target.key), (None, None)),
            Ok(S3Path::Bucket { bucket }) => {
                assert_eq!((address.as_deref(), target.key), (Some(&*bucket), None));
            }
            Ok(S3Path::Object { bucket, key }) => {
                assert_eq!(address.as_deref(), Some(&*bucket));
                assert_eq!(target.key.as_deref(), Some(&*key));
            }
            // What s3s refuses is nothing else to it.
            Err(_) => {}
        }
    }
    let Ok(method) = Method::from_bytes(method.as_bytes()) else {
        return;
    };
    let query = uri.query();
    let taken = refuse_unknown_subresource(&method, names_object, query);
    if taken.is_ok() && [Method::PUT, Method::DELETE, Method::POST].contains(&method) {
        let more = format!("{}&torrent", query.unwrap_or_default());
        assert!(refuse_unknown_subresource(&method, names_object, Some(&more)).is_err());
    }
    let signature = Signature::of(&method, &headers, query);
    let _ = refuse_bad_dates(signature, &headers, query, OffsetDateTime::UNIX_EPOCH);
    let _ = redispatch::without_signature(&uri);
    let query = query.unwrap_or_default();
    if let Ok(name) = listing::objects::cursor_of(query) {
        assert_eq!(
            listing::objects::cursor_of(&listing::objects::token_of(&name)).ok(),
            Some(name)
        );
    }
    let name = percent_decode_str(query).decode_utf8_lossy().into_owned();
    assert!(document::<Tagging>(tagging_named(xml_text(name)).as_bytes()).is_some());
}

/// What `xml_text` lets through can be carried by a document.
fn tagging_named(name: String) -> String {
    let tag = s3s::dto::Tag {
        key: Some(name),
        value: Some(String::new()),
    };
    let tagging = Tagging { tag_set: vec![tag] };
    bucket::document_store::to_xml(&tagging).expect("a document")
}

/// The fields of a form, each on a line.
pub fn form(text: &str) {
    let fields = headers_of(text);
    let field = |name: &str| {
        let value = fields.get(name)?;
        value.to_str().ok().map(str::to_owned)
    };
    let input = PostObjectInput {
        acl: field("acl").map(Into::into),
        cache_control: field("cache-control"),
        checksum_crc32: field("x-amz-checksum-crc32"),
        content_type: field("content-type"),
        content_md5: field("content-md5"),
        server_side_encryption: field("x-amz-server-side-encryption").map(Into::into),
        ssekms_key_id: field("x-amz-server-side-encryption-aws-kms-key-id"),
        storage_class: field("x-amz-storage-class").map(Into::into),
        // Documents have lines of their own.
        tagging: Some(text.to_owned()),
        ..PostObjectInput::default()
    };
    if let Ok(put) = form::fields::headers_of(&input, &FormFields::default())
        && text.trim_start().starts_with('<')
        && let Ok(tags) = object::tags::parse_tagging(text)
    {
        let carried = put.get("x-amz-tagging").map(HeaderValue::to_str);
        let carried = carried.map(|carried| object::tags::parse_tags(carried.expect("ASCII")).ok());
        assert_eq!(carried.unwrap_or(Some(Vec::new())), Some(tags));
    }
    let _ = form::answer::is_form(&Method::POST, &fields);
}
