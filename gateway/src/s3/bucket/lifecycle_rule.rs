//! One rule of a lifecycle configuration: from the document to what it means.

use metastore::Timestamp;
use s3s::dto::{
    ExpirationStatus, LifecycleExpiration, LifecycleRule, LifecycleRuleAndOperator,
    LifecycleRuleFilter, NoncurrentVersionExpiration, NoncurrentVersionTransition, Tag,
    Timestamp as DtoTimestamp, Transition as DtoTransition,
};
use s3s::{S3Result, s3_error};
use time::OffsetDateTime;

use crate::lifecycle::{
    Filter, NoncurrentExpiration, NoncurrentTransition, Rule, Transition, When,
};
use crate::s3::object::tags::{Tagged, check_tags};

/// Most noncurrent versions that a rule may spare.
const NEWER_KEPT_MAX: i32 = 100;

/// Classes that objects may be moved to.
const COLDER_CLASSES: [&str; 6] = [
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

/// What a rule means; none for one that is disabled.
///
/// # Errors
/// `MalformedXML`, `InvalidArgument`, `InvalidRequest`, also for a disabled one.
pub fn parse(rule: LifecycleRule) -> S3Result<Option<Rule>> {
    let enabled = match rule.status.as_str() {
        ExpirationStatus::ENABLED => true,
        ExpirationStatus::DISABLED => false,
        _ => return Err(s3_error!(MalformedXML)),
    };
    let filter = match (rule.filter, rule.prefix) {
        (Some(filter), None) => parse_filter(filter)?,
        (None, Some(prefix)) => Filter {
            prefix,
            ..Filter::default()
        },
        _ => return Err(s3_error!(MalformedXML)),
    };
    let mut parsed = Rule {
        id: rule.id.unwrap_or_default(),
        filter,
        ..Rule::default()
    };
    if let Some(expiration) = rule.expiration {
        set_expiration(&mut parsed, &expiration)?;
    }
    let noncurrent = rule.noncurrent_version_expiration;
    parsed.noncurrent_expiration = noncurrent.map(parse_noncurrent).transpose()?;
    let transitions = rule.transitions.into_iter().flatten();
    parsed.transitions = transitions.map(parse_transition).collect::<S3Result<_>>()?;
    let transitions = rule.noncurrent_version_transitions.into_iter().flatten();
    parsed.noncurrent_transitions = transitions
        .map(parse_noncurrent_transition)
        .collect::<S3Result<_>>()?;
    if let Some(abort) = rule.abort_incomplete_multipart_upload {
        let days = abort
            .days_after_initiation
            .ok_or_else(|| s3_error!(MalformedXML))?;
        parsed.abort_uploads_after = Some(positive(days, "'DaysAfterInitiation'")?);
    }
    refuse_meaningless(&parsed)?;
    Ok(enabled.then_some(parsed))
}

/// Refuses a new rule under which objects go before they are moved. Kept ones mean what they say.
///
/// # Errors
/// `InvalidArgument`.
pub fn refuse_too_early(rule: &LifecycleRule) -> S3Result<()> {
    let moved = rule.transitions.iter().flatten();
    let last_days = moved.clone().filter_map(|transition| transition.days).max();
    let last_date = moved
        .filter_map(|transition| transition.date.clone().map(OffsetDateTime::from))
        .max();
    let expiration = rule.expiration.as_ref();
    let days = expiration.and_then(|expiration| expiration.days);
    let date = expiration.and_then(|expiration| expiration.date.clone());
    let too_early = days
        .zip(last_days)
        .is_some_and(|(gone, moved)| gone <= moved)
        || date
            .zip(last_date)
            .is_some_and(|(gone, moved)| OffsetDateTime::from(gone) <= moved);
    let moved = rule.noncurrent_version_transitions.iter().flatten();
    let last_days = moved
        .filter_map(|transition| transition.noncurrent_days)
        .max();
    let expiration = rule.noncurrent_version_expiration.as_ref();
    let days = expiration.and_then(|expiration| expiration.noncurrent_days);
    let noncurrent_too_early = days
        .zip(last_days)
        .is_some_and(|(gone, moved)| gone <= moved);
    match (too_early, noncurrent_too_early) {
        (true, _) => Err(s3_error!(
            InvalidArgument,
            "'Days' in the Expiration action for a rule must be greater than 'Days' in the Transition action"
        )),
        (_, true) => Err(s3_error!(
            InvalidArgument,
            "'NoncurrentDays' in the NoncurrentVersionExpiration action for a rule must be greater than 'NoncurrentDays' in the NoncurrentVersionTransition action"
        )),
        _ => Ok(()),
    }
}

fn refuse_meaningless(rule: &Rule) -> S3Result<()> {
    let does_nothing = rule.expiration.is_none()
        && !rule.expired_markers
        && rule.noncurrent_expiration.is_none()
        && rule.transitions.is_empty()
        && rule.noncurrent_transitions.is_empty()
        && rule.abort_uploads_after.is_none();
    if does_nothing {
        return Err(s3_error!(
            InvalidRequest,
            "At least one action needs to be specified in a rule"
        ));
    }
    let by_object = !rule.filter.tags.is_empty()
        || rule.filter.longer_than_bytes.is_some()
        || rule.filter.shorter_than_bytes.is_some();
    if by_object && rule.abort_uploads_after.is_some() {
        return Err(s3_error!(
            InvalidRequest,
            "AbortIncompleteMultipartUpload cannot be specified with Tags or object sizes"
        ));
    }
    if by_object && rule.expired_markers {
        return Err(s3_error!(
            InvalidRequest,
            "ExpiredObjectDeleteMarker cannot be specified with Tags or object sizes"
        ));
    }
    Ok(())
}

/// A filter says one thing; several stand in an `And`.
fn parse_filter(filter: LifecycleRuleFilter) -> S3Result<Filter> {
    let said = [
        filter.and.is_some(),
        filter.prefix.is_some(),
        filter.tag.is_some(),
        filter.object_size_greater_than.is_some(),
        filter.object_size_less_than.is_some(),
    ];
    if said.iter().filter(|said| **said).count() > 1 {
        return Err(s3_error!(MalformedXML));
    }
    let all = filter.and.unwrap_or_else(|| LifecycleRuleAndOperator {
        object_size_greater_than: filter.object_size_greater_than,
        object_size_less_than: filter.object_size_less_than,
        prefix: filter.prefix,
        tags: filter.tag.map(|tag| vec![tag]),
    });
    let tags = all.tags.into_iter().flatten().map(pair);
    let tags = tags.collect::<S3Result<Vec<_>>>()?;
    check_tags(&tags, Tagged::Object)?;
    let longer_than_bytes = all.object_size_greater_than.map(size).transpose()?;
    let shorter_than_bytes = all.object_size_less_than.map(size).transpose()?;
    if let (Some(longer), Some(shorter)) = (longer_than_bytes, shorter_than_bytes)
        && longer >= shorter
    {
        return Err(s3_error!(
            InvalidRequest,
            "'ObjectSizeLessThan' has to be a value greater than 'ObjectSizeGreaterThan'"
        ));
    }
    Ok(Filter {
        prefix: all.prefix.unwrap_or_default(),
        tags,
        longer_than_bytes,
        shorter_than_bytes,
    })
}

fn pair(tag: Tag) -> S3Result<(String, String)> {
    let key = tag.key.ok_or_else(|| s3_error!(MalformedXML))?;
    Ok((key, tag.value.unwrap_or_default()))
}

fn size(bytes: i64) -> S3Result<u64> {
    u64::try_from(bytes)
        .map_err(|_| s3_error!(InvalidArgument, "An object size must not be negative"))
}

fn set_expiration(rule: &mut Rule, expiration: &LifecycleExpiration) -> S3Result<()> {
    let marker = expiration.expired_object_delete_marker;
    match (expiration.days, &expiration.date, marker) {
        (Some(days), None, None) => {
            let days = positive(days, "'Days' for Expiration action")?;
            rule.expiration = Some(When::Days(days));
        }
        (None, Some(date), None) => rule.expiration = Some(When::Date(midnight(date)?)),
        (None, None, Some(marker)) => rule.expired_markers = marker,
        _ => return Err(s3_error!(MalformedXML)),
    }
    Ok(())
}

fn parse_noncurrent(expiration: NoncurrentVersionExpiration) -> S3Result<NoncurrentExpiration> {
    let days = expiration
        .noncurrent_days
        .ok_or_else(|| s3_error!(MalformedXML))?;
    Ok(NoncurrentExpiration {
        days: positive(
            days,
            "'NoncurrentDays' for NoncurrentVersionExpiration action",
        )?,
        newer_kept: newer_kept(expiration.newer_noncurrent_versions)?,
    })
}

fn newer_kept(asked: Option<i32>) -> S3Result<u32> {
    match asked {
        None => Ok(0),
        Some(count) if (1..=NEWER_KEPT_MAX).contains(&count) => Ok(count.unsigned_abs()),
        Some(_) => Err(s3_error!(
            InvalidArgument,
            "'NewerNoncurrentVersions' must be between 1 and 100"
        )),
    }
}

fn parse_transition(transition: DtoTransition) -> S3Result<Transition> {
    let class = transition
        .storage_class
        .ok_or_else(|| s3_error!(MalformedXML))?;
    let when = match (transition.days, &transition.date) {
        (Some(days), None) => When::Days(not_negative(days, "'Days' for Transition action")?),
        (None, Some(date)) => When::Date(midnight(date)?),
        _ => return Err(s3_error!(MalformedXML)),
    };
    Ok(Transition {
        when,
        class: colder(class.as_str())?,
    })
}

fn parse_noncurrent_transition(
    transition: NoncurrentVersionTransition,
) -> S3Result<NoncurrentTransition> {
    let class = transition
        .storage_class
        .ok_or_else(|| s3_error!(MalformedXML))?;
    let days = transition
        .noncurrent_days
        .ok_or_else(|| s3_error!(MalformedXML))?;
    Ok(NoncurrentTransition {
        when: NoncurrentExpiration {
            days: not_negative(
                days,
                "'NoncurrentDays' for NoncurrentVersionTransition action",
            )?,
            newer_kept: newer_kept(transition.newer_noncurrent_versions)?,
        },
        class: colder(class.as_str())?,
    })
}

fn colder(class: &str) -> S3Result<String> {
    match COLDER_CLASSES.contains(&class) {
        true => Ok(class.to_owned()),
        false => Err(s3_error!(MalformedXML)),
    }
}

fn positive(days: i32, name: &str) -> S3Result<u32> {
    match not_negative(days, name)? {
        0 => Err(s3_error!(
            InvalidArgument,
            "{name} must be a positive integer"
        )),
        days => Ok(days),
    }
}

fn not_negative(days: i32, name: &str) -> S3Result<u32> {
    u32::try_from(days).map_err(|_| s3_error!(InvalidArgument, "{name} must not be negative"))
}

fn midnight(date: &DtoTimestamp) -> S3Result<Timestamp> {
    let date = OffsetDateTime::from(date.clone());
    if date.time() != time::Time::MIDNIGHT || !date.offset().is_utc() {
        return Err(s3_error!(InvalidArgument, "'Date' must be at midnight GMT"));
    }
    let milliseconds = u64::try_from(date.unix_timestamp()).unwrap_or_default() * 1000;
    Ok(Timestamp(milliseconds))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use s3s::dto::BucketLifecycleConfiguration;
    use s3s::xml::Deserialize as _;

    use super::*;

    /// The outcome for a rule with these elements: `ok`, or the error's code.
    fn outcome(elements: &str) -> String {
        let text = format!(
            "<LifecycleConfiguration><Rule><Status>Enabled</Status>{elements}</Rule></LifecycleConfiguration>"
        );
        let mut reader = s3s::xml::Deserializer::new(text.as_bytes());
        let Ok(mut read) = BucketLifecycleConfiguration::deserialize(&mut reader) else {
            return "unreadable".into();
        };
        match parse(read.rules.remove(0)) {
            Ok(_) => "ok".into(),
            Err(error) => error.code().as_str().into(),
        }
    }

    proptest! {
        #[test]
        fn no_document_breaks_the_reader(
            elements in "(<(Prefix|Filter|And|Tag|Key|Days|Date|Expiration|Transition)>|</[A-Z][a-z]+>|-?[0-9]{1,12}|\\PC){0,40}",
        ) {
            let _ = outcome(&elements);
        }
    }

    #[test]
    fn rules_are_taken_or_refused_as_aws_does() {
        let days = "<Expiration><Days>1</Days></Expiration>";
        let marker =
            "<Expiration><ExpiredObjectDeleteMarker>true</ExpiredObjectDeleteMarker></Expiration>";
        let abort = "<AbortIncompleteMultipartUpload><DaysAfterInitiation>1</DaysAfterInitiation></AbortIncompleteMultipartUpload>";
        let tag = "<Filter><Tag><Key>a</Key><Value>1</Value></Tag></Filter>";
        for (elements, expected) in [
            (format!("<Prefix>a</Prefix>{days}"), "ok"),
            (format!("<Filter/>{days}"), "ok"),
            (format!("{tag}{days}"), "ok"),
            (days.to_owned(), "MalformedXML"),
            (format!("<Prefix/><Filter/>{days}"), "MalformedXML"),
            ("<Prefix/>".to_owned(), "InvalidRequest"),
            (format!("{tag}{marker}"), "InvalidRequest"),
            (format!("{tag}{abort}"), "InvalidRequest"),
            (format!("<Filter/>{abort}{marker}"), "ok"),
            ("<Prefix/><Expiration><Days>0</Days></Expiration>".into(), "InvalidArgument"),
            ("<Prefix/><Expiration><Days>-1</Days></Expiration>".into(), "InvalidArgument"),
            ("<Prefix/><Expiration/>".into(), "MalformedXML"),
            ("<Prefix/><Expiration><Date>2030-01-01T00:00:00Z</Date></Expiration>".into(), "ok"),
            ("<Prefix/><Expiration><Date>2030-01-01T00:00:01Z</Date></Expiration>".into(), "InvalidArgument"),
            ("<Filter><Prefix>a</Prefix><ObjectSizeLessThan>1</ObjectSizeLessThan></Filter>".to_owned() + days, "MalformedXML"),
            ("<Filter><And><ObjectSizeGreaterThan>5</ObjectSizeGreaterThan><ObjectSizeLessThan>5</ObjectSizeLessThan></And></Filter>".to_owned() + days, "InvalidRequest"),
            ("<Prefix/><Transition><Days>0</Days><StorageClass>GLACIER</StorageClass></Transition>".into(), "ok"),
            ("<Prefix/><Transition><Days>1</Days><StorageClass>STANDARD</StorageClass></Transition>".into(), "MalformedXML"),
            ("<Prefix/><NoncurrentVersionExpiration><NoncurrentDays>1</NoncurrentDays><NewerNoncurrentVersions>101</NewerNoncurrentVersions></NoncurrentVersionExpiration>".into(), "InvalidArgument"),
        ] {
            assert_eq!(outcome(&elements), expected, "{elements}");
        }
    }
}
