//! Carries out lifecycle rules: walks the versions and uploads of each bucket that has rules, and
//! deletes, moves or aborts what is due. Every change is made under the job's lease, and only while
//! version and rules are those that were judged: a write, a delete, a tag, a lock or another rule
//! that gets in between wins.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use chunkproto::JobName;
use metastore::{
    Bucket, JudgedStanding, JudgedVersion, LifecycleAction, LifecycleChange, ListEntry,
    ListedVersion, MetaError, MetaResult, Metastore, ObjectKey, ObjectVersion, Sequence,
    StoredVersion, Timestamp, UploadQuery, VersionQuery,
};
use tracing::debug;

use super::clock_watch::ClockWatch;
use super::job::{Job, JobError, Round};
use crate::lifecycle::{Calendar, Judge, Rule, Verdict};

/// Buckets read at a time.
const BUCKETS_PAGE: usize = 50;
/// Versions or uploads read at a time.
const ENTRIES_PAGE: usize = 500;

/// How lifecycle rules are carried out.
#[derive(Clone)]
pub struct LifecycleSettings {
    /// Reads the enabled rules of a bucket; none where it has none.
    pub rules_of: fn(&Bucket) -> Vec<Rule>,
    /// How long a day is.
    pub calendar: Calendar,
    /// Rest between two rounds.
    pub period: Duration,
}

/// The job.
pub struct LifecycleJob {
    metastore: Arc<dyn Metastore>,
    settings: LifecycleSettings,
    clock: Option<ClockWatch>,
}

/// The rules of the bucket that is walked.
struct Walk<'a> {
    bucket: &'a Bucket,
    rules: &'a [Rule],
    round: &'a Round,
    now: Timestamp,
    /// Noncurrent versions that were met of the present key.
    newer: u32,
}

impl Walk<'_> {
    fn change(&self, key: &ObjectKey, action: LifecycleAction) -> LifecycleChange {
        change_in(self.bucket, self.round, key, action)
    }
}

impl LifecycleJob {
    /// The job over these rules.
    #[must_use]
    pub fn new(metastore: Arc<dyn Metastore>, settings: LifecycleSettings) -> Self {
        Self {
            metastore,
            settings,
            clock: None,
        }
    }

    /// As it is, but nothing expires while `clock` is not believed.
    #[must_use]
    pub fn watching(self, clock: ClockWatch) -> Self {
        let clock = Some(clock);
        Self { clock, ..self }
    }
}

#[async_trait]
impl Job for LifecycleJob {
    fn name(&self) -> JobName {
        "lifecycle".parse().expect("a job's name")
    }

    fn period(&self) -> Duration {
        self.settings.period
    }

    async fn round(&self, round: &Round) -> Result<(), JobError> {
        if let Some(clock) = &self.clock
            && !clock.is_believed(round).await?
        {
            return Ok(());
        }
        // The whole round judges by the moment that was believed.
        let now = round.now();
        let mut after: Option<String> = None;
        while round.goes_on() {
            let page = self
                .metastore
                .list_buckets("", after.as_deref(), BUCKETS_PAGE)
                .await?;
            for bucket in &page.buckets {
                let rules = (self.settings.rules_of)(bucket);
                if !rules.is_empty() && round.goes_on() {
                    let done = self.bucket(bucket, &rules, (round, now)).await;
                    round.readable(&bucket.name, done)?;
                }
            }
            after = page
                .buckets
                .last()
                .map(|bucket| bucket.name.as_str().to_owned());
            if !page.truncated {
                break;
            }
        }
        Ok(())
    }
}

impl LifecycleJob {
    async fn bucket(
        &self,
        bucket: &Bucket,
        rules: &[Rule],
        (round, now): (&Round, Timestamp),
    ) -> MetaResult<()> {
        let walk = Walk {
            bucket,
            rules,
            round,
            now,
            newer: 0,
        };
        self.versions(walk).await?;
        if rules.iter().any(|rule| rule.abort_uploads_after.is_some()) {
            self.uploads(bucket, rules, (round, now)).await?;
        }
        Ok(())
    }

