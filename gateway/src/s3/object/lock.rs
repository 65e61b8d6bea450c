//! Object lock: who may delete what is retained, and how a retention may change. Source: S3 user
//! guide, "Locking objects with Object Lock".

use metastore::{LockMode, ObjectVersion, Retention, Timestamp};
use s3s::{S3Result, s3_error};

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
