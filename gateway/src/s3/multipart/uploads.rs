//! The frame of a multipart upload: begin, abort, list its parts, list a bucket's uploads.

use std::collections::HashMap;

use metastore::{
    ListEntry, ListedUpload, ObjectKey, Part, PartNumber, Timestamp, Upload, UploadId, UploadPage,
    UploadQuery,
};
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, ChecksumAlgorithm, ChecksumType,
    CreateMultipartUploadInput, CreateMultipartUploadOutput, Initiator, ListMultipartUploadsInput,
    ListMultipartUploadsOutput, ListPartsInput, ListPartsOutput, MultipartUpload, Owner,
    StorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::s3::access::Caller;
use crate::s3::body::checksums::{
    self, kind_name, multipart_kind, parse_algorithm, parse_kind, set_checksum,
};
use crate::s3::edge::xml_text::xml_text;
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::s3::listing::paging::{ENTRIES_MAX, NameEncoding, common_prefix, given, page_limit};
use crate::s3::object::headers;

impl S3Gateway {
    /// `POST /bucket/key?uploads`.
    pub(crate) async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        headers::refuse_append(&request.headers)?;
        let requested_encryption = self.requested_encryption(&request)?;
        let caller = Caller::of(&request);
        let input = request.input;
        let key = ObjectKey::parse(input.key.as_str()).map_err(errors::from_name)?;
        let algorithm = input
            .checksum_algorithm
            .as_ref()
            .map(|algorithm| parse_algorithm(algorithm.as_str()))
            .transpose()?;
        let asked = input.checksum_type.as_ref().map(parse_kind).transpose()?;
        let checksum = match (algorithm, asked) {
            (Some(algorithm), asked) => Some((algorithm, multipart_kind(algorithm, asked)?)),
            (None, None) => None,
            (None, Some(_)) => {
                return Err(s3_error!(
                    InvalidRequest,
                    "The x-amz-checksum-type header can only be used with the x-amz-checksum-algorithm header."
                ));
            }
        };
        let bucket = self.bucket(&input.bucket).await?;
        let sealing = self.sealing(&bucket, &requested_encryption)?;
        let (owner, attributes) = self
            .new_attributes(
                &caller,
                &bucket,
                &request.headers,
                sealing.map(|sealing| sealing.row),
            )
            .await?;
        let upload = Upload {
            id: UploadId::generate(),
            initiated_at: Timestamp::now(),
            initiator: match caller.id() {
                Some(id) if id != owner => id.to_owned(),
                _ => String::new(),
            },
            owner,
            headers: headers::system_headers(&request.headers)?,
            user_metadata: headers::user_metadata(input.metadata)?,
            checksum,
            attributes,
        };
        let id = upload.id;
        let (abort_date, abort_rule_id) = self
            .upload_abort_date(&bucket, &key, upload.initiated_at)
            .unzip();
        let shown = requested_encryption.response_headers(upload.attributes.encryption.as_ref());
        self.metastore
            .create_upload(bucket.id, &key, upload)
            .await
            .map_err(errors::from_metadata)?;
        let output = CreateMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(xml_text(input.key)),
            upload_id: Some(id.to_string()),
            checksum_algorithm: checksum
                .map(|(algorithm, _)| ChecksumAlgorithm::from_static(checksums::name(algorithm))),
            checksum_type: checksum.map(|(_, kind)| ChecksumType::from_static(kind_name(kind))),
            abort_date,
            abort_rule_id,
            ..CreateMultipartUploadOutput::default()
        };
        Ok(S3Response::with_headers(output, shown))
    }

    /// `DELETE /bucket/key?uploadId=`.
    pub(crate) async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        let input = request.input;
        let key = ObjectKey::parse(input.key).map_err(errors::from_name)?;
        let upload = UploadId::parse(&input.upload_id).map_err(errors::from_name)?;
        let bucket = self.bucket(&input.bucket).await?;
        self.metastore
            .abort_upload(bucket.id, &key, upload, Timestamp::now())
            .await
            .map_err(errors::from_metadata)?;
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }

    /// `GET /bucket/key?uploadId=`.
    pub(crate) async fn list_parts(
        &self,
        request: S3Request<ListPartsInput>,
    ) -> S3Result<S3Response<ListPartsOutput>> {
        let input = request.input;
        let key = ObjectKey::parse(input.key.as_str()).map_err(errors::from_name)?;
        let id = UploadId::parse(&input.upload_id).map_err(errors::from_name)?;
        let bucket = self.bucket(&input.bucket).await?;
        let upload = self
            .metastore
            .upload(bucket.id, &key, id)
            .await
            .map_err(errors::from_metadata)?;
        let limit = page_limit("max-parts", input.max_parts, ENTRIES_MAX)?;
        let marker = input.part_number_marker.unwrap_or(0);
        let after = match marker {
            0 => None,
            number => Some(PartNumber::parse(i64::from(number)).map_err(errors::from_name)?),
        };
        let page = self
            .metastore
            .list_parts(id, after, usize::try_from(limit).unwrap_or_default())
            .await
            .map_err(errors::from_metadata)?;
        let next = match page.parts.last() {
            Some(last) if page.truncated => Some(i32::from(last.number.get())),
            _ => None,
        };
        let owner = self.directory.owner(&upload.owner).await?;
        let began = self.directory.owner(upload.initiator()).await?;
        let (abort_date, abort_rule_id) = self
            .upload_abort_date(&bucket, &key, upload.initiated_at)
            .unzip();
        Ok(S3Response::new(ListPartsOutput {
            abort_date,
            abort_rule_id,
            bucket: Some(input.bucket),
            key: Some(xml_text(input.key)),
            upload_id: Some(input.upload_id),
            part_number_marker: Some(marker),
            next_part_number_marker: next,
            max_parts: Some(limit),
            is_truncated: Some(page.truncated),
            parts: Some(page.parts.iter().map(listed_part).collect()),
            initiator: Some(initiator(&began)),
            owner: Some(owner),
            storage_class: Some(storage_class(&upload)),
            checksum_algorithm: upload
                .checksum
                .map(|(algorithm, _)| ChecksumAlgorithm::from_static(checksums::name(algorithm))),
            checksum_type: upload
                .checksum
                .map(|(_, kind)| ChecksumType::from_static(kind_name(kind))),
            ..ListPartsOutput::default()
        }))
    }

    /// `GET /bucket?uploads`.
    pub(crate) async fn list_multipart_uploads(
        &self,
        request: S3Request<ListMultipartUploadsInput>,
    ) -> S3Result<S3Response<ListMultipartUploadsOutput>> {
        let input = request.input;
        let encoding = NameEncoding::parse(input.encoding_type.as_ref())?;
        let limit = page_limit("max-uploads", input.max_uploads, ENTRIES_MAX)?;
        let (prefix, delimiter) = (given(input.prefix), given(input.delimiter));
        let upload_marker = given(input.upload_id_marker.clone())
            .map(|id| {
                UploadId::parse(&id)
                    .map_err(|_| s3_error!(InvalidArgument, "Invalid uploadId marker"))
            })
            .transpose()?;
        let bucket = self.bucket(&input.bucket).await?;
        let query = UploadQuery {
            bucket: bucket.id,
            prefix: prefix.clone().unwrap_or_default(),
            delimiter: delimiter.clone(),
            after: given(input.key_marker.clone()).map(|key| (key, upload_marker)),
            limit: usize::try_from(limit).unwrap_or_default(),
        };
        let page = self
            .metastore
            .list_uploads(query)
            .await
            .map_err(errors::from_metadata)?;

        let (next_key, next_upload) = next_markers(&page, encoding);
        let ids = page.entries.iter().flat_map(|entry| match entry {
            ListEntry::Item(ListedUpload { upload, .. }) => {
                vec![upload.owner.as_str(), upload.initiator()]
            }
            ListEntry::CommonPrefix(_) => Vec::new(),
        });
        let owners = self.directory.owners(ids).await?;
        let mut uploads = Vec::new();
        let mut prefixes = Vec::new();
        for entry in page.entries {
            match entry {
                ListEntry::Item(listed) => {
                    uploads.push(listed_upload(
                        &listed.key,
                        &listed.upload,
                        &owners,
                        encoding,
                    ));
                }
                ListEntry::CommonPrefix(prefix) => prefixes.push(common_prefix(&prefix, encoding)),
            }
        }
        Ok(S3Response::new(ListMultipartUploadsOutput {
            bucket: Some(input.bucket),
            prefix: Some(encoding.encode(&prefix.unwrap_or_default())),
            delimiter: delimiter.map(|delimiter| encoding.encode(&delimiter)),
            key_marker: Some(encoding.encode(&input.key_marker.unwrap_or_default())),
            upload_id_marker: Some(input.upload_id_marker.unwrap_or_default()),
            next_key_marker: next_key,
            next_upload_id_marker: next_upload,
            max_uploads: Some(limit),
            is_truncated: Some(page.truncated),
            uploads: (!uploads.is_empty()).then_some(uploads),
            common_prefixes: (!prefixes.is_empty()).then_some(prefixes),
            encoding_type: input.encoding_type,
            ..ListMultipartUploadsOutput::default()
        }))
    }
}

