//! What a request says of its own time, checked before its signature: the date of a signed header or
//! URL, and the validity of a presigned URL. Bad ones are refused with 403, as S3 does, whatever else is
//! wrong. Forms are not looked at: their policies say how long they are good.

use std::borrow::Cow;

use http::{HeaderMap, StatusCode};
use time::format_description::well_known::Rfc2822;
use time::macros::format_description;
use time::{Duration, OffsetDateTime, PrimitiveDateTime};

use super::envelope::Refused;
use super::signature::{Signature, SignatureVersion};
use crate::http::query_value;

/// How far a client's clock may be off.
const SKEW_MAX: Duration = Duration::minutes(15);
/// Longest validity of a presigned URL. Source: S3 user guide, "Expiration time for presigned URLs".
const EXPIRES_MAX_S: i64 = 7 * 24 * 60 * 60;

/// Why the time is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum DateRefusal {
    /// There is no date, or it is none.
    Invalid,
    /// It is too far from now.
    Skewed,
    /// The validity of a presigned URL is no number of seconds up to a week.
    Validity,
}

impl DateRefusal {
    /// The error's code and message.
    fn words(self) -> (&'static str, &'static str) {
        match self {
            Self::Invalid => (
                "AccessDenied",
                "AWS authentication requires a valid Date or x-amz-date header",
            ),
            Self::Skewed => (
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
            ),
            Self::Validity => (
                "AuthorizationQueryParametersError",
                "X-Amz-Expires must be a number of seconds from 1 to 604800",
            ),
        }
    }
}

/// Refuses a request that says something wrong of its time.
///
/// # Errors
/// What S3 answers.
pub fn refuse_bad_dates(
    signature: Option<Signature>,
    headers: &HeaderMap,
    query: Option<&str>,
    now: OffsetDateTime,
) -> Result<(), Refused> {
    check_dates(signature, headers, query, now).map_err(|refusal| {
        let (code, message) = refusal.words();
        let refused = Refused::new(StatusCode::FORBIDDEN, code, message);
        if refusal != DateRefusal::Skewed {
            return refused;
        }
        let said = headers
            .get("x-amz-date")
            .or_else(|| headers.get(http::header::DATE));
        let said = said.and_then(|date| date.to_str().ok()).map(str::to_owned);
        let said = said.or_else(|| query_value(query, "X-Amz-Date").map(Cow::into_owned));
        let server_time = format_description!("[year]-[month]-[day]T[hour]:[minute]:[second]Z");
        refused
            .with_member("RequestTime", said.unwrap_or_default())
            .with_member("ServerTime", now.format(&server_time).unwrap_or_default())
            .with_member(
                "MaxAllowedSkewMilliseconds",
                SKEW_MAX.whole_milliseconds().to_string(),
            )
    })
}

/// Checks what the request says of its time.
///
/// # Errors
/// [`DateRefusal`].
fn check_dates(
    signature: Option<Signature>,
    headers: &HeaderMap,
    query: Option<&str>,
    now: OffsetDateTime,
) -> Result<(), DateRefusal> {
    check_validity(query)?;
    match signature {
        Some(Signature::Header(SignatureVersion::V2)) => check_date(headers, now),
        // A date that is none is left for s3s to refuse.
        Some(Signature::Header(SignatureVersion::V4)) => {
            let date = headers
                .get("x-amz-date")
                .and_then(|date| date.to_str().ok());
            check_skew(date.and_then(parse_basic), now)
        }
        // Its validity ends a presigned URL; it must not begin far ahead of now.
        _ => {
            let signed_at = query_value(query, "X-Amz-Date").and_then(|date| parse_basic(&date));
            check_skew(signed_at.filter(|date| *date > now), now)
        }
    }
}

fn check_validity(query: Option<&str>) -> Result<(), DateRefusal> {
    let validity = query_value(query, "X-Amz-Expires");
    match validity.as_deref().map(str::parse) {
        None => Ok(()),
        Some(Ok(seconds)) if (1..=EXPIRES_MAX_S).contains(&seconds) => Ok(()),
        Some(_) => Err(DateRefusal::Validity),
    }
}

fn check_date(headers: &HeaderMap, now: OffsetDateTime) -> Result<(), DateRefusal> {
    let date = headers
        .get("x-amz-date")
        .or_else(|| headers.get(http::header::DATE));
    let date = date
        .and_then(|date| parse(date.to_str().ok()?))
        // S3 knows no date before 1970.
        .filter(|date| date.unix_timestamp() >= 0)
        .ok_or(DateRefusal::Invalid)?;
    check_skew(Some(date), now)
}

