//! What a bucket's rules say now. Expiration wins over transition; of several transitions the one
//! to the coldest class counts; nothing ever moves to a warmer class.

use metastore::{ObjectVersion, Timestamp};

use super::calendar::Calendar;
use super::rule::{NoncurrentExpiration, Rule, When};

/// Storage classes from warm to cold.
const CLASSES: [&str; 7] = [
    "STANDARD",
    "STANDARD_IA",
    "INTELLIGENT_TIERING",
    "ONEZONE_IA",
    "GLACIER_IR",
    "GLACIER",
    "DEEP_ARCHIVE",
];

/// What is to be done with a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing now.
    Stay,
    /// It goes.
    Expire,
    /// It changes its storage class.
    Move(String),
}

/// The rules of one bucket at one moment.
pub struct Judge<'a> {
    /// The enabled rules.
    pub rules: &'a [Rule],
    /// How long a day is.
    pub calendar: Calendar,
    /// The moment.
    pub now: Timestamp,
}

impl Judge<'_> {
    /// What becomes of a current version.
    #[must_use]
    pub fn current(&self, key: &str, object: &ObjectVersion) -> Verdict {
        if self
            .expiry(key, object)
            .is_some_and(|(at, _)| at <= self.now)
        {
            return Verdict::Expire;
        }
        let transitions = self
            .rules_for(key, object)
            .flat_map(|rule| &rule.transitions);
        let due = transitions
            .filter(|transition| self.moment(transition.when, object.modified_at) <= self.now);
        coldest(object, due.map(|transition| transition.class.as_str()))
    }

    /// When a current version goes, and the rule that says so: the earliest one.
    #[must_use]
    pub fn expiry(&self, key: &str, object: &ObjectVersion) -> Option<(Timestamp, &str)> {
        let rules = self.rules.iter();
        rules
            .filter(|rule| rule.filter.takes(key, object))
            .filter_map(|rule| {
                let at = self.moment(rule.expiration?, object.modified_at);
                Some((at, rule.id.as_str()))
            })
            .min()
    }

    /// What becomes of a version since `since` another one stands before it, and `newer`
    /// noncurrent ones too.
    #[must_use]
    pub fn noncurrent(
        &self,
        key: &str,
        object: &ObjectVersion,
        since: Timestamp,
        newer: u32,
    ) -> Verdict {
        let is_due = |when: &NoncurrentExpiration| {
            newer >= when.newer_kept && self.calendar.after(since, when.days) <= self.now
        };
        let mut rules = self.rules_for(key, object);
        if rules.any(|rule| rule.noncurrent_expiration.as_ref().is_some_and(is_due)) {
            return Verdict::Expire;
        }
        let transitions = self
            .rules_for(key, object)
            .flat_map(|rule| &rule.noncurrent_transitions);
        let due = transitions.filter(|transition| is_due(&transition.when));
        coldest(object, due.map(|transition| transition.class.as_str()))
    }

    /// Whether a delete marker goes that is noncurrent.
    #[must_use]
    pub fn noncurrent_marker(&self, key: &str, since: Timestamp, newer: u32) -> bool {
        self.bare_rules_for(key).any(|rule| {
            rule.noncurrent_expiration.is_some_and(|when| {
                newer >= when.newer_kept && self.calendar.after(since, when.days) <= self.now
            })
        })
    }

    /// Whether a delete marker goes behind which there is no version.
    #[must_use]
    pub fn lone_marker(&self, key: &str, placed_at: Timestamp) -> bool {
        self.bare_rules_for(key).any(|rule| {
            let old = rule
                .expiration
                .is_some_and(|when| self.moment(when, placed_at) <= self.now);
            rule.expired_markers || old
        })
    }

    /// Whether an upload is aborted.
    #[must_use]
    pub fn abandoned(&self, key: &str, initiated_at: Timestamp) -> bool {
        self.abortion(key, initiated_at)
            .is_some_and(|(at, _)| at <= self.now)
    }

    /// When an upload is aborted, and the rule that says so: the earliest one.
    #[must_use]
    pub fn abortion(&self, key: &str, initiated_at: Timestamp) -> Option<(Timestamp, &str)> {
        let rules = self.rules.iter();
        rules
            .filter(|rule| rule.filter.takes_bare(key))
            .filter_map(|rule| {
                let at = self.calendar.after(initiated_at, rule.abort_uploads_after?);
                Some((at, rule.id.as_str()))
            })
            .min()
    }

    fn rules_for<'r>(
        &'r self,
        key: &'r str,
        object: &'r ObjectVersion,
    ) -> impl Iterator<Item = &'r Rule> {
        self.rules
            .iter()
            .filter(move |rule| rule.filter.takes(key, object))
    }

    fn bare_rules_for<'r>(&'r self, key: &'r str) -> impl Iterator<Item = &'r Rule> {
        self.rules
            .iter()
            .filter(move |rule| rule.filter.takes_bare(key))
    }

    fn moment(&self, when: When, start: Timestamp) -> Timestamp {
        match when {
            When::Days(days) => self.calendar.after(start, days),
            When::Date(date) => date,
        }
    }
}

fn coldness(class: &str) -> Option<usize> {
    CLASSES.iter().position(|known| *known == class)
}

