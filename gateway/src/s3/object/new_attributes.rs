//! The attributes that a write gives its object: owner, grants, tags and lock, from the request's
//! headers and the bucket's settings.

use http::{HeaderMap, StatusCode};
use metastore::{
    Acl, Bucket, Encryption, LockMode, ObjectAttributes, Ownership, Retention, RetentionPeriod,
    Timestamp,
};
use percent_encoding::percent_decode_str;
use s3s::dto::{ObjectLockLegalHoldStatus, Tagging, Timestamp as DtoTimestamp, TimestampFormat};
use s3s::{S3Error, S3Result, s3_error};
use time::OffsetDateTime;

use super::headers::text;
use crate::s3::access::{AclRequest, Caller, grants_public};
use crate::s3::edge::xml_text::is_xml_text;
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;

/// Longest keys and values of tags, in characters. Source: S3 user guide, "Categorizing your storage
/// using tags".
const TAG_KEY_MAX_CHARS: usize = 128;
const TAG_VALUE_MAX_CHARS: usize = 256;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// The list that says nothing but what a bucket of enforced ownership does anyway.
const LIST_OF_ENFORCED_OWNERSHIP: &str = "bucket-owner-full-control";

/// What has tags.
#[derive(Debug, Clone, Copy)]
pub enum Tagged {
    /// An object.
    Object,
    /// A bucket.
    Bucket,
}

impl Tagged {
    /// Most tags on one. Source: S3 user guide, "Categorizing your storage using tags" and "Using cost
    /// allocation S3 bucket tags".
    pub const fn tags_max(self) -> usize {
        match self {
            Self::Object => 10,
            Self::Bucket => 50,
        }
    }

    fn too_many(self) -> S3Error {
        let most = self.tags_max();
        match self {
            Self::Object => s3_error!(InvalidTag, "Object tags cannot be greater than {most}"),
            Self::Bucket => s3_error!(InvalidTag, "Bucket tag count cannot be greater than {most}"),
        }
    }
}

impl S3Gateway {
    /// Owner and attributes of an object that the caller writes into `bucket`, encrypted as said.
    ///
    /// # Errors
    /// `AccessControlListNotSupported`, `AccessDenied` for a public list that is blocked,
    /// `InvalidTag`, and what is wrong with the lock's headers.
    pub(crate) async fn new_attributes(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        headers: &HeaderMap,
        encryption: Option<Encryption>,
    ) -> S3Result<(String, ObjectAttributes)> {
        let owner = new_owner(caller, bucket, headers);
        let acl = self.new_acl(bucket, &owner, headers).await?;
        let tags = match text(headers, "x-amz-tagging")? {
            Some(tags) => parse_tags(tags)?,
            None => Vec::new(),
        };
        let retention = match requested_retention(headers)? {
            Some(retention) => Some(retention),
            None => default_retention(bucket, Timestamp::now()),
        };
        let legal_hold = requested_hold(headers)?;
        let asks_for_lock =
            text(headers, "x-amz-object-lock-mode")?.is_some() || legal_hold.is_some();
        if asks_for_lock && bucket.settings.lock.is_none() {
            return Err(s3_error!(
                InvalidRequest,
                "Bucket is missing Object Lock Configuration"
            ));
        }
        let attributes = ObjectAttributes {
            acl,
            tags,
            retention,
            legal_hold,
            encryption,
        };
        Ok((owner, attributes))
    }

    /// The list that the headers ask for on an object of `owner`.
    pub(crate) async fn new_acl(
        &self,
        bucket: &Bucket,
        owner: &str,
        headers: &HeaderMap,
    ) -> S3Result<Option<Acl>> {
        if bucket.settings.ownership == Some(Ownership::BucketOwnerEnforced) {
            return refuse_lists(headers).map(|()| None);
        }
        let request = AclRequest {
            directory: &self.directory,
            owner,
            bucket_owner: &bucket.owner,
        };
        let acl = request.in_headers(headers).await?;
        refuse_blocked(bucket, acl.as_ref())?;
        Ok(acl)
    }
}

