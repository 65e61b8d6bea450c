//! ListObjectVersions: versions and delete markers, the newest of each key first.

use std::collections::HashMap;

use metastore::{
    DeleteMarker, ListEntry, ListedVersion, ObjectVersion, StoredVersion, VersionPage, VersionQuery,
};
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, DeleteMarkerEntry, ListObjectVersionsInput,
    ListObjectVersionsOutput, ObjectVersionStorageClass, Owner,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::paging::{ENTRIES_MAX, NameEncoding, common_prefix, given, page_limit};
use crate::s3::body::checksums::{kind_name, name};
use crate::s3::errors;
use crate::s3::gateway::{S3Gateway, parse_version};
use crate::s3::object::headers;

impl S3Gateway {
    /// `GET /bucket?versions`.
    pub(crate) async fn list_object_versions(
        &self,
        request: S3Request<ListObjectVersionsInput>,
    ) -> S3Result<S3Response<ListObjectVersionsOutput>> {
        let input = request.input;
        let encoding = NameEncoding::parse(input.encoding_type.as_ref())?;
        let limit = page_limit("max-keys", input.max_keys, ENTRIES_MAX)?;
        let (prefix, delimiter) = (given(input.prefix), given(input.delimiter));
        let key_marker = given(input.key_marker.clone());
        let version_marker = parse_version(given(input.version_id_marker.clone()).as_deref())?;
        if key_marker.is_none() && version_marker.is_some() {
            return Err(s3_error!(
                InvalidArgument,
                "A version-id marker cannot be specified without a key marker."
            ));
        }
        let bucket = self.bucket(&input.bucket).await?;
        let query = VersionQuery {
            bucket: bucket.id,
            prefix: prefix.clone().unwrap_or_default(),
            delimiter: delimiter.clone(),
            after: key_marker.map(|key| (key, version_marker)),
            limit: usize::try_from(limit).unwrap_or_default(),
        };
        let page = self.metastore.list_versions(query).await;
        let page = page.map_err(errors::from_metadata)?;
        let owners = self.directory.owners(owners_in(&page)).await?;
        let (next_key_marker, next_version) = next_markers(&page, encoding);
        let is_truncated = page.truncated;
        let (mut versions, mut markers, mut prefixes) = (Vec::new(), Vec::new(), Vec::new());
        for entry in page.entries {
            match entry {
                ListEntry::CommonPrefix(prefix) => prefixes.push(common_prefix(&prefix, encoding)),
                ListEntry::Item(listed) => match &listed.version {
                    StoredVersion::Object(object) => {
                        versions.push(shown_object(&listed, object, &owners, encoding));
                    }
                    StoredVersion::DeleteMarker(marker) => {
                        markers.push(shown_marker(&listed, marker, &owners, encoding));
                    }
                },
            }
        }
        Ok(S3Response::new(ListObjectVersionsOutput {
            name: Some(input.bucket),
            prefix: Some(encoding.encode(&prefix.unwrap_or_default())),
            delimiter: delimiter.map(|delimiter| encoding.encode(&delimiter)),
            key_marker: Some(encoding.encode(&input.key_marker.unwrap_or_default())),
            version_id_marker: input.version_id_marker,
            max_keys: Some(limit),
            is_truncated: Some(is_truncated),
            next_key_marker,
            next_version_id_marker: next_version,
            encoding_type: input.encoding_type,
            versions: (!versions.is_empty()).then_some(versions),
            delete_markers: (!markers.is_empty()).then_some(markers),
            common_prefixes: (!prefixes.is_empty()).then_some(prefixes),
            ..ListObjectVersionsOutput::default()
        }))
    }
}

fn owners_in(page: &VersionPage) -> impl Iterator<Item = &str> {
    page.entries.iter().filter_map(|entry| match entry {
        ListEntry::Item(listed) => Some(match &listed.version {
            StoredVersion::Object(object) => object.owner.as_str(),
            StoredVersion::DeleteMarker(marker) => marker.owner.as_str(),
        }),
        ListEntry::CommonPrefix(_) => None,
    })
}

fn next_markers(page: &VersionPage, encoding: NameEncoding) -> (Option<String>, Option<String>) {
    match page.entries.last() {
        Some(ListEntry::Item(last)) if page.truncated => (
            Some(encoding.encode(last.key.as_str())),
            Some(last.version.version().to_string()),
        ),
        Some(ListEntry::CommonPrefix(prefix)) if page.truncated => {
            (Some(encoding.encode(prefix)), None)
        }
        _ => (None, None),
    }
}

fn shown_marker(
    listed: &ListedVersion,
    marker: &DeleteMarker,
    owners: &HashMap<String, Owner>,
    encoding: NameEncoding,
) -> DeleteMarkerEntry {
    DeleteMarkerEntry {
        key: Some(encoding.encode(listed.key.as_str())),
        version_id: Some(marker.version.to_string()),
        is_latest: Some(listed.is_latest()),
        last_modified: Some(headers::to_precise_timestamp(marker.modified_at)),
        owner: owners.get(&marker.owner).cloned(),
    }
}

fn shown_object(
    listed: &ListedVersion,
    object: &ObjectVersion,
    owners: &HashMap<String, Owner>,
    encoding: NameEncoding,
) -> s3s::dto::ObjectVersion {
    let class = object.headers.storage_class.clone();
    let standard = ObjectVersionStorageClass::from_static(ObjectVersionStorageClass::STANDARD);
    let checksum = object.checksum.as_ref();
    s3s::dto::ObjectVersion {
        key: Some(encoding.encode(listed.key.as_str())),
        version_id: Some(object.version.to_string()),
        is_latest: Some(listed.is_latest()),
        size: i64::try_from(object.size_bytes).ok(),
        e_tag: Some(headers::to_etag(&object.etag)),
        last_modified: Some(headers::to_precise_timestamp(object.modified_at)),
        owner: owners.get(&object.owner).cloned(),
        checksum_algorithm: checksum
            .map(|checksum| vec![ChecksumAlgorithm::from_static(name(checksum.algorithm))]),
        checksum_type: checksum.map(|checksum| ChecksumType::from_static(kind_name(checksum.kind))),
        storage_class: Some(class.map_or(standard, ObjectVersionStorageClass::from)),
        ..s3s::dto::ObjectVersion::default()
    }
}
