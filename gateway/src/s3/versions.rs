//! ListObjectVersions. Buckets have no versioning yet, so each key shows its one version, `null`.

use metastore::{ListEntry, ListedObject};
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, ListObjectVersionsInput, ListObjectVersionsOutput,
    ObjectVersion, ObjectVersionStorageClass,
};
use s3s::{S3Request, S3Response, S3Result};

use super::auth::owner;
use super::checksums::{kind_name, name};
use super::headers;
use super::list::{ENTRIES_MAX, NameEncoding, common_prefix, given, last_name, page_limit};
use super::service::S3Gateway;

const NULL_VERSION: &str = "null";

impl S3Gateway {
    /// `GET /bucket?versions`.
    pub(super) async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = request.input;
        let encoding = NameEncoding::parse(input.encoding_type.as_ref())?;
        let limit = page_limit(input.max_keys, ENTRIES_MAX)?;
        let (prefix, delimiter) = (given(input.prefix), given(input.delimiter));
        let after = given(input.key_marker.clone());
        let page = self
            .list(
                &input.bucket,
                prefix.clone(),
                delimiter.clone(),
                after,
                limit,
            )
            .await?;

        let next = if page.truncated {
            last_name(&page)
        } else {
            None
        };
        let ends_in_version = matches!(page.entries.last(), Some(ListEntry::Item(_)));
        let next_version = next
            .as_ref()
            .filter(|_| ends_in_version)
            .map(|_| NULL_VERSION.to_owned());
        let mut versions = Vec::new();
        let mut prefixes = Vec::new();
        for entry in page.entries {
            match entry {
                ListEntry::Item(object) => versions.push(listed(&object, encoding)),
                ListEntry::CommonPrefix(prefix) => prefixes.push(common_prefix(&prefix, encoding)),
            }
        }
        Ok(S3Response::new(ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: Some(encoding.encode(&prefix.unwrap_or_default())),
            delimiter: delimiter.map(|delimiter| encoding.encode(&delimiter)),
            key_marker: Some(encoding.encode(&input.key_marker.unwrap_or_default())),
            version_id_marker: input.version_id_marker,
            max_keys: Some(limit),
            is_truncated: Some(next.is_some()),
            next_key_marker: next.map(|name| encoding.encode(&name)),
            next_version_id_marker: next_version,
            encoding_type: input.encoding_type,
            versions: Some(versions),
            common_prefixes: (!prefixes.is_empty()).then_some(prefixes),
            ..ListObjectVersionsOutput::default()
        }))
    }
}

fn listed(object: &ListedObject, encoding: NameEncoding) -> ObjectVersion {
    let storage_class = object
        .storage_class
        .clone()
        .map(ObjectVersionStorageClass::from);
    let standard = ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD);
    ObjectVersion {
        key: Some(encoding.encode(object.key.as_str())),
        version_id: Some(NULL_VERSION.to_owned()),
        is_latest: Some(true),
        size: i64::try_from(object.size_bytes).ok(),
        e_tag: Some(headers::to_etag(&object.etag)),
        last_modified: Some(headers::to_precise_timestamp(object.modified_at)),
        owner: Some(owner(&object.owner)),
        checksum_algorithm: object
            .checksum
            .map(|(algorithm, _)| vec![ChecksumAlgorithm::from_static(name(algorithm))]),
        checksum_type: object
            .checksum
            .map(|(_, kind)| ChecksumType::from_static(kind_name(kind))),
        storage_class: Some(storage_class.unwrap_or(standard)),
        ..ObjectVersion::default()
    }
}
