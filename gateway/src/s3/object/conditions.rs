//! Conditional requests: the four headers on reads, and the preconditions of writes that the
//! metastore checks inside the commit.

use http::{HeaderMap, HeaderValue};
use metastore::{ObjectVersion, WriteCondition};
use s3s::dto::{ETag, ETagCondition, Timestamp, TimestampFormat};
use s3s::{S3Error, S3Result, s3_error};
use time::OffsetDateTime;

use super::headers;

/// The conditions of a read.
#[derive(Debug, Default)]
pub struct ReadConditions {
    /// `If-Match`.
    pub if_match: Option<ETagCondition>,
    /// `If-None-Match`.
    pub if_none_match: Option<ETagCondition>,
    /// `If-Modified-Since`.
    pub if_modified_since: Option<Timestamp>,
    /// `If-Unmodified-Since`.
    pub if_unmodified_since: Option<Timestamp>,
}

/// How a condition fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Failure {
    Precondition,
    NotModified,
}

impl ReadConditions {
    /// Checks the conditions of a GET or HEAD.
    ///
    /// # Errors
    /// `PreconditionFailed`; `NotModified` with the headers that a 304 carries.
    pub fn check(&self, object: &ObjectVersion) -> S3Result<()> {
        match self.failure(object) {
            None => Ok(()),
            Some(Failure::Precondition) => Err(s3_error!(PreconditionFailed)),
            Some(Failure::NotModified) => Err(not_modified(object)),
        }
    }

    /// Checks the `x-amz-copy-source-if-*` conditions; both ways of failing are 412 there.
    ///
    /// # Errors
    /// `PreconditionFailed`.
    pub fn check_copy_source(&self, object: &ObjectVersion) -> S3Result<()> {
        match self.failure(object) {
            None => Ok(()),
            Some(_) => Err(s3_error!(PreconditionFailed)),
        }
    }

    /// The order of evaluation is that of RFC 9110, 13.2.2.
    fn failure(&self, object: &ObjectVersion) -> Option<Failure> {
        let modified_at: OffsetDateTime = headers::to_timestamp(object.modified_at).into();
        let modified_since =
            |moment: &Timestamp| modified_at > OffsetDateTime::from(moment.clone());

        if let Some(condition) = &self.if_match {
            if !matches(condition, &object.etag) {
                return Some(Failure::Precondition);
            }
        } else if self
            .if_unmodified_since
            .as_ref()
            .is_some_and(modified_since)
        {
            return Some(Failure::Precondition);
        }
        if let Some(condition) = &self.if_none_match {
            return matches(condition, &object.etag).then_some(Failure::NotModified);
        }
        let moment = self.if_modified_since.as_ref()?;
        (!modified_since(moment)).then_some(Failure::NotModified)
    }
}

fn matches(condition: &ETagCondition, etag: &str) -> bool {
    condition
        .as_etag()
        .is_none_or(|wanted| etags_in(wanted).any(|wanted| wanted == etag))
}

/// The ETags of a header, which may be a list (RFC 9110, 13.1.1). s3s takes a list for one tag that
/// begins in the first and ends in the last; none of ours has a comma or a quote in it.
fn etags_in(tags: &ETag) -> impl Iterator<Item = &str> {
    tags.value().split(',').map(|tag| {
        let tag = tag.trim();
        tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"')
    })
}

/// Whether a `Range` applies under `If-Range` (RFC 9110, 13.1.5): only to the very object that the
/// client has a part of.
pub fn range_applies(if_range: Option<&HeaderValue>, object: &ObjectVersion) -> bool {
    let Some(validator) = if_range else {
        return true;
    };
    let etag = headers::to_etag(&object.etag).to_http_header().ok();
    Some(validator) == etag.as_ref() || Some(validator) == last_modified(object).as_ref()
}

fn last_modified(object: &ObjectVersion) -> Option<HeaderValue> {
    let mut moment = Vec::new();
    headers::to_timestamp(object.modified_at)
        .format(TimestampFormat::HttpDate, &mut moment)
        .ok()?;
    HeaderValue::from_bytes(&moment).ok()
}

fn not_modified(object: &ObjectVersion) -> S3Error {
    let mut error = s3_error!(NotModified);
    let mut answer = HeaderMap::new();
    if let Ok(etag) = headers::to_etag(&object.etag).to_http_header() {
        answer.insert(http::header::ETAG, etag);
    }
    if let Some(moment) = last_modified(object) {
        answer.insert(http::header::LAST_MODIFIED, moment);
    }
    error.set_headers(answer);
    error
}

/// The precondition of a write. AWS takes one of the two, and `If-None-Match` only with `*`; here
/// both may stand together, with an ETag too.
pub fn write_condition(
    if_match: Option<&ETagCondition>,
    if_none_match: Option<&ETagCondition>,
) -> WriteCondition {
    let wanted = if_match.map(|condition| match condition {
        ETagCondition::Any => WriteCondition::Present,
        ETagCondition::ETag(tags) => one_of(tags),
    });
    let unwanted = if_none_match.map(|condition| match condition {
        ETagCondition::Any => WriteCondition::Absent,
        ETagCondition::ETag(tags) => etags_in(tags)
            .map(|etag| WriteCondition::Unlike(etag.to_owned()))
            .fold(WriteCondition::Always, both),
    });
    both(
        wanted.unwrap_or(WriteCondition::Always),
        unwanted.unwrap_or(WriteCondition::Always),
    )
}

