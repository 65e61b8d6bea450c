//! Lifecycle rules at work: what is due goes, and nothing else does.

use std::time::Duration;

use gateway::jobs::{ClockWatch, Job as _, JobError, LifecycleJob, LifecycleSettings};
use gateway::lifecycle::{Calendar, NoncurrentExpiration, Rule, Transition, When};
use metastore::{
    Bucket, BucketName, ListEntry, LockMode, Metastore as _, ObjectKey, Retention, Sequence,
    StoredVersion, Timestamp, Upload, UploadId, VersionQuery, Versioning,
};

use crate::kit::World;

const DAY: Duration = Duration::from_secs(1);

fn job(world: &World, rules_of: fn(&Bucket) -> Vec<Rule>) -> LifecycleJob {
    let settings = LifecycleSettings {
        rules_of,
        calendar: Calendar::with_days_of(DAY.as_secs()),
        period: DAY,
    };
    LifecycleJob::new(world.metastore.clone(), settings)
}

fn expire_logs(_: &Bucket) -> Vec<Rule> {
    let mut rule = Rule {
        expiration: Some(When::Days(1)),
        ..Rule::default()
    };
    rule.filter.prefix = "logs/".into();
    vec![rule]
}

/// Noncurrent versions go after a day but for the newest one; markers that hide nothing go.
fn trim_history(_: &Bucket) -> Vec<Rule> {
    vec![Rule {
        expired_markers: true,
        noncurrent_expiration: Some(NoncurrentExpiration {
            days: 1,
            newer_kept: 1,
        }),
        ..Rule::default()
    }]
}

async fn keep_versions(world: &World) {
    let name = BucketName::parse("photos").unwrap();
    let mut bucket = world.metastore.bucket(&name).await.unwrap();
    let seen = bucket.settings.revision;
    bucket.settings.versioning = Versioning::Enabled;
    bucket.settings.revision = Sequence::generate();
    world.metastore.amend_bucket(bucket, seen).await.unwrap();
}

/// All versions: key, and whether it is an object.
async fn versions(world: &World) -> Vec<(String, bool)> {
    let query = VersionQuery {
        bucket: world.bucket,
        prefix: String::new(),
        delimiter: None,
        after: None,
        limit: 10_000,
    };
    let page = world.metastore.list_versions(query).await.unwrap();
    let listed = page.entries.into_iter().filter_map(|entry| match entry {
        ListEntry::Item(listed) => Some(listed),
        ListEntry::CommonPrefix(_) => None,
    });
    listed
        .map(|listed| {
            let is_object = matches!(listed.version, StoredVersion::Object(_));
            (listed.key.as_str().to_owned(), is_object)
        })
        .collect()
}

fn shown(keys: &[&str]) -> Vec<(String, bool)> {
    keys.iter().map(|key| ((*key).to_owned(), true)).collect()
}

#[tokio::test]
async fn objects_go_once_their_days_are_over_and_others_stay() {
    let world = World::new(1).await;
    for key in ["keep/a", "logs/a", "logs/b"] {
        world.put_chunk(key, 1).await;
    }
    let job = job(&world, expire_logs);
    world.run(&job).await.unwrap();
    assert_eq!(
        versions(&world).await,
        shown(&["keep/a", "logs/a", "logs/b"])
    );
    world.wait(2 * DAY);
    world.run(&job).await.unwrap();
    assert_eq!(versions(&world).await, shown(&["keep/a"]));
}

#[tokio::test]
async fn objects_outlive_a_clock_that_jumps_ahead() {
    let world = World::new(1).await;
    world.put_chunk("logs/a", 1).await;
    let job = job(&world, expire_logs).watching(ClockWatch::new(
        world.metastore.clone(),
        world.steady_clock(),
    ));
    world.run(&job).await.unwrap();
    world.jump(Duration::from_secs(2 * 86_400));
    let told = world.run(&job).await;
    assert!(matches!(told, Err(JobError::Alarm(_))), "{told:?}");
    assert_eq!(versions(&world).await, shown(&["logs/a"]));
}

#[tokio::test]
async fn in_a_bucket_with_versions_an_object_goes_behind_a_marker() {
    let world = World::new(1).await;
    keep_versions(&world).await;
    world.put_chunk("logs/a", 1).await;
    world.wait(2 * DAY);
    world.run(&job(&world, expire_logs)).await.unwrap();
    let expected = [("logs/a".to_owned(), false), ("logs/a".to_owned(), true)];
    assert_eq!(versions(&world).await, expected);
}

#[tokio::test]
async fn history_is_trimmed_to_the_newest_even_over_many_pages() {
    let world = World::new(1).await;
    keep_versions(&world).await;
    for _ in 0..1100 {
        world.put_chunk("busy", 1).await;
    }
    world.put_chunk("quiet", 1).await;
    world.wait(10 * DAY);
    world.run(&job(&world, trim_history)).await.unwrap();
    // The current one, and the newest noncurrent one.
    assert_eq!(versions(&world).await, shown(&["busy", "busy", "quiet"]));
}

