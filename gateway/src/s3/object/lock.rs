//! Object lock: how retention and legal hold are written, who may delete what is retained, and how a
//! retention may change. Source: S3 user guide, "Locking objects with Object Lock".

use http::HeaderMap;
use metastore::{Bucket, LockMode, ObjectVersion, Retention, RetentionPeriod, Timestamp};
use s3s::dto::{ObjectLockLegalHoldStatus, Timestamp as DtoTimestamp, TimestampFormat};
use s3s::{S3Result, s3_error};
use time::OffsetDateTime;

use super::headers::text;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Permission to change or delete what is under governance.
pub const BYPASS: &str = "s3:BypassGovernanceRetention";

/// Refuses the deletion of a version that is held or retained.
///
/// # Errors
/// `AccessDenied`.
pub fn refuse_locked(object: &ObjectVersion, may_bypass: bool, now: Timestamp) -> S3Result<()> {
    let is_held = object.attributes.legal_hold == Some(true);
    let is_retained = object.attributes.retention.is_some_and(|retention| {
        let lifted = retention.mode == LockMode::Governance && may_bypass;
        retention.until > now && !lifted
    });
    match is_held || is_retained {
        true => Err(s3_error!(
            AccessDenied,
            "Access Denied because object protected by object lock."
        )),
        false => Ok(()),
    }
}

/// Refuses a change of retention that would weaken it: shorten it, or end compliance.
///
/// # Errors
/// `AccessDenied`.
pub fn refuse_weaker(
    standing: Option<Retention>,
    next: Option<Retention>,
    may_bypass: bool,
    now: Timestamp,
) -> S3Result<()> {
    let Some(standing) = standing.filter(|retention| retention.until > now) else {
        return Ok(());
    };
    let is_weaker = next.is_none_or(|next| {
        let ends_mode = next.mode != standing.mode && next.mode == LockMode::Governance;
        let leaves_governance = next.mode != standing.mode && standing.mode == LockMode::Governance;
        next.until < standing.until || ends_mode || leaves_governance
    });
    let lifted = standing.mode == LockMode::Governance && may_bypass;
    match is_weaker && !lifted {
        true => Err(s3_error!(
            AccessDenied,
            "Access Denied because object protected by object lock."
        )),
        false => Ok(()),
    }
}

/// The retention that the headers of a write ask for.
///
/// # Errors
/// `InvalidArgument` for what is none, or half of one.
pub(crate) fn requested_retention(headers: &HeaderMap) -> S3Result<Option<Retention>> {
    let mode = text(headers, "x-amz-object-lock-mode")?;
    let until = text(headers, "x-amz-object-lock-retain-until-date")?;
    match (mode, until) {
        (None, None) => Ok(None),
        (Some(mode), Some(until)) => {
            let until = DtoTimestamp::parse(TimestampFormat::DateTime, until).map_err(|_| {
                s3_error!(InvalidArgument, "The retain until date is not a valid date")
            })?;
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

/// The retention that the bucket gives to what is written at `now`.
pub fn default_retention(bucket: &Bucket, now: Timestamp) -> Option<Retention> {
    let (mode, period) = bucket.settings.lock.as_ref()?.default_retention?;
    let days = match period {
        RetentionPeriod::Days(days) => u64::from(days),
        RetentionPeriod::Years(years) => u64::from(years) * 365,
    };
    let until = Timestamp(now.0.saturating_add(days.saturating_mul(DAY_MS)));
    Some(Retention { mode, until })
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

/// The legal hold that the headers of a write ask for.
///
/// # Errors
/// `InvalidArgument` for what is none.
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
    use super::*;

    fn retention(mode: LockMode, until: u64) -> Option<Retention> {
        Some(Retention {
            mode,
            until: Timestamp(until),
        })
    }

    #[test]
    fn a_retention_may_grow_and_never_shrink_unless_bypassed() {
        use LockMode::{Compliance, Governance};
        for (standing, next, bypass, allowed) in [
            (None, retention(Compliance, 20), false, true),
            (
                retention(Governance, 20),
                retention(Governance, 30),
                false,
                true,
            ),
            (
                retention(Governance, 20),
                retention(Governance, 15),
                false,
                false,
            ),
            (
                retention(Governance, 20),
                retention(Governance, 15),
                true,
                true,
            ),
            (
                retention(Governance, 20),
                retention(Compliance, 30),
                false,
                false,
            ),
            (retention(Governance, 20), None, true, true),
            (
                retention(Compliance, 20),
                retention(Compliance, 15),
                true,
                false,
            ),
            (
                retention(Compliance, 20),
                retention(Governance, 30),
                true,
                false,
            ),
            (retention(Compliance, 20), None, true, false),
            (retention(Compliance, 5), None, false, true),
        ] {
            let refused = refuse_weaker(standing, next, bypass, Timestamp(10)).is_err();
            assert_eq!(refused, !allowed, "{standing:?} {next:?} {bypass}");
        }
    }
}
