//! Multipart uploads that nobody completes expire; those under way stay.

use std::time::Duration;

use chunkproto::ChunkId;
use gateway::jobs::{ClockWatch, Job as _, JobError, UploadExpiry};
use metastore::{
    Metastore as _, ObjectAttributes, ObjectKey, Part, PartNumber, Sequence, SystemHeaders, Upload,
    UploadId,
};

use crate::kit::World;

const DAY: Duration = Duration::from_secs(86_400);
const HOUR: Duration = Duration::from_secs(3600);

impl World {
    pub async fn begin_upload(&self, key: &str) -> UploadId {
        let id = UploadId::generate();
        let upload = Upload {
            id,
            initiated_at: self.now(),
            owner: "alice".into(),
            headers: SystemHeaders::default(),
            user_metadata: Vec::new(),
            checksum: None,
            attributes: ObjectAttributes::default(),
            initiator: String::new(),
        };
        let key = ObjectKey::parse(key).unwrap();
        let created = self.metastore.create_upload(self.bucket, &key, upload);
        created.await.unwrap();
        id
    }

    /// Uploads a part of one chunk, which is returned.
    pub async fn upload_part(&self, key: &str, upload: UploadId, number: i64) -> ChunkId {
        let bytes = crate::nodes::payload(1000);
        let writer = self.nodes.writer(2);
        let written = writer.write(crate::nodes::owner(), 1000, crate::nodes::body_of(&bytes));
        let layout = written.await.unwrap().layout;
        let chunk = layout.chunks[0].id;
        let part = Part {
            number: PartNumber::parse(number).unwrap(),
            sequence: Sequence::generate(),
            modified_at: self.now(),
            size_bytes: 1000,
            etag: String::new(),
            checksum: None,
            layout,
        };
        let key = ObjectKey::parse(key).unwrap();
        let put = self.metastore.put_part(self.bucket, &key, upload, part, 2);
        put.await.unwrap();
        chunk
    }

    /// The expiry after a week, of a gateway that starts now.
    fn started_expiry(&self) -> UploadExpiry {
        let watch = ClockWatch::new(self.metastore.clone(), self.steady_clock());
        UploadExpiry::new(self.metastore.clone(), 7 * DAY).watching(watch)
    }

    async fn has_upload(&self, key: &str, upload: UploadId) -> bool {
        let key = ObjectKey::parse(key).unwrap();
        self.metastore
            .upload(self.bucket, &key, upload)
            .await
            .is_ok()
    }
}

#[tokio::test]
async fn an_upload_that_nobody_completes_expires_with_its_parts_and_a_young_one_stays() {
    let world = World::new(2).await;
    let old = world.begin_upload("old").await;
    let chunk = world.upload_part("old", old, 1).await;
    world.wait(6 * DAY);
    let young = world.begin_upload("young").await;

    let expiry = UploadExpiry::new(world.metastore.clone(), 7 * DAY);
    world.run(&expiry).await.unwrap();
    assert!(world.has_upload("old", old).await, "it is six days old");

    world.wait(2 * DAY);
    world.run(&expiry).await.unwrap();
    assert!(!world.has_upload("old", old).await);
    assert!(world.has_upload("young", young).await);
    world.collect_everything().await;
    world.collect_everything().await;
    assert_eq!(world.copies(chunk), 0);
}

#[tokio::test]
async fn an_upload_that_still_gets_parts_stays() {
    let world = World::new(2).await;
    let upload = world.begin_upload("slow").await;
    world.upload_part("slow", upload, 1).await;
    world.wait(6 * DAY);
    world.upload_part("slow", upload, 2).await;
    world.wait(2 * DAY);
    let expiry = UploadExpiry::new(world.metastore.clone(), 7 * DAY);
    world.run(&expiry).await.unwrap();
    assert!(
        world.has_upload("slow", upload).await,
        "its last part is young"
    );
    world.wait(6 * DAY);
    world.run(&expiry).await.unwrap();
    assert!(!world.has_upload("slow", upload).await);
}

#[tokio::test]
async fn an_overtaken_gateway_aborts_nothing() {
    let world = World::new(2).await;
    let upload = world.begin_upload("old").await;
    world.wait(8 * DAY);
    let expiry = UploadExpiry::new(world.metastore.clone(), 7 * DAY);
    let stale = world.round(world.lease(&expiry.name()).await);
    world.lease(&expiry.name()).await;
    expiry.round(&stale).await.unwrap();
    assert!(world.has_upload("old", upload).await);
    assert!(!stale.goes_on(), "its round is over");
}

#[tokio::test]
async fn uploads_under_way_outlive_a_clock_that_jumps_ahead() {
    let world = World::new(0).await;
    let upload = world.begin_upload("under way").await;
    let expiry = world.started_expiry();
    world.run(&expiry).await.unwrap();

    world.jump(30 * DAY);
    let told = world.run(&expiry).await;
    assert!(matches!(told, Err(JobError::Alarm(_))), "{told:?}");
    assert!(world.has_upload("under way", upload).await);

    world.turn_back(30 * DAY);
    world.wait(HOUR);
    world.run(&expiry).await.unwrap();
    assert!(world.has_upload("under way", upload).await);
    world.wait(8 * DAY);
    world.run(&expiry).await.unwrap();
    assert!(!world.has_upload("under way", upload).await);
}

#[tokio::test]
async fn a_clock_that_stays_ahead_is_believed_after_a_day() {
    let world = World::new(0).await;
    let upload = world.begin_upload("old").await;
    let expiry = world.started_expiry();
    world.run(&expiry).await.unwrap();
    world.jump(30 * DAY);
    world.run(&expiry).await.unwrap_err();
    world.wait(23 * HOUR);
    world.run(&expiry).await.unwrap_err();
    assert!(world.has_upload("old", upload).await);
    world.wait(HOUR);
    world.run(&expiry).await.unwrap();
    assert!(!world.has_upload("old", upload).await);
}

#[tokio::test]
async fn an_operator_who_resumes_the_job_vouches_for_the_clock() {
    let world = World::new(0).await;
    let upload = world.begin_upload("old").await;
    let expiry = world.started_expiry();
    world.run(&expiry).await.unwrap();
    world.jump(30 * DAY);
    world.run(&expiry).await.unwrap_err();
    world.board.of(&expiry.name()).resume();
    world.run(&expiry).await.unwrap();
    assert!(!world.has_upload("old", upload).await);
}

#[tokio::test]
async fn a_gateway_that_starts_with_its_clock_far_ahead_waits() {
    let world = World::new(0).await;
    let upload = world.begin_upload("under way").await;
    world.run(&world.started_expiry()).await.unwrap();
    world.jump(30 * DAY);
    let expiry = world.started_expiry();
    let round = world.round(world.lease(&expiry.name()).await);
    expiry.round(&round).await.unwrap();
    assert!(round.waits_for().is_some());
    assert!(world.has_upload("under way", upload).await);
    world.wait(24 * HOUR);
    world.run(&expiry).await.unwrap();
    assert!(!world.has_upload("under way", upload).await);
}