fn next_markers(page: &UploadPage, encoding: NameEncoding) -> (Option<String>, Option<String>) {
    match page.entries.last() {
        Some(ListEntry::Item(last)) if page.truncated => (
            Some(encoding.encode(last.key.as_str())),
            Some(last.upload.id.to_string()),
        ),
        Some(ListEntry::CommonPrefix(prefix)) if page.truncated => {
            (Some(encoding.encode(prefix)), None)
        }
        _ => (None, None),
    }
}

fn listed_part(part: &Part) -> s3s::dto::Part {
    let mut listed = s3s::dto::Part {
        part_number: Some(i32::from(part.number.get())),
        size: i64::try_from(part.size_bytes).ok(),
        e_tag: Some(headers::to_etag(&part.etag)),
        last_modified: Some(headers::to_precise_timestamp(part.modified_at)),
        ..s3s::dto::Part::default()
    };
    if let Some(checksum) = &part.checksum {
        set_checksum!(listed, checksum);
    }
    listed
}

fn listed_upload(
    key: &ObjectKey,
    upload: &Upload,
    owners: &HashMap<String, Owner>,
    encoding: NameEncoding,
) -> MultipartUpload {
    let owner = owners.get(&upload.owner).cloned();
    let began = owners.get(upload.initiator());
    MultipartUpload {
        key: Some(encoding.encode(key.as_str())),
        upload_id: Some(upload.id.to_string()),
        initiated: Some(headers::to_precise_timestamp(upload.initiated_at)),
        initiator: began.map(initiator),
        owner,
        storage_class: Some(storage_class(upload)),
        checksum_algorithm: upload
            .checksum
            .map(|(algorithm, _)| ChecksumAlgorithm::from_static(checksums::name(algorithm))),
        checksum_type: upload
            .checksum
            .map(|(_, kind)| ChecksumType::from_static(kind_name(kind))),
    }
}

fn initiator(owner: &Owner) -> Initiator {
    Initiator {
        id: owner.id.clone(),
        display_name: owner.display_name.clone(),
    }
}

fn storage_class(upload: &Upload) -> StorageClass {
    let class = upload.headers.storage_class.clone();
    class.map_or_else(
        || StorageClass::from_static(StorageClass::STANDARD),
        StorageClass::from,
    )
}
