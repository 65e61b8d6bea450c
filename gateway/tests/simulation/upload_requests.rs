//! What a gateway does for its clients' multipart uploads; see `requests`.

use metastore::{
    CompleteUpload, MetaError, Metastore as _, ObjectAttributes, ObjectData, ObjectKey, Part,
    PartNumber, Sequence, SystemHeaders, Upload, UploadId, WriteCondition,
};

use crate::gateway::Process;
use crate::objects::Payload;
use crate::requests::{Answer, etag};
use crate::settings::REPLICAS;

impl Process {
    pub async fn begin_upload(&self, key: &str) -> UploadId {
        let upload = Upload {
            id: UploadId::generate(),
            initiated_at: self.clock.now(),
            owner: "alice".into(),
            headers: SystemHeaders::default(),
            user_metadata: Vec::new(),
            checksum: None,
            attributes: ObjectAttributes::default(),
            initiator: String::new(),
        };
        let (id, key) = (upload.id, ObjectKey::parse(key).unwrap());
        let metastore = &self.cluster.metastore;
        let created = metastore.create_upload(self.cluster.bucket, &key, upload);
        created.await.unwrap();
        id
    }

    pub async fn put_part(
        &self,
        (key, upload, number): (&str, UploadId, PartNumber),
        payload: Payload,
    ) -> Answer {
        let part = Some((upload.0, number.get()));
        let Some(layout) = self.store(key, payload, part, None).await else {
            return Answer::Failed;
        };
        self.work().await;
        let part = Part {
            number,
            sequence: Sequence::generate(),
            modified_at: self.clock.now(),
            size_bytes: payload.length_bytes(),
            etag: etag(payload.name),
            checksum: None,
            layout: layout.clone(),
        };
        let key = ObjectKey::parse(key).unwrap();
        let metastore = &self.cluster.metastore;
        let put = metastore.put_part(self.cluster.bucket, &key, upload, part, REPLICAS);
        let put = put.await;
        self.end(put, &layout).await
    }

    /// Makes an object of these parts, if they are the ones that the client sent last.
    pub async fn complete(
        &self,
        (key, upload): (&str, UploadId),
        parts: &[(PartNumber, Payload)],
        value: u64,
    ) -> Answer {
        let metastore = &self.cluster.metastore;
        let rows = metastore
            .list_parts(upload, None, 1000)
            .await
            .unwrap()
            .parts;
        let row_of = |(number, payload): &(PartNumber, Payload)| {
            let mut rows = rows.iter();
            let row = rows.find(|row| row.number == *number && row.etag == etag(payload.name))?;
            Some((row.number, row.sequence))
        };
        let Some(chosen) = parts.iter().map(row_of).collect::<Option<Vec<_>>>() else {
            return Answer::Failed;
        };
        self.work().await;
        let size_bytes = parts
            .iter()
            .map(|(_, payload)| payload.length_bytes())
            .sum();
        let complete = CompleteUpload {
            bucket: self.cluster.bucket,
            key: ObjectKey::parse(key).unwrap(),
            upload,
            object: self.object(value, ObjectData::Parts(upload), size_bytes),
            parts: chosen,
            condition: WriteCondition::Always,
        };
        let completed = metastore.complete_upload(complete).await;
        self.work().await;
        match completed {
            Ok(_) => Answer::Done,
            Err(MetaError::NoSuchUpload(_) | MetaError::InvalidPart(_)) => Answer::Failed,
            Err(error) => panic!("{error}"),
        }
    }

    pub async fn abort(&self, key: &str, upload: UploadId) {
        let (key, now) = (ObjectKey::parse(key).unwrap(), self.clock.now());
        let metastore = &self.cluster.metastore;
        let aborted = metastore.abort_upload(self.cluster.bucket, &key, upload, now);
        // It may have expired.
        let _ = aborted.await;
    }
}