    /// Goes through all versions. Each is judged once the next one is known: a delete marker by what
    /// stands behind it, and the cursor of a page must not be deleted.
    async fn versions(&self, mut walk: Walk<'_>) -> MetaResult<()> {
        let mut held: Option<ListedVersion> = None;
        let mut query = VersionQuery {
            bucket: walk.bucket.id,
            prefix: common_prefix(walk.rules),
            delimiter: None,
            after: None,
            limit: ENTRIES_PAGE,
        };
        while walk.round.goes_on() {
            let page = self.metastore.list_versions(query.clone()).await?;
            for entry in page.entries {
                let ListEntry::Item(next) = entry else {
                    continue;
                };
                if let Some(listed) = held.replace(next) {
                    self.version(&mut walk, &listed, held.as_ref()).await?;
                }
                if !walk.round.goes_on() {
                    return Ok(());
                }
            }
            if !page.truncated {
                break;
            }
            query.after = held
                .as_ref()
                .map(|last| (last.key.as_str().to_owned(), Some(last.version.version())));
        }
        match held {
            Some(listed) if walk.round.goes_on() => self.version(&mut walk, &listed, None).await,
            _ => Ok(()),
        }
    }

    async fn version(
        &self,
        walk: &mut Walk<'_>,
        listed: &ListedVersion,
        next: Option<&ListedVersion>,
    ) -> MetaResult<()> {
        if listed.is_latest() {
            walk.newer = 0;
        }
        let judge = Judge {
            rules: walk.rules,
            calendar: self.settings.calendar,
            now: walk.now,
        };
        let key = listed.key.as_str();
        let is_last = next.is_none_or(|next| next.key != listed.key);
        let outcome = match (&listed.version, listed.noncurrent_since) {
            (StoredVersion::Object(object), None) => {
                let verdict = judge.current(key, object);
                self.carry_out(walk, listed, object, verdict).await
            }
            (StoredVersion::Object(object), Some(since)) => {
                let verdict = judge.noncurrent(key, object, since, walk.newer);
                self.carry_out(walk, listed, object, verdict).await
            }
            (StoredVersion::DeleteMarker(marker), None) => {
                match is_last && judge.lone_marker(key, marker.modified_at) {
                    true => self.remove(walk, listed, JudgedStanding::Alone).await,
                    false => Ok(()),
                }
            }
            (StoredVersion::DeleteMarker(_), Some(since)) => {
                match judge.noncurrent_marker(key, since, walk.newer) {
                    true => self.remove(walk, listed, JudgedStanding::Behind).await,
                    false => Ok(()),
                }
            }
        };
        if !listed.is_latest() {
            walk.newer = walk.newer.saturating_add(1);
        }
        outcome
    }

    async fn carry_out(
        &self,
        walk: &Walk<'_>,
        listed: &ListedVersion,
        object: &ObjectVersion,
        verdict: Verdict,
    ) -> MetaResult<()> {
        match verdict {
            Verdict::Stay => Ok(()),
            Verdict::Move(class) => {
                let mut moved = object.clone();
                moved.headers.storage_class = Some(class);
                moved.sequence = Sequence::generate();
                let amend = LifecycleAction::Amend(Box::new(moved), object.sequence);
                self.apply(walk.round, walk.change(&listed.key, amend), 0)
                    .await
            }
            Verdict::Expire if listed.is_latest() => {
                debug!(bucket = %walk.bucket.name, key = %listed.key, "an object expires");
                let change = walk.change(&listed.key, LifecycleAction::Expire(object.sequence));
                self.apply(walk.round, change, object.size_bytes).await
            }
            Verdict::Expire if is_locked(object, walk.now) => Ok(()),
            Verdict::Expire => self.remove(walk, listed, JudgedStanding::Behind).await,
        }
    }

    async fn remove(
        &self,
        walk: &Walk<'_>,
        listed: &ListedVersion,
        standing: JudgedStanding,
    ) -> MetaResult<()> {
        let version = listed.version.version();
        debug!(bucket = %walk.bucket.name, key = %listed.key, %version, "a version expires");
        let judged = JudgedVersion::new(&listed.version, standing);
        let change = walk.change(&listed.key, LifecycleAction::Remove(judged));
        let object = listed.version.object();
        let bytes = object.map_or(0, |object| object.size_bytes);
        self.apply(walk.round, change, bytes).await
    }