fn one_of(tags: &ETag) -> WriteCondition {
    let mut etags: Vec<String> = etags_in(tags).map(str::to_owned).collect();
    match etags.len() {
        1 => WriteCondition::Etag(etags.swap_remove(0)),
        _ => WriteCondition::OneOf(etags),
    }
}

/// Both conditions.
pub fn both(one: WriteCondition, other: WriteCondition) -> WriteCondition {
    match (one, other) {
        (WriteCondition::Always, only) | (only, WriteCondition::Always) => only,
        (one, other) => WriteCondition::Both(Box::new((one, other))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use metastore::{ChunkLayout, ObjectData, Scheme, Sequence, SystemHeaders, VersionId};

    fn object() -> ObjectVersion {
        ObjectVersion {
            version: VersionId::Null,
            sequence: Sequence::generate(),
            modified_at: metastore::Timestamp(1_000_500),
            size_bytes: 0,
            etag: "abc".into(),
            checksum: None,
            headers: SystemHeaders::default(),
            user_metadata: vec![],
            owner: String::new(),
            data: ObjectData::Chunks(ChunkLayout {
                scheme: Scheme::Replicated,
                chunks: vec![],
            }),
            order: metastore::VersionOrder::FIRST,
            attributes: metastore::ObjectAttributes::default(),
        }
    }

    fn etag(value: &str) -> Option<ETagCondition> {
        Some(ETagCondition::ETag(ETag::Strong(value.into())))
    }

    #[expect(clippy::unnecessary_wraps, reason = "conditions are optional")]
    fn at(seconds: i64) -> Option<Timestamp> {
        Some(OffsetDateTime::from_unix_timestamp(seconds).unwrap().into())
    }

    #[test]
    #[expect(clippy::too_many_lines, reason = "a table of cases")]
    fn each_condition_alone() {
        let (pass, failed, unchanged) = (
            None,
            Some(Failure::Precondition),
            Some(Failure::NotModified),
        );
        let none = ReadConditions::default;
        for (conditions, expected) in [
            (none(), pass),
            (
                ReadConditions {
                    if_match: etag("abc"),
                    ..none()
                },
                pass,
            ),
            (
                ReadConditions {
                    if_match: Some(ETagCondition::Any),
                    ..none()
                },
                pass,
            ),
            (
                ReadConditions {
                    if_match: etag("x"),
                    ..none()
                },
                failed,
            ),
            (
                ReadConditions {
                    if_none_match: etag("x"),
                    ..none()
                },
                pass,
            ),
            (
                ReadConditions {
                    if_none_match: etag("abc"),
                    ..none()
                },
                unchanged,
            ),
            (
                ReadConditions {
                    if_modified_since: at(999),
                    ..none()
                },
                pass,
            ),
            (
                ReadConditions {
                    if_modified_since: at(1000),
                    ..none()
                },
                unchanged,
            ),
            (
                ReadConditions {
                    if_unmodified_since: at(1000),
                    ..none()
                },
                pass,
            ),
            (
                ReadConditions {
                    if_unmodified_since: at(999),
                    ..none()
                },
                failed,
            ),
        ] {
            assert_eq!(conditions.failure(&object()), expected, "{conditions:?}");
        }
    }

    #[test]
    fn a_list_of_etags_is_each_of_them() {
        let listed = |header: &str| ETagCondition::parse_http_header(header.as_bytes()).unwrap();
        for (header, expected) in [
            ("\"x\", \"abc\"", true),
            ("\"abc\",\"x\",\"y\"", true),
            ("W/\"x\", W/\"abc\"", true),
            ("\"x\", \"y\"", false),
        ] {
            let condition = listed(header);
            assert_eq!(matches(&condition, "abc"), expected, "{header}");
            let key = metastore::ObjectKey::parse("k").unwrap();
            let holds = |condition: WriteCondition| condition.check(&key, Some(&object())).is_ok();
            assert_eq!(
                holds(write_condition(Some(&condition), None)),
                expected,
                "{header}"
            );
            assert_eq!(
                holds(write_condition(None, Some(&condition))),
                !expected,
                "{header}"
            );
        }
    }

    #[test]
    fn a_range_applies_only_to_the_object_that_the_client_knows() {
        let applies = |validator: &'static str| {
            range_applies(Some(&HeaderValue::from_static(validator)), &object())
        };
        assert!(range_applies(None, &object()));
        assert!(applies("\"abc\""));
        assert!(applies("Thu, 01 Jan 1970 00:16:40 GMT"));
        assert!(!applies("\"other\""));
        assert!(!applies("Thu, 01 Jan 1970 00:16:41 GMT"));
    }

    #[test]
    fn an_etag_outweighs_a_date() {
        let stale = ReadConditions {
            if_match: etag("abc"),
            if_unmodified_since: at(999),
            ..ReadConditions::default()
        };
        assert_eq!(stale.failure(&object()), None);
        let changed = ReadConditions {
            if_none_match: etag("x"),
            if_modified_since: at(1000),
            ..ReadConditions::default()
        };
        assert_eq!(changed.failure(&object()), None);
    }
}
