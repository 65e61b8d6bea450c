//! GetObjectAttributes: what is known of an object, without its bytes.

use metastore::{ObjectChecksum, ObjectData, ObjectKey, ObjectVersion, Part, PartNumber};
use s3s::dto::{
    Checksum, ChecksumType, GetObjectAttributesInput, GetObjectAttributesOutput,
    GetObjectAttributesParts, ObjectAttributes, ObjectPart, StorageClass,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::headers;
use crate::s3::body::checksums::{kind_name, set_checksum};
use crate::s3::errors;
use crate::s3::gateway::{S3Gateway, shown_version};
use crate::s3::listing::paging::page_limit;

/// Most parts in one page.
const PARTS_MAX: i32 = 1000;
/// The attributes that may be asked for.
const KNOWN: [&str; 5] = [
    ObjectAttributes::CHECKSUM,
    ObjectAttributes::ETAG,
    ObjectAttributes::OBJECT_PARTS,
    ObjectAttributes::OBJECT_SIZE,
    ObjectAttributes::STORAGE_CLASS,
];

impl S3Gateway {
    /// `GET /bucket/key?attributes`.
    pub(crate) async fn get_object_attributes(
        &self,
        request: S3Request<GetObjectAttributesInput>,
    ) -> S3Result<S3Response<GetObjectAttributesOutput>> {
        let requested_encryption = self.requested_encryption(&request)?;
        requested_encryption.refuse_method()?;
        let input = request.input;
        // Some clients send one header with a list, others one header for each.
        let asked: Vec<_> = input
            .object_attributes
            .iter()
            .flat_map(|names| names.as_str().split(','))
            .map(str::trim)
            .collect();
        if asked.is_empty() || !asked.iter().all(|name| KNOWN.contains(name)) {
            return Err(s3_error!(
                InvalidArgument,
                "Invalid attribute name specified."
            ));
        }
        let asks = |name: &str| asked.contains(&name);
        let bucket = self.bucket(&input.bucket).await?;
        let key = ObjectKey::parse(input.key.as_str()).map_err(errors::from_name)?;
        let object = self
            .object(&bucket, &key, input.version_id.as_deref())
            .await?;
        let customer = requested_encryption.customer.as_ref();
        self.opening_key(bucket.id, object.attributes.encryption.as_ref(), customer)?;
        let mut output = GetObjectAttributesOutput {
            last_modified: Some(headers::to_timestamp(object.modified_at)),
            version_id: shown_version(&bucket, object.version),
            ..GetObjectAttributesOutput::default()
        };
        if asks(ObjectAttributes::ETAG) {
            output.e_tag = Some(headers::to_etag(&object.etag));
        }
        if asks(ObjectAttributes::OBJECT_SIZE) {
            output.object_size = i64::try_from(object.size_bytes).ok();
        }
        if asks(ObjectAttributes::STORAGE_CLASS) {
            let class = object.headers.storage_class.clone();
            output.storage_class = Some(class.map_or_else(
                || StorageClass::from_static(StorageClass::STANDARD),
                StorageClass::from,
            ));
        }
        if asks(ObjectAttributes::CHECKSUM) {
            output.checksum = object.checksum.as_ref().map(shown_checksum);
        }
        if asks(ObjectAttributes::OBJECT_PARTS) {
            output.object_parts = self
                .shown_parts(&input, &object, asks(ObjectAttributes::CHECKSUM))
                .await?;
        }
        Ok(S3Response::new(output))
    }

    async fn shown_parts(
        &self,
        input: &GetObjectAttributesInput,
        object: &ObjectVersion,
        with_checksums: bool,
    ) -> S3Result<Option<GetObjectAttributesParts>> {
        let ObjectData::Parts(upload) = &object.data else {
            return Ok(None);
        };
        let limit = page_limit("max-parts", input.max_parts, PARTS_MAX)?;
        let marker = input.part_number_marker.unwrap_or(0);
        let after = match marker {
            0 => None,
            number => Some(PartNumber::parse(i64::from(number)).map_err(errors::from_name)?),
        };
        let set = self.metastore.part_set(*upload).await;
        let set = set.map_err(errors::from_metadata)?;
        let page = self
            .metastore
            .list_parts(*upload, after, usize::try_from(limit).unwrap_or_default())
            .await
            .map_err(errors::from_metadata)?;
        // As S3 has it, also on the last page.
        let next = page.parts.last();
        Ok(Some(GetObjectAttributesParts {
            is_truncated: Some(page.truncated),
            max_parts: Some(limit),
            next_part_number_marker: next.map(|part| i32::from(part.number.get())),
            part_number_marker: Some(marker),
            total_parts_count: i32::try_from(set.parts.len()).ok(),
            parts: Some(
                page.parts
                    .iter()
                    .map(|part| shown_part(part, object, with_checksums))
                    .collect(),
            ),
        }))
    }
}

fn shown_checksum(checksum: &ObjectChecksum) -> Checksum {
    let mut shown = Checksum {
        checksum_type: Some(ChecksumType::from_static(kind_name(checksum.kind))),
        ..Checksum::default()
    };
    set_checksum!(shown, checksum);
    shown
}

/// A part; its checksum is shown where it is of the object's algorithm.
fn shown_part(part: &Part, object: &ObjectVersion, with_checksum: bool) -> ObjectPart {
    let mut shown = ObjectPart {
        part_number: Some(i32::from(part.number.get())),
        size: i64::try_from(part.size_bytes).ok(),
        ..ObjectPart::default()
    };
    let wanted = object.checksum.as_ref().map(|checksum| checksum.algorithm);
    if let Some(checksum) = &part.checksum
        && with_checksum
        && wanted == Some(checksum.algorithm)
    {
        set_checksum!(shown, checksum);
    }
    shown
}
