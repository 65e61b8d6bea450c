//! ListObjects (both versions): a page of keys and common prefixes, and the cursor to the next.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use metastore::{ListEntry, ListPage, ListQuery, ListedObject};
use s3s::dto::{
    ChecksumAlgorithm, ChecksumType, CommonPrefix, ListObjectsInput, ListObjectsOutput,
    ListObjectsV2Input, ListObjectsV2Output, Object, ObjectStorageClass, Owner,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::paging::{ENTRIES_MAX, NameEncoding, common_prefix, given, page_limit};
use crate::s3::body::checksums::{kind_name, name};
use crate::s3::edge::xml_text::xml_text;
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;
use crate::s3::object::headers;

/// What a listing asks for, in either version.
struct PageRequest {
    prefix: Option<String>,
    delimiter: Option<String>,
    /// The key or common prefix behind which it begins.
    after: Option<String>,
    /// Most keys and common prefixes.
    limit: i32,
}

impl S3Gateway {
    /// `GET /bucket?list-type=2`.
    pub(crate) async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = request.input;
        let encoding = NameEncoding::parse(input.encoding_type.as_ref())?;
        let limit = page_limit("max-keys", input.max_keys, ENTRIES_MAX)?;
        let (prefix, delimiter) = (given(input.prefix), given(input.delimiter));
        let after = match given(input.continuation_token.clone()) {
            Some(token) => Some(cursor_of(&token)?),
            None => given(input.start_after.clone()),
        };
        let request = PageRequest {
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            after,
            limit,
        };
        let page = self.page_of(&input.bucket, request).await?;
        let next = next_name(&page);
        let owners = match input.fetch_owner.unwrap_or(false) {
            true => self.owners_in(&page).await?,
            false => HashMap::new(),
        };
        let (contents, common_prefixes) = split(page, encoding, &owners);
        let key_count = i32::try_from(contents.len() + common_prefixes.len()).ok();
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: Some(encoding.encode(&prefix.unwrap_or_default())),
            delimiter: delimiter.map(|delimiter| encoding.encode(&delimiter)),
            start_after: input.start_after.map(|start| encoding.encode(&start)),
            max_keys: Some(limit),
            key_count,
            is_truncated: Some(next.is_some()),
            continuation_token: input.continuation_token,
            next_continuation_token: next.map(|name| token_of(&name)),
            encoding_type: input.encoding_type,
            contents: Some(contents),
            common_prefixes: (!common_prefixes.is_empty()).then_some(common_prefixes),
            ..ListObjectsV2Output::default()
        }))
    }

    /// `GET /bucket`, the first version of the listing.
    pub(crate) async fn list_objects(
        &self,
        request: S3Request<ListObjectsInput>,
    ) -> S3Result<S3Response<ListObjectsOutput>> {
        let input = request.input;
        let encoding = NameEncoding::parse(input.encoding_type.as_ref())?;
        let limit = page_limit("max-keys", input.max_keys, ENTRIES_MAX)?;
        let (prefix, delimiter) = (given(input.prefix), given(input.delimiter));
        let after = given(input.marker.clone());
        let request = PageRequest {
            prefix: prefix.clone(),
            delimiter: delimiter.clone(),
            after,
            limit,
        };
        let page = self.page_of(&input.bucket, request).await?;
        let next = next_name(&page);
        let is_truncated = Some(next.is_some());
        // Without a delimiter, clients go on from the last key.
        let next_marker = next
            .filter(|_| delimiter.is_some())
            .map(|name| encoding.encode(&name));
        let owners = self.owners_in(&page).await?;
        let (contents, common_prefixes) = split(page, encoding, &owners);
        Ok(S3Response::new(ListObjectsOutput {
            name: Some(input.bucket),
            // Clients do not decode the prefix in this version, and AWS does not encode it.
            prefix: Some(xml_text(prefix.unwrap_or_default())),
            marker: Some(encoding.encode(&input.marker.unwrap_or_default())),
            delimiter: delimiter.map(|delimiter| encoding.encode(&delimiter)),
            max_keys: Some(limit),
            is_truncated,
            next_marker,
            encoding_type: input.encoding_type,
            contents: Some(contents),
            common_prefixes: (!common_prefixes.is_empty()).then_some(common_prefixes),
            ..ListObjectsOutput::default()
        }))
    }

    async fn owners_in(&self, page: &ListPage<ListedObject>) -> S3Result<HashMap<String, Owner>> {
        let ids = page.entries.iter().filter_map(|entry| match entry {
            ListEntry::Item(object) => Some(object.owner.as_str()),
            ListEntry::CommonPrefix(_) => None,
        });
        self.directory.owners(ids).await
    }

    /// A page of a bucket's current objects.
    async fn page_of(
        &self,
        bucket: &str,
        request: PageRequest,
    ) -> S3Result<ListPage<ListedObject>> {
        let bucket = self.bucket(bucket).await?;
        let query = ListQuery {
            bucket: bucket.id,
            prefix: request.prefix.unwrap_or_default(),
            delimiter: request.delimiter,
            after: request.after,
            limit: usize::try_from(request.limit).unwrap_or_default(),
        };
        self.metastore
            .list_objects(query)
            .await
            .map_err(errors::from_metadata)
    }
}