/// Refuses a public list where the bucket blocks them.
pub fn refuse_blocked(bucket: &Bucket, acl: Option<&Acl>) -> S3Result<()> {
    let block = bucket.settings.public_access_block.unwrap_or_default();
    match block.block_public_acls && acl.is_some_and(grants_public) {
        true => Err(s3_error!(AccessDenied)),
        false => Ok(()),
    }
}

fn refuse_lists(headers: &HeaderMap) -> S3Result<()> {
    let canned = text(headers, "x-amz-acl")?;
    let is_harmless = canned.is_none_or(|acl| acl == LIST_OF_ENFORCED_OWNERSHIP);
    let grants = headers
        .keys()
        .any(|name| name.as_str().starts_with("x-amz-grant-"));
    match is_harmless && !grants {
        true => Ok(()),
        false => Err(lists_not_supported()),
    }
}

/// The bucket's ownership setting takes no lists.
pub fn lists_not_supported() -> S3Error {
    errors::custom(
        StatusCode::BAD_REQUEST,
        "AccessControlListNotSupported",
        "The bucket does not allow ACLs",
    )
}

fn new_owner(caller: &Caller, bucket: &Bucket, headers: &HeaderMap) -> String {
    let canned = headers.get("x-amz-acl");
    let gives_control = canned.is_some_and(|acl| acl == "bucket-owner-full-control");
    match bucket.settings.ownership {
        Some(Ownership::BucketOwnerEnforced) => bucket.owner.clone(),
        Some(Ownership::BucketOwnerPreferred) if gives_control => bucket.owner.clone(),
        // What nobody signed for belongs to whoever let nobody write.
        _ => caller.id().unwrap_or(&bucket.owner).to_owned(),
    }
}

/// Reads tags as the header and the form field carry them.
///
/// # Errors
/// `InvalidArgument` for what is not encoded as a query; `InvalidTag`, also for too many.
pub fn parse_tags(text: &str) -> S3Result<Vec<(String, String)>> {
    let invalid = || {
        s3_error!(
            InvalidArgument,
            "The header 'x-amz-tagging' shall be encoded as UTF-8 then URLEncoded URL query parameters without tag name duplicates."
        )
    };
    let decode = |part: &str| {
        let spaced = part.replace('+', " ");
        let decoded = percent_decode_str(&spaced).decode_utf8().ok();
        decoded
            .filter(|_| has_whole_escapes(part))
            .map(std::borrow::Cow::into_owned)
            .ok_or_else(invalid)
    };
    let mut tags = Vec::new();
    for pair in text.split('&').filter(|pair| !pair.is_empty()) {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        tags.push((decode(key)?, decode(value)?));
    }
    check_tags(&tags, Tagged::Object)?;
    check_tag_text(&tags)?;
    Ok(tags)
}

/// Whether behind each percent sign two hexadecimal digits stand.
fn has_whole_escapes(text: &str) -> bool {
    text.split('%').skip(1).all(|rest| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    })
}

/// Checks what new tags say. Source: S3 user guide, "Categorizing your objects using tags": letters,
/// digits, spaces and `+ - = . _ : / @`; what begins with `aws:` is S3's own.
///
/// # Errors
/// `InvalidTag`.
pub fn check_tag_text(tags: &[(String, String)]) -> S3Result<()> {
    let is_allowed = |c: char| c.is_alphanumeric() || c.is_whitespace() || "+-=._:/@".contains(c);
    for (key, value) in tags {
        let is_ours = key
            .get(..4)
            .is_some_and(|start| start.eq_ignore_ascii_case("aws:"));
        if is_ours {
            return Err(s3_error!(
                InvalidTag,
                "System tags cannot be added/updated by requester"
            ));
        }
        if !key.chars().all(is_allowed) {
            return Err(s3_error!(
                InvalidTag,
                "The TagKey you have provided is invalid"
            ));
        }
        if !value.chars().all(is_allowed) {
            return Err(s3_error!(
                InvalidTag,
                "The TagValue you have provided is invalid"
            ));
        }
    }
    Ok(())
}

