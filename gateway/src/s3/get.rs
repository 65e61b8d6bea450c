//! GetObject and HeadObject: one lookup, conditions, the range, then chunks as a stream.

use futures::TryStreamExt as _;
use http_body::Frame;
use http_body_util::StreamBody;
use metastore::{Bucket, ObjectData, ObjectKey, ObjectVersion, PartSet};
use s3s::dto::{
    ChecksumMode, ChecksumType, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    Range, StorageClass, StreamingBlob,
};
use s3s::{Body, S3Request, S3Response, S3Result, s3_error};

use super::checksums::{kind_name, set_checksum};
use super::conditions::ReadConditions;
use super::headers::DEFAULT_CONTENT_TYPE;
use super::range::Selection;
use super::service::S3Gateway;
use super::{errors, headers};

/// An object that a read found, and which of its bytes it wants.
struct Found {
    object: ObjectVersion,
    selection: Selection,
    /// For a read by part number of a multipart object.
    parts_count: Option<i32>,
}

impl S3Gateway {
    /// `GET /bucket/key`. The first chunk is open before the answer begins; a failure after that
    /// breaks the connection, so that a short body is never taken for the object.
    pub(super) async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        headers::refuse_not_built(&request.headers)?;
        let input = request.input;
        let key = ObjectKey::parse(input.key).map_err(errors::from_name)?;
        let bucket = self.bucket(&input.bucket).await?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let version = input.version_id.as_deref();
        let Found {
            object,
            selection,
            parts_count,
        } = self
            .find(
                &bucket,
                &key,
                version,
                &conditions,
                input.range,
                input.part_number,
            )
            .await?;
        let body = self.open(&object, selection).await?;

        let mut output = GetObjectOutput {
            accept_ranges: Some("bytes".into()),
            body: Some(body),
            cache_control: object.headers.cache_control.clone(),
            content_disposition: object.headers.content_disposition.clone(),
            content_encoding: object.headers.content_encoding.clone(),
            content_language: object.headers.content_language.clone(),
            content_length: i64::try_from(selection.range.length_bytes()).ok(),
            content_range: selection.content_range(object.size_bytes),
            content_type: Some(content_type(&object)),
            e_tag: Some(headers::to_etag(&object.etag)),
            expires: object.headers.expires.clone(),
            last_modified: Some(headers::to_timestamp(object.modified_at)),
            metadata: headers::to_metadata(&object),
            parts_count,
            storage_class: object.headers.storage_class.clone().map(StorageClass::from),
            website_redirect_location: object.headers.website_redirect.clone(),
            ..GetObjectOutput::default()
        };
        if wants_checksum(input.checksum_mode.as_ref(), selection)
            && let Some(checksum) = &object.checksum
        {
            set_checksum!(output, checksum);
            output.checksum_type = Some(ChecksumType::from_static(kind_name(checksum.kind)));
        }
        Ok(S3Response::new(output))
    }

    /// `HEAD /bucket/key`: as GET, without the bytes.
    pub(super) async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        headers::refuse_not_built(&request.headers)?;
        let input = request.input;
        let key = ObjectKey::parse(input.key).map_err(errors::from_name)?;
        let bucket = self.bucket(&input.bucket).await?;
        let conditions = ReadConditions {
            if_match: input.if_match,
            if_none_match: input.if_none_match,
            if_modified_since: input.if_modified_since,
            if_unmodified_since: input.if_unmodified_since,
        };
        let version = input.version_id.as_deref();
        let Found {
            object,
            selection,
            parts_count,
        } = self
            .find(
                &bucket,
                &key,
                version,
                &conditions,
                input.range,
                input.part_number,
            )
            .await?;

        let content_range = selection.content_range(object.size_bytes);
        let status = content_range
            .as_ref()
            .map(|_| http::StatusCode::PARTIAL_CONTENT);
        let mut output = HeadObjectOutput {
            accept_ranges: Some("bytes".into()),
            cache_control: object.headers.cache_control.clone(),
            content_disposition: object.headers.content_disposition.clone(),
            content_encoding: object.headers.content_encoding.clone(),
            content_language: object.headers.content_language.clone(),
            content_length: i64::try_from(selection.range.length_bytes()).ok(),
            content_range,
            content_type: Some(content_type(&object)),
            e_tag: Some(headers::to_etag(&object.etag)),
            expires: object.headers.expires.clone(),
            last_modified: Some(headers::to_timestamp(object.modified_at)),
            metadata: headers::to_metadata(&object),
            parts_count,
            storage_class: object.headers.storage_class.clone().map(StorageClass::from),
            website_redirect_location: object.headers.website_redirect.clone(),
            ..HeadObjectOutput::default()
        };
        if wants_checksum(input.checksum_mode.as_ref(), selection)
            && let Some(checksum) = &object.checksum
        {
            set_checksum!(output, checksum);
            output.checksum_type = Some(ChecksumType::from_static(kind_name(checksum.kind)));
        }
        let mut response = S3Response::new(output);
        response.status = status;
        Ok(response)
    }

    async fn find(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<&str>,
        conditions: &ReadConditions,
        range: Option<Range>,
        part_number: Option<i32>,
    ) -> S3Result<Found> {
        let object = self.object(bucket, key, version).await?;
        conditions.check(&object)?;
        let size_bytes = object.size_bytes;
        let (selection, parts_count) = match (range, part_number) {
            (None, None) => (Selection::whole(size_bytes), None),
            (Some(range), None) => (Selection::of_range(range, size_bytes)?, None),
            (None, Some(number)) => {
                let set = self.part_set(&object).await?;
                let parts = set.as_ref().map_or(&[][..], |set| &set.parts);
                let count = set
                    .as_ref()
                    .and_then(|set| i32::try_from(set.parts.len()).ok());
                (Selection::of_part(number, parts, size_bytes)?, count)
            }
            (Some(_), Some(_)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "Cannot specify both Range header and partNumber query parameter"
                ));
            }
        };
        Ok(Found {
            object,
            selection,
            parts_count,
        })
    }

    async fn part_set(&self, object: &ObjectVersion) -> S3Result<Option<PartSet>> {
        match &object.data {
            ObjectData::Chunks(_) => Ok(None),
            ObjectData::Parts(upload) => self
                .metastore
                .part_set(*upload)
                .await
                .map(Some)
                .map_err(errors::from_metadata),
        }
    }

    async fn open(&self, object: &ObjectVersion, selection: Selection) -> S3Result<StreamingBlob> {
        let slices = self.slices(object, selection.range).await?;
        let length_bytes = selection.range.length_bytes();
        let body = self
            .reader
            .open(slices, length_bytes)
            .await
            .map_err(errors::from_read)?;
        let body = StreamBody::new(body.map_ok(Frame::data));
        Ok(StreamingBlob::from(Body::http_body_unsync(body)))
    }
}

fn content_type(object: &ObjectVersion) -> String {
    object
        .headers
        .content_type
        .clone()
        .unwrap_or_else(|| DEFAULT_CONTENT_TYPE.to_owned())
}

/// Checksums of the object are no use with a range of it.
fn wants_checksum(mode: Option<&ChecksumMode>, selection: Selection) -> bool {
    mode.is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED) && !selection.partial
}
