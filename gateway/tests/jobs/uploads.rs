//! Multipart uploads that nobody completes expire; those under way stay.

use std::time::Duration;

use chunkproto::ChunkId;
use gateway::jobs::{Job as _, UploadExpiry};
use metastore::{
    Metastore as _, ObjectAttributes, ObjectKey, Part, PartNumber, Sequence, SystemHeaders, Upload,
    UploadId,
};

use crate::kit::World;

const DAY: Duration = Duration::from_secs(86_400);

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