/// Checks the number, the lengths and the difference of tags, and that answers can carry them.
///
/// # Errors
/// `InvalidTag`, also for too many.
pub fn check_tags(tags: &[(String, String)], on: Tagged) -> S3Result<()> {
    if tags.len() > on.tags_max() {
        return Err(on.too_many());
    }
    for (at, (key, value)) in tags.iter().enumerate() {
        let fits = (1..=TAG_KEY_MAX_CHARS).contains(&key.chars().count())
            && value.chars().count() <= TAG_VALUE_MAX_CHARS
            && is_xml_text(key)
            && is_xml_text(value);
        if !fits {
            return Err(s3_error!(InvalidTag));
        }
        if tags[..at].iter().any(|(earlier, _)| earlier == key) {
            return Err(s3_error!(
                InvalidTag,
                "Cannot provide multiple Tags with the same key"
            ));
        }
    }
    Ok(())
}

/// The tags of a document, checked.
///
/// # Errors
/// `InvalidTag`, also for too many; `MalformedXML` for a tag without key or value.
pub fn tags_of(tagging: &Tagging, on: Tagged) -> S3Result<Vec<(String, String)>> {
    let mut tags = Vec::with_capacity(tagging.tag_set.len());
    for tag in &tagging.tag_set {
        let key = tag.key.clone().ok_or_else(|| s3_error!(MalformedXML))?;
        let value = tag.value.clone().ok_or_else(|| s3_error!(MalformedXML))?;
        tags.push((key, value));
    }
    check_tags(&tags, on)?;
    check_tag_text(&tags)?;
    Ok(tags)
}

/// The tags of a document that stands in a form's field.
///
/// # Errors
/// As [`tags_of`]; `MalformedXML`.
pub fn parse_tagging(text: &str) -> S3Result<Vec<(String, String)>> {
    // s3s drops such sections, and with them a part of what the text says.
    if text.contains("<![CDATA[") {
        return Err(s3_error!(MalformedXML));
    }
    let mut reader = s3s::xml::Deserializer::new(text.as_bytes());
    let tagging = <Tagging as s3s::xml::Deserialize>::deserialize(&mut reader)
        .map_err(|_| s3_error!(MalformedXML))?;
    tags_of(&tagging, Tagged::Object)
}

pub(crate) fn requested_retention(headers: &HeaderMap) -> S3Result<Option<Retention>> {
    let mode = text(headers, "x-amz-object-lock-mode")?;
    let until = text(headers, "x-amz-object-lock-retain-until-date")?;
    match (mode, until) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) => {
            let until = DtoTimestamp::parse(TimestampFormat::DateTime, until)
                .map_err(|_| s3_error!(InvalidArgument, "The retain until date is no date"))?;
            if lock_mode(mode).is_err() {
                return Err(s3_error!(InvalidArgument, "Unknown wormMode directive."));
            }
            retention(mode, until, Timestamp::now()).map(Some)
        }
        _ => Err(s3_error!(
            InvalidArgument,
            "x-amz-object-lock-retain-until-date and x-amz-object-lock-mode must both be supplied"
        )),
    }
}

/// A retention that begins at `now`.
///
/// # Errors
/// `InvalidArgument` for one that is over already; `MalformedXML` for an unknown mode.
pub fn retention(mode: &str, until: DtoTimestamp, now: Timestamp) -> S3Result<Retention> {
    let mode = lock_mode(mode)?;
    let milliseconds = OffsetDateTime::from(until).unix_timestamp_nanos() / 1_000_000;
    let until = Timestamp(u64::try_from(milliseconds).unwrap_or_default());
    if until <= now {
        return Err(s3_error!(
            InvalidArgument,
            "The retain until date must be in the future!"
        ));
    }
    Ok(Retention { mode, until })
}

