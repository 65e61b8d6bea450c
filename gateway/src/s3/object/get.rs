//! GetObject and HeadObject: one lookup, conditions, the range, then the bytes as a stream.

use http::HeaderValue;
use metastore::{ObjectChecksum, ObjectData, ObjectKey, ObjectVersion, PartEntry, PartNumber};
use s3s::dto::{
    ChecksumMode, ChecksumType, GetObjectInput, GetObjectOutput, GetObjectTorrentInput,
    GetObjectTorrentOutput, HeadObjectInput, HeadObjectOutput, ObjectLockMode, Range, StorageClass,
    StreamingBlob,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::conditions::{self, ReadConditions};
use super::headers::{self, DEFAULT_CONTENT_TYPE};
use super::lock::{hold_status, lock_mode_name};
use super::range::Selection;
use crate::s3::body::checksums::{kind_name, set_checksum};
use crate::s3::body::store::unless_replaced;
use crate::s3::encryption::request::EncryptionRequest;
use crate::s3::errors;
use crate::s3::gateway::{S3Gateway, shown_version};
use crate::sealing::DataKey;

/// Times that a read looks again after the object was replaced between row and bytes.
const LOOKUPS_MAX: usize = 8;

/// What a GET or HEAD asks for.
struct ReadRequest {
    encryption: EncryptionRequest,
    bucket: String,
    key: ObjectKey,
    version: Option<String>,
    conditions: ReadConditions,
    range: Option<Range>,
    if_range: Option<HeaderValue>,
    part_number: Option<i32>,
    checksum: bool,
}

/// An object that a read found, and which of its bytes it wants.
struct ObjectRead {
    /// Its version as the answer shows it.
    version: Option<String>,
    object: ObjectVersion,
    selection: Selection,
    /// Checksum of the part that is read by its number.
    part_checksum: Option<ObjectChecksum>,
    /// When it goes, for the header.
    expiration: Option<String>,
    /// The key, where it is encrypted.
    key: Option<DataKey>,
    /// For a read by part number of a multipart object.
    parts_count: Option<i32>,
}

/// What a GET or HEAD asks for, out of its input.
macro_rules! read_request {
    ($input:expr, $headers:expr, $encryption:expr) => {
        ReadRequest {
            encryption: $encryption,
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
            if_range: $headers.get(http::header::IF_RANGE).cloned(),
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
        let ObjectRead {
            version,
            object,
            selection,
            parts_count,
            key: _,
            expiration,
            part_checksum,
        } = $found;
        let mut output = $output {
            expiration,
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
            version_id: version,
            tag_count: i32::try_from(object.attributes.tags.len())
                .ok()
                .filter(|count| *count > 0),
            object_lock_mode: object
                .attributes
                .retention
                .map(|retention| ObjectLockMode::from_static(lock_mode_name(retention.mode))),
            object_lock_retain_until_date: object
                .attributes
                .retention
                .map(|retention| headers::to_precise_timestamp(retention.until)),
            object_lock_legal_hold_status: object.attributes.legal_hold.map(hold_status),
            ..$output::default()
        };
        // Checksums of the object are no use with a range of it; parts have their own.
        let kind = object.checksum.as_ref().map(|checksum| checksum.kind);
        let shown = match selection.partial {
            true => part_checksum,
            false => object.checksum,
        };
        if let (Some(checksum), Some(kind)) = (&shown, kind)
            && $with_checksum
        {
            set_checksum!(output, checksum);
            output.checksum_type = Some(ChecksumType::from_static(kind_name(kind)));
        }
        output
    }};
}

impl S3Gateway {
    /// `GET /bucket/key`. The first bytes are at hand before the answer begins; a failure after that
    /// breaks the connection, so that a short body is never taken for the object.
    pub(crate) async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        let encryption = self.requested_encryption(&request)?;
        encryption.refuse_method()?;
        let wanted = read_request!(request.input, request.headers, encryption);
        let (found, body) = self.find_and_open(&wanted).await?;
        let shown = wanted
            .encryption
            .response_headers(found.object.attributes.encryption.as_ref());
        let mut output = description!(GetObjectOutput, found, wanted.checksum);
        output.body = Some(body);
        Ok(S3Response::with_headers(output, shown))
    }

    /// `HEAD /bucket/key`: as GET, without the bytes.
    pub(crate) async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        let encryption = self.requested_encryption(&request)?;
        encryption.refuse_method()?;
        let wanted = read_request!(request.input, request.headers, encryption);
        let found = self.find(&wanted).await?;
        let mut shown = wanted
            .encryption
            .response_headers(found.object.attributes.encryption.as_ref());
        // s3s does it for GET.
        shown.extend(headers::overridden(&request.uri)?);
        let output = description!(HeadObjectOutput, found, wanted.checksum);
        Ok(S3Response::with_headers(output, shown))
    }

    async fn find_and_open(&self, wanted: &ReadRequest) -> S3Result<(ObjectRead, StreamingBlob)> {
        for _ in 0..LOOKUPS_MAX {
            if let Some(found) = self.try_find(wanted).await?
                && let Some(body) = self
                    .open_body(&found.object, found.key.as_ref(), found.selection.range)
                    .await?
            {
                return Ok((found, body));
            }
        }
        Err(s3_error!(SlowDown))
    }

    async fn find(&self, wanted: &ReadRequest) -> S3Result<ObjectRead> {
        for _ in 0..LOOKUPS_MAX {
            if let Some(found) = self.try_find(wanted).await? {
                return Ok(found);
            }
        }
        Err(s3_error!(SlowDown))
    }

    /// Looks once; None when the object was replaced while its rows were read.
    async fn try_find(&self, wanted: &ReadRequest) -> S3Result<Option<ObjectRead>> {
        let bucket = self.bucket(&wanted.bucket).await?;
        let version = wanted.version.as_deref();
        let object = self.object(&bucket, &wanted.key, version).await?;
        wanted.conditions.check(&object)?;
        let size_bytes = object.size_bytes;
        let range = wanted
            .range
            .as_ref()
            .filter(|_| conditions::range_applies(wanted.if_range.as_ref(), &object));
        let (selection, parts_count) = match (range, wanted.part_number) {
            (None, None) => (Selection::whole(size_bytes), None),
            (Some(range), None) => (Selection::of_range(range, size_bytes)?, None),
            (None, Some(number)) => {
                let Some(parts) = self.parts(&object).await? else {
                    return Ok(None);
                };
                let selection = Selection::of_part(number, &parts, size_bytes)?;
                let count = i32::try_from(parts.len()).ok().filter(|count| *count > 0);
                (selection, count)
            }
            (Some(_), Some(_)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "Cannot specify both Range header and partNumber query parameter"
                ));
            }
        };
        let part_checksum = match wanted.part_number {
            Some(number) if wanted.checksum => self.part_checksum(&object, number).await?,
            _ => None,
        };
        let encryption = object.attributes.encryption.as_ref();
        let key = self.opening_key(bucket.id, encryption, wanted.encryption.customer.as_ref())?;
        Ok(Some(ObjectRead {
            version: shown_version(&bucket, object.version),
            expiration: match version {
                None => self.expiration(&bucket, &wanted.key, &object),
                Some(_) => None,
            },
            object,
            selection,
            key,
            part_checksum,
            parts_count,
        }))
    }

    /// The checksum of a part, where it is of the object's algorithm.
    async fn part_checksum(
        &self,
        object: &ObjectVersion,
        number: i32,
    ) -> S3Result<Option<ObjectChecksum>> {
        let ObjectData::Parts(upload) = &object.data else {
            return Ok(object.checksum.clone());
        };
        let number = PartNumber::parse(i64::from(number)).map_err(errors::from_name)?;
        let part = unless_replaced(self.metastore.part(*upload, number).await)?;
        let algorithm = object.checksum.as_ref().map(|checksum| checksum.algorithm);
        let checksum = part.and_then(|part| part.checksum);
        Ok(checksum.filter(|checksum| Some(checksum.algorithm) == algorithm))
    }

    /// `GET /bucket/key?torrent`: there are none.
    pub(crate) async fn get_object_torrent(
        &self,
        _: S3Request<GetObjectTorrentInput>,
    ) -> S3Result<S3Response<GetObjectTorrentOutput>> {
        Err(s3_error!(NoSuchKey, "The object has no torrent."))
    }

    /// The parts of an object: none for one that was not uploaded in parts, None when it was
    /// replaced meanwhile.
    async fn parts(&self, object: &ObjectVersion) -> S3Result<Option<Vec<PartEntry>>> {
        match &object.data {
            ObjectData::Chunks(_) | ObjectData::Inline(_) => Ok(Some(Vec::new())),
            ObjectData::Parts(upload) => {
                let set = unless_replaced(self.metastore.part_set(*upload).await)?;
                let mut left = object.size_bytes;
                // Others may have been appended since the row was read.
                let of_row = |part: &PartEntry| {
                    let is_behind = part.size_bytes > left;
                    left = left.saturating_sub(part.size_bytes);
                    !is_behind
                };
                Ok(set.map(|set| set.parts.into_iter().take_while(of_row).collect()))
            }
        }
    }
}