fn coldest<'a>(object: &ObjectVersion, due: impl Iterator<Item = &'a str>) -> Verdict {
    let class = object.headers.storage_class.as_deref();
    let Some(present) = coldness(class.unwrap_or(CLASSES[0])) else {
        return Verdict::Stay;
    };
    let next = due
        .filter_map(coldness)
        .max()
        .filter(|next| *next > present);
    next.map_or(Verdict::Stay, |next| {
        Verdict::Move(CLASSES[next].to_owned())
    })
}

#[cfg(test)]
mod tests {
    use metastore::{
        ChunkLayout, ObjectAttributes, ObjectData, Scheme, Sequence, SystemHeaders, VersionId,
        VersionOrder,
    };

    use super::super::{Filter, Transition};
    use super::*;

    fn object(modified_at: u64, tags: &[(&str, &str)], size_bytes: u64) -> ObjectVersion {
        let tags = tags
            .iter()
            .map(|(k, v)| ((*k).into(), (*v).into()))
            .collect();
        ObjectVersion {
            version: VersionId::Null,
            sequence: Sequence::generate(),
            modified_at: Timestamp(modified_at),
            size_bytes,
            etag: String::new(),
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
                tags,
                ..ObjectAttributes::default()
            },
        }
    }

    fn at(rules: &[Rule], now: u64) -> Judge<'_> {
        Judge {
            rules,
            calendar: Calendar::with_days_of(1),
            now: Timestamp(now),
        }
    }

    #[test]
    fn a_rule_takes_what_its_whole_filter_takes() {
        let filter = Filter {
            prefix: "logs/".into(),
            tags: vec![("a".into(), "1".into())],
            longer_than_bytes: Some(10),
            shorter_than_bytes: Some(20),
        };
        for (key, tags, size, expected) in [
            ("logs/x", &[("a", "1"), ("b", "2")][..], 11, true),
            ("log/x", &[("a", "1")], 11, false),
            ("logs/x", &[("a", "2")], 11, false),
            ("logs/x", &[], 11, false),
            ("logs/x", &[("a", "1")], 10, false),
            ("logs/x", &[("a", "1")], 20, false),
        ] {
            assert_eq!(
                filter.takes(key, &object(0, tags, size)),
                expected,
                "{key} {size}"
            );
        }
        assert!(!filter.takes_bare("logs/x"));
    }

    #[test]
    fn current_versions_go_when_the_earliest_rule_says_so() {
        let rule = |id: &str, when| Rule {
            id: id.into(),
            expiration: Some(when),
            ..Rule::default()
        };
        let rules = [
            rule("late", When::Days(5)),
            rule("soon", When::Date(Timestamp(3000))),
        ];
        let object = object(0, &[], 0);
        assert_eq!(at(&rules, 2999).current("k", &object), Verdict::Stay);
        assert_eq!(at(&rules, 3000).current("k", &object), Verdict::Expire);
        let judge = at(&rules, 0);
        assert_eq!(judge.expiry("k", &object), Some((Timestamp(3000), "soon")));
    }

    #[test]
    fn the_newest_noncurrent_versions_stay_however_old_they_are() {
        let when = NoncurrentExpiration {
            days: 2,
            newer_kept: 1,
        };
        let rules = [Rule {
            noncurrent_expiration: Some(when),
            ..Rule::default()
        }];
        let (object, since) = (object(0, &[], 0), Timestamp(1000));
        for (now, newer, expected) in [
            (2999, 1, Verdict::Stay),
            (3000, 0, Verdict::Stay),
            (3000, 1, Verdict::Expire),
        ] {
            assert_eq!(
                at(&rules, now).noncurrent("k", &object, since, newer),
                expected
            );
        }
    }

    #[test]
    fn classes_only_get_colder_and_expiration_wins() {
        let transition = |days, class: &str| Transition {
            when: When::Days(days),
            class: class.into(),
        };
        let rules = [Rule {
            transitions: vec![transition(1, "STANDARD_IA"), transition(2, "GLACIER")],
            expiration: Some(When::Days(3)),
            ..Rule::default()
        }];
        let mut object = object(0, &[], 0);
        assert_eq!(
            at(&rules, 1000).current("k", &object),
            Verdict::Move("STANDARD_IA".into())
        );
        assert_eq!(
            at(&rules, 2000).current("k", &object),
            Verdict::Move("GLACIER".into())
        );
        assert_eq!(at(&rules, 3000).current("k", &object), Verdict::Expire);
        object.headers.storage_class = Some("GLACIER".into());
        assert_eq!(at(&rules, 1000).current("k", &object), Verdict::Stay);
        assert_eq!(at(&rules, 2000).current("k", &object), Verdict::Stay);
    }

    #[test]
    fn markers_and_uploads_go_by_rules_without_tags_alone() {
        let mut rule = Rule {
            expired_markers: true,
            abort_uploads_after: Some(1),
            ..Rule::default()
        };
        assert!(at(&[rule.clone()], 0).lone_marker("k", Timestamp(0)));
        assert!(!at(&[rule.clone()], 999).abandoned("k", Timestamp(0)));
        assert!(at(&[rule.clone()], 1000).abandoned("k", Timestamp(0)));
        rule.filter.tags.push(("a".into(), "1".into()));
        assert!(!at(&[rule.clone()], 9000).lone_marker("k", Timestamp(0)));
        assert!(!at(&[rule], 9000).abandoned("k", Timestamp(0)));
    }
}