/// The mode of that name.
///
/// # Errors
/// `MalformedXML` for an unknown one.
pub fn lock_mode(name: &str) -> S3Result<LockMode> {
    match name {
        "GOVERNANCE" => Ok(LockMode::Governance),
        "COMPLIANCE" => Ok(LockMode::Compliance),
        _ => Err(s3_error!(MalformedXML)),
    }
}

/// The name of a mode.
pub const fn lock_mode_name(mode: LockMode) -> &'static str {
    match mode {
        LockMode::Governance => "GOVERNANCE",
        LockMode::Compliance => "COMPLIANCE",
    }
}

fn default_retention(bucket: &Bucket, now: Timestamp) -> Option<Retention> {
    let (mode, period) = bucket.settings.lock.as_ref()?.default_retention?;
    let days = match period {
        RetentionPeriod::Days(days) => u64::from(days),
        RetentionPeriod::Years(years) => u64::from(years) * 365,
    };
    let until = Timestamp(now.0.saturating_add(days.saturating_mul(DAY_MS)));
    Some(Retention { mode, until })
}

pub(crate) fn requested_hold(headers: &HeaderMap) -> S3Result<Option<bool>> {
    match text(headers, "x-amz-object-lock-legal-hold")? {
        None => Ok(None),
        Some("ON") => Ok(Some(true)),
        Some("OFF") => Ok(Some(false)),
        Some(_) => Err(s3_error!(
            InvalidArgument,
            "Legal Hold must be either of 'ON' or 'OFF'"
        )),
    }
}

/// A legal hold as S3 shows it.
pub fn hold_status(hold: bool) -> ObjectLockLegalHoldStatus {
    ObjectLockLegalHoldStatus::from_static(match hold {
        true => ObjectLockLegalHoldStatus::ON,
        false => ObjectLockLegalHoldStatus::OFF,
    })
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn tags_hold_what_s3_lets_them_hold() {
        let code = |text: &str| {
            let refused = parse_tags(text).err();
            refused.map(|error| error.code().as_str().to_owned())
        };
        for (text, expected) in [
            ("a=b&c", None),
            ("a+b=%2B-%3D._%3A%2F%40+%C3%A9", None),
            ("aws%3Aa=b", Some("InvalidTag")),
            ("AWS%3Aa=b", Some("InvalidTag")),
            ("a=aws%3Ab", None),
            ("a=b%3B", Some("InvalidTag")),
            ("a%26=b", Some("InvalidTag")),
            ("a=%zz", Some("InvalidArgument")),
            ("a=%2", Some("InvalidArgument")),
            ("a=%FF", Some("InvalidArgument")),
        ] {
            assert_eq!(code(text).as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn too_many_tags_are_told_by_what_they_are_on() {
        let tags: Vec<_> = (0..51).map(|n| (n.to_string(), String::new())).collect();
        assert!(check_tags(&tags[..10], Tagged::Object).is_ok());
        assert!(check_tags(&tags[..50], Tagged::Bucket).is_ok());
        for (on, start) in [(Tagged::Object, "Object"), (Tagged::Bucket, "Bucket")] {
            let refused = check_tags(&tags, on).unwrap_err();
            assert!(refused.message().unwrap().starts_with(start));
        }
    }

    #[test]
    fn what_is_asked_for_in_no_text_is_refused_and_not_passed_over() {
        for name in [
            "x-amz-object-lock-legal-hold",
            "x-amz-object-lock-mode",
            "x-amz-acl",
        ] {
            let value = HeaderValue::from_bytes(b"ON\xff").unwrap();
            let headers = HeaderMap::from_iter([(http::HeaderName::from_static(name), value)]);
            let refused = requested_hold(&headers).is_err()
                || requested_retention(&headers).is_err()
                || refuse_lists(&headers).is_err();
            assert!(refused, "{name}");
        }
    }
}
