//! GetObject and HeadObject: one lookup, conditions, the range, then the bytes as a stream.

use metastore::{ObjectData, ObjectKey, ObjectVersion, PartSet};
use s3s::dto::{
    ChecksumMode, ChecksumType, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput,
    Range, StorageClass, StreamingBlob,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::checksums::{kind_name, set_checksum};
use super::conditions::ReadConditions;
use super::headers::DEFAULT_CONTENT_TYPE;
use super::range::Selection;
use super::service::S3Gateway;
use super::{errors, headers};

/// Times that a read looks again after the object was replaced between row and bytes.
const LOOKUPS_MAX: usize = 8;

/// What a GET or HEAD asks for.
struct Wanted {
    bucket: String,
    key: ObjectKey,
    version: Option<String>,
    conditions: ReadConditions,
    range: Option<Range>,
    part_number: Option<i32>,
    checksum: bool,
}

/// An object that a read found, and which of its bytes it wants.
struct Found {
    object: ObjectVersion,
    selection: Selection,
    /// For a read by part number of a multipart object.
    parts_count: Option<i32>,
}

/// What a GET or HEAD asks for, out of its input.
macro_rules! wanted {
    ($input:expr) => {
        Wanted {
            bucket: $input.bucket,
            key: ObjectKey::parse($input.key).map_err(errors::from_name)?,
            version: $input.version_id,
            conditions: ReadConditions {
                if_match: $input.if_match,
                if_none_match: $input.if_none_match,
                if_modified_since: $input.if_modified_since,
                if_unmodified_since: $input.if_unmodified_since,
            },
            range: $input.range,
            part_number: $input.part_number,
            checksum: $input
                .checksum_mode
                .is_some_and(|mode| mode.as_str() == ChecksumMode::ENABLED),
        }
    };
}

/// The description of an object that GET and HEAD answer alike.
macro_rules! description {
    ($output:ident, $found:expr, $with_checksum:expr) => {{
        let Found {
            object,
            selection,
            parts_count,
        } = $found;
        let mut output = $output {
            accept_ranges: Some("bytes".into()),
            content_length: i64::try_from(selection.range.length_bytes()).ok(),
            content_range: selection.content_range(object.size_bytes),
            e_tag: Some(headers::to_etag(&object.etag)),
            last_modified: Some(headers::to_timestamp(object.modified_at)),
            metadata: headers::to_metadata(&object),
            parts_count,
            cache_control: object.headers.cache_control,
            content_disposition: object.headers.content_disposition,
            content_encoding: object.headers.content_encoding,
            content_language: object.headers.content_language,
            content_type: object
                .headers
                .content_type
                .or_else(|| Some(DEFAULT_CONTENT_TYPE.to_owned())),
            expires: object.headers.expires,
            storage_class: object.headers.storage_class.map(StorageClass::from),
            website_redirect_location: object.headers.website_redirect,
            ..$output::default()
        };
        // Checksums of the object are no use with a range of it.
        if let Some(checksum) = &object.checksum
            && $with_checksum
            && !selection.partial
        {
            set_checksum!(output, checksum);
            output.checksum_type = Some(ChecksumType::from_static(kind_name(checksum.kind)));
        }
        output
    }};
}

impl S3Gateway {
    /// `GET /bucket/key`. The first bytes are at hand before the answer begins; a failure after that
    /// breaks the connection, so that a short body is never taken for the object.
    pub(super) async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        headers::refuse_not_built(&request.headers)?;
        let wanted = wanted!(request.input);
        let (found, body) = self.find_and_open(&wanted).await?;
        let mut output = description!(GetObjectOutput, found, wanted.checksum);
        output.body = Some(body);
        Ok(S3Response::new(output))
    }

    /// `HEAD /bucket/key`: as GET, without the bytes.
    pub(super) async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        headers::refuse_not_built(&request.headers)?;
        let wanted = wanted!(request.input);
        let found = self.find(&wanted).await?;
        let output = description!(HeadObjectOutput, found, wanted.checksum);
        Ok(S3Response::new(output))
    }

    async fn find_and_open(&self, wanted: &Wanted) -> S3Result<(Found, StreamingBlob)> {
        for _ in 0..LOOKUPS_MAX {
            let found = self.find(wanted).await?;
            if let Some(body) = self.open_body(&found.object, found.selection.range).await? {
                return Ok((found, body));
            }
        }
        Err(s3_error!(SlowDown))
    }

    async fn find(&self, wanted: &Wanted) -> S3Result<Found> {
        let bucket = self.bucket(&wanted.bucket).await?;
        let version = wanted.version.as_deref();
        let object = self.object(&bucket, &wanted.key, version).await?;
        wanted.conditions.check(&object)?;
        let size_bytes = object.size_bytes;
        let (selection, parts_count) = match (&wanted.range, wanted.part_number) {
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
            ObjectData::Chunks(_) | ObjectData::Inline(_) => Ok(None),
            ObjectData::Parts(upload) => self
                .metastore
                .part_set(*upload)
                .await
                .map(Some)
                .map_err(errors::from_metadata),
        }
    }
}
