//! Multipart uploads that nobody completes expire; those under way stay.

use std::time::Duration;

use gateway::jobs::UploadExpiry;
use metastore::{
    Metastore as _, ObjectAttributes, ObjectKey, Part, PartNumber, Sequence, SystemHeaders, Upload,
    UploadId,
};

use crate::kit::World;

const DAY: Duration = Duration::from_secs(86_400);

impl World {
    async fn begin_upload(&self, key: &str) -> UploadId {
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
    let bytes = crate::nodes::payload(1000);
    let written = world
        .nodes
        .writer(2)
        .write(crate::nodes::owner(), 1000, crate::nodes::body_of(&bytes))
        .await
        .unwrap();
    let chunk = written.layout.chunks[0].id;
    let part = Part {
        number: PartNumber::parse(1).unwrap(),
        sequence: Sequence::generate(),
        modified_at: world.now(),
        size_bytes: 1000,
        etag: String::new(),
        checksum: None,
        layout: written.layout,
    };
    let key = ObjectKey::parse("old").unwrap();
    let put = world.metastore.put_part(world.bucket, &key, old, part, 2);
    put.await.unwrap();
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