fn check_skew(date: Option<OffsetDateTime>, now: OffsetDateTime) -> Result<(), DateRefusal> {
    match date.is_some_and(|date| (now - date).abs() > SKEW_MAX) {
        true => Err(DateRefusal::Skewed),
        false => Ok(()),
    }
}

/// A date as mails or as Signature Version 4 write it.
fn parse(date: &str) -> Option<OffsetDateTime> {
    let as_mail = OffsetDateTime::parse(&date.replace("GMT", "+0000"), &Rfc2822);
    as_mail.ok().or_else(|| parse_basic(date))
}

/// A date as Signature Version 4 writes it.
fn parse_basic(date: &str) -> Option<OffsetDateTime> {
    let basic = format_description!("[year][month][day]T[hour][minute][second]Z");
    Some(PrimitiveDateTime::parse(date, basic).ok()?.assume_utc())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: i64 = 1_800_000_000; // Fri, 15 Jan 2027 08:00:00 GMT

    fn outcome(pairs: &[(&'static str, &'static str)], query: &str) -> Result<(), DateRefusal> {
        let headers = pairs
            .iter()
            .map(|(name, value)| {
                let name = http::HeaderName::from_static(name);
                (name, value.parse().unwrap())
            })
            .collect();
        let now = OffsetDateTime::from_unix_timestamp(NOW).unwrap();
        let signature = Signature::of(&http::Method::GET, &headers, Some(query));
        check_dates(signature, &headers, Some(query), now)
    }

    #[test]
    fn version_2_needs_a_date_close_to_now() {
        let version_2 = ("authorization", "AWS AK:c2ln");
        for (name, date, expected) in [
            ("date", "Fri, 15 Jan 2027 08:14:00 GMT", Ok(())),
            ("date", "20270115T075000Z", Ok(())),
            (
                "x-amz-date",
                "Fri, 15 Jan 2027 08:16:00 GMT",
                Err(DateRefusal::Skewed),
            ),
            (
                "x-amz-date",
                "Tue, 07 Jul 9999 21:53:04 GMT",
                Err(DateRefusal::Skewed),
            ),
            (
                "x-amz-date",
                "Fri, 07 Jul 1950 21:53:04 GMT",
                Err(DateRefusal::Invalid),
            ),
            ("x-amz-date", "Bad Date", Err(DateRefusal::Invalid)),
            ("x-amz-date", "", Err(DateRefusal::Invalid)),
            ("x-other", "", Err(DateRefusal::Invalid)),
        ] {
            assert_eq!(outcome(&[version_2, (name, date)], ""), expected, "{date}");
        }
        assert_eq!(outcome(&[], ""), Ok(()));
    }

    #[test]
    fn version_4_needs_a_date_close_to_now_and_a_url_one_that_is_not_ahead() {
        let version_4 = ("authorization", "AWS4-HMAC-SHA256 Credential=AK");
        for (date, in_header, in_url) in [
            ("20270115T081400Z", Ok(()), Ok(())),
            ("20270115T074600Z", Ok(()), Ok(())),
            (
                "20270115T081600Z",
                Err(DateRefusal::Skewed),
                Err(DateRefusal::Skewed),
            ),
            ("20270115T074400Z", Err(DateRefusal::Skewed), Ok(())),
            ("none", Ok(()), Ok(())),
        ] {
            let headers = [version_4, ("x-amz-date", date)];
            assert_eq!(outcome(&headers, ""), in_header, "{date}");
            assert_eq!(
                outcome(&[], &format!("X-Amz-Date={date}")),
                in_url,
                "{date}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_in_place_of_a_date_or_query_breaks_the_check(date in "\\PC{0,40}", query in "\\PC{0,80}") {
            let _ = parse(&date);
            let _ = check_validity(Some(&query));
        }
    }

    #[test]
    fn presigned_urls_are_valid_for_a_week_at_most() {
        for (validity, expected) in [
            ("1", Ok(())),
            ("604800", Ok(())),
            ("604801", Err(DateRefusal::Validity)),
            ("0", Err(DateRefusal::Validity)),
            ("-7", Err(DateRefusal::Validity)),
            ("99999999999999999999", Err(DateRefusal::Validity)),
            ("soon", Err(DateRefusal::Validity)),
        ] {
            let query = format!("X-Amz-Date=x&X-Amz-Expires={validity}");
            assert_eq!(outcome(&[], &query), expected, "{validity}");
        }
    }
}
