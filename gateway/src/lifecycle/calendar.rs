//! How long a day is. Source of the rounding: S3 user guide, "Lifecycle rules: Based on an
//! object's age".

use metastore::Timestamp;

/// The length of a lifecycle day; other than 24 hours where somebody wants to watch rules work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Calendar {
    day_ms: u64,
}

impl Calendar {
    /// Days of so many seconds, at least one.
    #[must_use]
    pub fn with_days_of(seconds: u64) -> Self {
        Self {
            day_ms: seconds.max(1).saturating_mul(1000),
        }
    }

    /// When `days` have passed since `start`: at the midnight after the full days.
    #[must_use]
    pub fn after(self, start: Timestamp, days: u32) -> Timestamp {
        let full = start
            .0
            .saturating_add(self.day_ms.saturating_mul(u64::from(days)));
        Timestamp(full.div_ceil(self.day_ms).saturating_mul(self.day_ms))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_of_days_comes_due_at_the_midnight_after_them() {
        let calendar = Calendar::with_days_of(10);
        let due = |start, days| calendar.after(Timestamp(start), days).0;
        assert_eq!(due(0, 1), 10_000);
        assert_eq!(due(1, 1), 20_000);
        assert_eq!(due(9_999, 2), 30_000);
        assert_eq!(
            due(u64::MAX, 2),
            (u64::MAX / 10_000 + 1).saturating_mul(10_000)
        );
    }
}