#[tokio::test]
async fn a_marker_goes_when_nothing_stands_behind_it_any_more() {
    let world = World::new(1).await;
    keep_versions(&world).await;
    world.put_chunk("k", 1).await;
    world.delete("k").await;
    let job = job(&world, |bucket| {
        let mut rules = trim_history(bucket);
        rules[0].noncurrent_expiration = Some(NoncurrentExpiration {
            days: 1,
            newer_kept: 0,
        });
        rules
    });
    world.run(&job).await.unwrap();
    assert_eq!(
        versions(&world).await.len(),
        2,
        "the version holds the marker"
    );
    world.wait(10 * DAY);
    world.run(&job).await.unwrap();
    world.run(&job).await.unwrap();
    assert_eq!(versions(&world).await, []);
}

#[tokio::test]
async fn a_locked_version_outlives_its_rule() {
    let world = World::new(1).await;
    keep_versions(&world).await;
    world.put_chunk("k", 1).await;
    let key = ObjectKey::parse("k").unwrap();
    let mut object = world.metastore.object(world.bucket, &key).await.unwrap();
    let seen = object.sequence;
    object.sequence = Sequence::generate();
    object.attributes.retention = Some(Retention {
        mode: LockMode::Governance,
        until: Timestamp(world.now().0 + 100_000),
    });
    let amended = world
        .metastore
        .amend_object(world.bucket, &key, object, seen);
    amended.await.unwrap();
    world.put_chunk("k", 1).await;
    world.put_chunk("k", 1).await;
    let job = job(&world, |bucket| {
        let mut rules = trim_history(bucket);
        rules[0].noncurrent_expiration = Some(NoncurrentExpiration {
            days: 1,
            newer_kept: 0,
        });
        rules
    });
    world.wait(10 * DAY);
    world.run(&job).await.unwrap();
    assert_eq!(
        versions(&world).await,
        shown(&["k", "k"]),
        "current and locked"
    );
    world.wait(Duration::from_secs(100));
    world.run(&job).await.unwrap();
    assert_eq!(versions(&world).await, shown(&["k"]));
}

#[tokio::test]
async fn a_transition_changes_the_class_and_leaves_the_bytes() {
    let world = World::new(1).await;
    let chunk = world.put_chunk("k", 1).await;
    world.wait(2 * DAY);
    let job = job(&world, |_| {
        vec![Rule {
            transitions: vec![Transition {
                when: When::Days(1),
                class: "GLACIER".into(),
            }],
            ..Rule::default()
        }]
    });
    world.run(&job).await.unwrap();
    world.collect_everything().await;
    let key = ObjectKey::parse("k").unwrap();
    let object = world.metastore.object(world.bucket, &key).await.unwrap();
    assert_eq!(object.headers.storage_class.as_deref(), Some("GLACIER"));
    assert_eq!(world.copies(chunk.id), 1);
}

#[tokio::test]
async fn uploads_that_were_given_up_are_aborted() {
    let world = World::new(1).await;
    let key = ObjectKey::parse("k").unwrap();
    let upload = Upload {
        id: UploadId::generate(),
        initiated_at: world.now(),
        owner: "alice".into(),
        headers: metastore::SystemHeaders::default(),
        user_metadata: Vec::new(),
        checksum: None,
        attributes: metastore::ObjectAttributes::default(),
        initiator: String::new(),
    };
    let id = upload.id;
    let created = world.metastore.create_upload(world.bucket, &key, upload);
    created.await.unwrap();
    let job = job(&world, |_| {
        vec![Rule {
            abort_uploads_after: Some(1),
            ..Rule::default()
        }]
    });
    world.run(&job).await.unwrap();
    assert!(world.metastore.upload(world.bucket, &key, id).await.is_ok());
    world.wait(2 * DAY);
    world.run(&job).await.unwrap();
    assert!(
        world
            .metastore
            .upload(world.bucket, &key, id)
            .await
            .is_err()
    );
}

#[tokio::test]
async fn an_overtaken_gateway_expires_nothing() {
    let world = World::new(1).await;
    keep_versions(&world).await;
    for _ in 0..3 {
        world.put_chunk("logs/a", 1).await;
    }
    world.wait(10 * DAY);
    let job = job(&world, |bucket| {
        let mut rules = [expire_logs(bucket), trim_history(bucket)].concat();
        rules[0].abort_uploads_after = Some(1);
        rules
    });
    let before = versions(&world).await;
    let stale = world.round(world.lease(&job.name()).await);
    world.lease(&job.name()).await;
    job.round(&stale).await.unwrap();
    assert_eq!(versions(&world).await, before);
    assert!(!stale.goes_on(), "its round is over");
}
