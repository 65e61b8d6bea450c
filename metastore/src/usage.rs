//! How much a bucket holds, and how much it may hold. Decided the same way in every implementation.
//! What is counted is what clients see: lengths of object versions, current or not, once and not for
//! each replica. Delete markers hold nothing, and parts of an upload count once it is completed.

use std::ops::AddAssign;

use serde::{Deserialize, Serialize};

use crate::{MetaError, MetaResult, ObjectVersion};

/// What a bucket holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Bytes of all versions.
    pub bytes: u64,
    /// Versions that are objects.
    pub objects: u64,
}

/// What a bucket may hold; none: without limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Bytes of all versions.
    pub bytes_max: Option<u64>,
    /// Versions that are objects.
    pub objects_max: Option<u64>,
}

/// What a bucket holds and may hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BucketUsage {
    /// What it holds.
    pub used: Usage,
    /// What it may hold.
    pub quota: Quota,
}

/// What a commit adds to a bucket, or takes away.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Growth {
    bytes: i64,
    objects: i64,
}

impl Quota {
    /// Whether a bucket that holds `used` may come to hold `wanted`. One that holds too much already
    /// may shrink, and stay as it is.
    ///
    /// # Errors
    /// `QuotaExceeded`.
    pub fn check(&self, used: Usage, wanted: Usage) -> MetaResult<()> {
        let limits = [
            ("bytes", used.bytes, wanted.bytes, self.bytes_max),
            ("objects", used.objects, wanted.objects, self.objects_max),
        ];
        for (unit, used, wanted, max) in limits {
            if let Some(max) = max
                && wanted > max
                && wanted > used
            {
                return Err(MetaError::QuotaExceeded { unit, wanted, max });
            }
        }
        Ok(())
    }

    /// Whether anything is limited.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

impl Usage {
    /// Counts one more version.
    pub(crate) fn count(&mut self, object: &ObjectVersion) {
        self.bytes = self.bytes.saturating_add(object.size_bytes);
        self.objects += 1;
    }

    /// What is there after `growth`.
    pub(crate) fn after(&self, growth: Growth) -> Self {
        Self {
            bytes: self.bytes.saturating_add_signed(growth.bytes),
            objects: self.objects.saturating_add_signed(growth.objects),
        }
    }
}

impl Growth {
    /// By a new version.
    pub(crate) fn by(object: &ObjectVersion) -> Self {
        Self {
            // Far below what fits: an object has 5 TiB at most.
            bytes: i64::try_from(object.size_bytes).unwrap_or(i64::MAX),
            objects: 1,
        }
    }

    /// By a version that goes for good.
    pub(crate) fn without(object: &ObjectVersion) -> Self {
        let Self { bytes, objects } = Self::by(object);
        Self {
            bytes: -bytes,
            objects: -objects,
        }
    }
}

impl AddAssign for Growth {
    fn add_assign(&mut self, other: Self) {
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.objects = self.objects.saturating_add(other.objects);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_limits_growth_and_never_forbids_to_shrink() {
        let usage = |bytes, objects| Usage { bytes, objects };
        let quota = Quota {
            bytes_max: Some(100),
            objects_max: Some(2),
        };
        for (used, wanted, fits) in [
            (usage(0, 0), usage(100, 2), true),
            (usage(100, 1), usage(101, 1), false),
            (usage(50, 2), usage(50, 3), false),
            // The quota came later than the objects.
            (usage(500, 9), usage(400, 8), true),
            (usage(500, 9), usage(500, 9), true),
            (usage(500, 9), usage(501, 8), false),
            (usage(500, 9), usage(400, 10), false),
        ] {
            let admitted = quota.check(used, wanted).is_ok();
            assert_eq!(admitted, fits, "{used:?} {wanted:?}");
        }
        assert!(
            Quota::default()
                .check(usage(0, 0), usage(u64::MAX, u64::MAX))
                .is_ok()
        );
    }
}