    /// Has a change made that concerns so many bytes. What somebody else changed meanwhile is judged
    /// anew in the next round; a lease that was taken over ends this one.
    async fn apply(&self, round: &Round, change: LifecycleChange, bytes: u64) -> MetaResult<()> {
        let applied = self.metastore.apply_lifecycle(round.fence(), change).await;
        match round.unless_fenced(applied) {
            Ok(applied) => {
                if applied.is_some() {
                    round.progress().done(bytes);
                }
                Ok(())
            }
            Err(
                MetaError::Conflict
                | MetaError::NoSuchVersion(..)
                | MetaError::NoSuchUpload(_)
                | MetaError::NoSuchBucket,
            ) => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn uploads(
        &self,
        bucket: &Bucket,
        rules: &[Rule],
        (round, now): (&Round, Timestamp),
    ) -> MetaResult<()> {
        let mut query = UploadQuery {
            bucket: bucket.id,
            prefix: common_prefix(rules),
            delimiter: None,
            after: None,
            limit: ENTRIES_PAGE,
        };
        while round.goes_on() {
            let page = self.metastore.list_uploads(query.clone()).await?;
            for entry in &page.entries {
                let ListEntry::Item(listed) = entry else {
                    continue;
                };
                query.after = Some((listed.key.as_str().to_owned(), Some(listed.upload.id)));
                let judge = Judge {
                    rules,
                    calendar: self.settings.calendar,
                    now,
                };
                if !judge.abandoned(listed.key.as_str(), listed.upload.initiated_at) {
                    continue;
                }
                debug!(bucket = %bucket.name, key = %listed.key, "an upload is aborted");
                let abort = LifecycleAction::Abort(listed.upload.id, None);
                let change = change_in(bucket, round, &listed.key, abort);
                self.apply(round, change, 0).await?;
            }
            if !page.truncated {
                break;
            }
        }
        Ok(())
    }
}

/// A change that the rules of `bucket`, as they were read, ask for.
fn change_in(
    bucket: &Bucket,
    round: &Round,
    key: &ObjectKey,
    action: LifecycleAction,
) -> LifecycleChange {
    LifecycleChange {
        bucket: bucket.id,
        key: key.clone(),
        settings: Some(bucket.settings.revision),
        action,
        now: round.now(),
    }
}

/// Whether a version may not be deleted now.
fn is_locked(object: &ObjectVersion, now: Timestamp) -> bool {
    let attributes = &object.attributes;
    attributes.legal_hold == Some(true)
        || attributes
            .retention
            .is_some_and(|retention| retention.until > now)
}

/// What the prefixes of all rules begin with; nothing else needs to be read.
fn common_prefix(rules: &[Rule]) -> String {
    let mut prefixes = rules.iter().map(|rule| rule.filter.prefix.as_str());
    let first = prefixes.next().unwrap_or_default();
    let common = prefixes.fold(first, |common, prefix| {
        let ends = common
            .char_indices()
            .map(|(at, char)| at + char.len_utf8())
            .rev();
        let kept = ends
            .into_iter()
            .find(|end| prefix.starts_with(&common[..*end]));
        &common[..kept.unwrap_or(0)]
    });
    common.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lifecycle::Filter;

    #[test]
    fn only_what_all_prefixes_begin_with_narrows_the_walk() {
        let common = |prefixes: &[&str]| {
            let rules: Vec<_> = prefixes
                .iter()
                .map(|prefix| Rule {
                    filter: Filter {
                        prefix: (*prefix).to_owned(),
                        ..Filter::default()
                    },
                    ..Rule::default()
                })
                .collect();
            common_prefix(&rules)
        };
        assert_eq!(common(&["logs/a"]), "logs/a");
        assert_eq!(common(&["logs/a", "logs/b"]), "logs/");
        assert_eq!(common(&["logs/", "other/"]), "");
        assert_eq!(common(&["é1", "è2"]), "");
        assert_eq!(common(&["a", ""]), "");
    }
}