/// The key or common prefix that ends a page, if another one follows: the cursor of that.
fn next_name(page: &ListPage<ListedObject>) -> Option<String> {
    let last = page.entries.last().filter(|_| page.truncated)?;
    Some(match last {
        ListEntry::Item(object) => object.key.as_str().to_owned(),
        ListEntry::CommonPrefix(prefix) => prefix.clone(),
    })
}

pub(crate) fn token_of(name: &str) -> String {
    URL_SAFE_NO_PAD.encode(name)
}

pub(crate) fn cursor_of(token: &str) -> S3Result<String> {
    let name = URL_SAFE_NO_PAD
        .decode(token)
        .ok()
        .and_then(|name| String::from_utf8(name).ok());
    match name {
        Some(name) if !name.is_empty() => Ok(name),
        _ => Err(s3_error!(
            InvalidArgument,
            "The continuation token provided is incorrect"
        )),
    }
}

fn split(
    page: ListPage<ListedObject>,
    encoding: NameEncoding,
    owners: &HashMap<String, Owner>,
) -> (Vec<Object>, Vec<CommonPrefix>) {
    let mut contents = Vec::new();
    let mut prefixes = Vec::new();
    for entry in page.entries {
        match entry {
            ListEntry::Item(object) => contents.push(listed(&object, encoding, owners)),
            ListEntry::CommonPrefix(prefix) => prefixes.push(common_prefix(&prefix, encoding)),
        }
    }
    (contents, prefixes)
}

fn listed(
    object: &ListedObject,
    encoding: NameEncoding,
    owners: &HashMap<String, Owner>,
) -> Object {
    let storage_class = object.storage_class.clone().map(ObjectStorageClass::from);
    Object {
        key: Some(encoding.encode(object.key.as_str())),
        size: i64::try_from(object.size_bytes).ok(),
        e_tag: Some(headers::to_etag(&object.etag)),
        last_modified: Some(headers::to_precise_timestamp(object.modified_at)),
        owner: owners.get(&object.owner).cloned(),
        checksum_algorithm: object
            .checksum
            .map(|(algorithm, _)| vec![ChecksumAlgorithm::from_static(name(algorithm))]),
        checksum_type: object
            .checksum
            .map(|(_, kind)| ChecksumType::from_static(kind_name(kind))),
        storage_class: storage_class.or_else(|| {
            Some(ObjectStorageClass::from_static(
                ObjectStorageClass::STANDARD,
            ))
        }),
        ..Object::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_continuation_token_survives_and_a_made_up_one_is_refused() {
        assert_eq!(cursor_of(&token_of("a/ü\u{1}")).unwrap(), "a/ü\u{1}");
        for token in ["", "not base64!", "_w"] {
            assert!(cursor_of(token).is_err(), "{token}");
        }
    }
}
