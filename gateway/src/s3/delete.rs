//! DeleteObject and DeleteObjects: one commit for each key; the bytes are collected later.

use metastore::{Bucket, ObjectKey, Timestamp, WriteCondition};
use s3s::dto::{
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, DeletedObject,
    ETagCondition, Error, ObjectIdentifier,
};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::body_check::BodyCheck;
use super::digested_body::RawBodyTally;
use super::service::{S3Gateway, names_the_null_version};
use super::xml_text::xml_text;
use super::{conditions, errors};

/// Most keys in one DeleteObjects.
const KEYS_MAX: usize = 1000;

impl S3Gateway {
    /// `DELETE /bucket/key`. Deleting what is not there succeeds, as on S3.
    pub(super) async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        let input = request.input;
        if input.if_match_last_modified_time.is_some() || input.if_match_size.is_some() {
            return Err(s3_error!(
                NotImplemented,
                "Deletes conditional on time or size are not implemented."
            ));
        }
        let condition = conditions::write_condition(input.if_match.as_ref(), None)?;
        let bucket = self.bucket(&input.bucket).await?;
        self.delete_key(&bucket, input.key, input.version_id.as_deref(), condition)
            .await?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    /// `POST /bucket?delete`. Each key is deleted by itself; failures are listed, not raised.
    pub(super) async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let check = BodyCheck::declared_in(&request.headers)?;
        if let Some(tally) = request.extensions.get::<RawBodyTally>()
            && request.trailing_headers.is_none()
        {
            tally.verify(&check)?;
        }
        let input = request.input;
        if input.delete.objects.is_empty() || input.delete.objects.len() > KEYS_MAX {
            return Err(s3_error!(MalformedXML));
        }
        let bucket = self.bucket(&input.bucket).await?;
        let quiet = input.delete.quiet.unwrap_or(false);

        let mut deleted = Vec::new();
        let mut failed = Vec::new();
        for object in input.delete.objects {
            let (key, version_id) = (object.key.clone(), object.version_id.clone());
            match self.delete_listed(&bucket, object).await {
                Ok(()) if quiet => {}
                Ok(()) => deleted.push(DeletedObject {
                    key: Some(xml_text(key)),
                    version_id,
                    ..DeletedObject::default()
                }),
                Err(error) => failed.push(listed_error(key, version_id, &error)),
            }
        }
        Ok(S3Response::new(DeleteObjectsOutput {
            deleted: (!deleted.is_empty()).then_some(deleted),
            errors: (!failed.is_empty()).then_some(failed),
            ..DeleteObjectsOutput::default()
        }))
    }

    async fn delete_listed(&self, bucket: &Bucket, object: ObjectIdentifier) -> S3Result<()> {
        if object.last_modified_time.is_some() || object.size.is_some() {
            return Err(s3_error!(
                NotImplemented,
                "Deletes conditional on time or size are not implemented."
            ));
        }
        let if_match = object.e_tag.map(ETagCondition::ETag);
        let condition = conditions::write_condition(if_match.as_ref(), None)?;
        self.delete_key(bucket, object.key, object.version_id.as_deref(), condition)
            .await
    }

    async fn delete_key(
        &self,
        bucket: &Bucket,
        key: String,
        version: Option<&str>,
        condition: WriteCondition,
    ) -> S3Result<()> {
        let key = ObjectKey::parse(key).map_err(errors::from_name)?;
        if !names_the_null_version(version)? {
            // No such version exists; deleting it changes nothing and succeeds.
            return Ok(());
        }
        self.metastore
            .delete_object(bucket.id, &key, condition, Timestamp::now())
            .await
            .map(drop)
            .map_err(errors::from_metadata)
    }
}

fn listed_error(key: String, version_id: Option<String>, error: &S3Error) -> Error {
    Error {
        key: Some(xml_text(key)),
        version_id,
        code: Some(error.code().as_str().to_owned()),
        message: error.message().map(str::to_owned),
    }
}
