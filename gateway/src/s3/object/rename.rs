//! RenameObject: one commit gives an object another key in its bucket; no byte is copied. Built for
//! any bucket, while AWS has it for directory buckets alone; what a bucket with versions does, and
//! why, is in `docs/adr/0023-renames-and-appends.md`. Source: API reference, "RenameObject".

use http::{HeaderMap, HeaderName, HeaderValue};
use metastore::{
    Bucket, ClientToken, MetaError, MetaResult, ObjectKey, RenameObject, Renamed, Sequence,
    Timestamp, Versioning, WriteCondition,
};
use percent_encoding::percent_decode_str;
use s3s::crypto::{Checksum as _, Sha256};
use s3s::dto::{ETagCondition, RenameObjectInput, RenameObjectOutput};
use s3s::{S3Error, S3Request, S3Response, S3Result, s3_error};

use super::commit::{read_back, written_version};
use super::conditions::{self, ReadConditions};
use super::lock::refuse_locked;
use crate::s3::access::{Caller, RequestFacts};
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;

/// Times that a rename looks again after another write got in between.
const ATTEMPTS_MAX: usize = 8;
/// Longest client token.
const TOKEN_MAX_BYTES: usize = 64;
const TOKEN: &str = "x-amz-client-token";
const VERSION_ID: HeaderName = HeaderName::from_static("x-amz-version-id");

/// The headers in which a rename says what it asks for, beside bucket and key.
const ASKED_BY: [&str; 9] = [
    "x-amz-rename-source",
    "if-match",
    "if-none-match",
    "if-modified-since",
    "if-unmodified-since",
    "x-amz-rename-source-if-match",
    "x-amz-rename-source-if-none-match",
    "x-amz-rename-source-if-modified-since",
    "x-amz-rename-source-if-unmodified-since",
];

/// A rename as its request asks for it.
struct RenameRequest {
    source: ObjectKey,
    destination: ObjectKey,
    of_source: ReadConditions,
    of_destination: Destination,
    token: Option<ClientToken>,
}

/// What must hold at the destination.
struct Destination {
    condition: WriteCondition,
    /// The conditions on time, where there are any.
    times: Option<ReadConditions>,
}

impl S3Gateway {
    /// `PUT /bucket/key?renameObject`. The object has one of the two keys at any moment; on failure
    /// nothing changed. Asked again with the same token, it answers as the first time.
    pub(crate) async fn rename_object(
        &self,
        request: S3Request<RenameObjectInput>,
    ) -> S3Result<S3Response<RenameObjectOutput>> {
        let caller = Caller::of(&request);
        let request_facts = RequestFacts::of(&request);
        let wanted = RenameRequest::of(&request)?;
        let bucket = self.bucket(&request.input.bucket).await?;
        self.expect_may_leave(&caller, &bucket, &wanted.source, request_facts)
            .await?;
        let renamed = self.rename(&bucket, &wanted).await?;
        let mut answer = S3Response::new(RenameObjectOutput {});
        if let Renamed::Now(version) = renamed
            && let Some(version) = written_version(version)
        {
            let version = HeaderValue::from_str(&version).map_err(S3Error::internal_error)?;
            answer.headers.insert(VERSION_ID, version);
        }
        Ok(answer)
    }

    /// Whether the caller may read the source and take it away. The gate has asked about the
    /// destination. In a bucket that keeps versions one of them leaves its key, as if deleted.
    async fn expect_may_leave(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        source: &ObjectKey,
        request_facts: RequestFacts<'_>,
    ) -> S3Result<()> {
        let of_versions =
            (bucket.settings.versioning != Versioning::Off).then_some("s3:DeleteObjectVersion");
        let actions = ["s3:GetObject", "s3:DeleteObject"];
        for action in actions.into_iter().chain(of_versions) {
            let on = Some((source, None));
            self.gate
                .authorize(caller, bucket, action, on, request_facts)
                .await?;
        }
        Ok(())
    }

    async fn rename(&self, bucket: &Bucket, wanted: &RenameRequest) -> S3Result<Renamed> {
        for _ in 0..ATTEMPTS_MAX {
            if self.was_renamed(bucket, wanted).await? {
                return Ok(Renamed::Before);
            }
            let object = match self.object(bucket, &wanted.source, None).await {
                Ok(object) => object,
                // The same request may have been carried out just now.
                Err(_) if self.was_renamed(bucket, wanted).await? => return Ok(Renamed::Before),
                Err(error) => return Err(error),
            };
            wanted.of_source.check_copy_source(&object)?;
            refuse_locked(&object, false, Timestamp::now())?;
            let rename = RenameObject {
                bucket: bucket.id,
                source: wanted.source.clone(),
                seen: object.sequence,
                destination: wanted.destination.clone(),
                sequence: Sequence::generate(),
                condition: self.condition_now(bucket, wanted).await?,
                token: wanted.token.clone(),
                now: Timestamp::now(),
            };
            match self.try_rename(rename).await {
                Ok(renamed) => return Ok(renamed),
                Err(MetaError::Conflict) => {}
                // The source went between the look and the commit.
                Err(MetaError::NoSuchKey(key)) if key == wanted.source => {}
                Err(error) => return Err(errors::from_metadata(error)),
            }
        }
        Err(s3_error!(ConditionalRequestConflict))
    }

    async fn was_renamed(&self, bucket: &Bucket, wanted: &RenameRequest) -> S3Result<bool> {
        match &wanted.token {
            Some(token) => self
                .metastore
                .was_renamed(bucket.id, token)
                .await
                .map_err(errors::from_metadata),
            None => Ok(false),
        }
    }

    /// The condition for the commit. One on times is checked here, and holds for the revision that
    /// was looked at.
    async fn condition_now(
        &self,
        bucket: &Bucket,
        wanted: &RenameRequest,
    ) -> S3Result<WriteCondition> {
        let Destination { condition, times } = &wanted.of_destination;
        let Some(times) = times else {
            return Ok(condition.clone());
        };
        let pinned = match self.metastore.object(bucket.id, &wanted.destination).await {
            Ok(standing) => {
                times.check_copy_source(&standing)?;
                WriteCondition::Revision(standing.sequence)
            }
            Err(MetaError::NoSuchKey(_)) if times.if_modified_since.is_some() => {
                return Err(s3_error!(PreconditionFailed));
            }
            Err(MetaError::NoSuchKey(_)) => WriteCondition::Absent,
            Err(error) => return Err(errors::from_metadata(error)),
        };
        Ok(conditions::both(condition.clone(), pinned))
    }

    async fn try_rename(&self, rename: RenameObject) -> MetaResult<Renamed> {
        let (bucket, key) = (rename.bucket, rename.destination.clone());
        let sequence = rename.sequence;
        let outcome = self.metastore.rename_object(rename).await;
        let standing = async {
            let moved = self.metastore.object(bucket, &key).await?;
            Ok((moved.sequence, Renamed::Now(moved.version)))
        };
        read_back(outcome, sequence, standing).await
    }
}

impl RenameRequest {
    fn of(request: &S3Request<RenameObjectInput>) -> S3Result<Self> {
        let input = &request.input;
        let destination = ObjectKey::parse(input.key.as_str()).map_err(errors::from_name)?;
        let source = source_key(&input.rename_source, &input.bucket)?;
        if source == destination {
            return Err(s3_error!(
                InvalidRequest,
                "The source and the destination of a rename must be different keys."
            ));
        }
        let times = ReadConditions {
            if_modified_since: input.destination_if_modified_since.clone(),
            if_unmodified_since: input.destination_if_unmodified_since.clone(),
            ..ReadConditions::default()
        };
        let has_times = times.if_modified_since.is_some() || times.if_unmodified_since.is_some();
        Ok(Self {
            source,
            destination,
            of_source: ReadConditions {
                if_match: etag_condition(input.source_if_match.as_deref())?,
                if_none_match: etag_condition(input.source_if_none_match.as_deref())?,
                if_modified_since: input.source_if_modified_since.clone(),
                if_unmodified_since: input.source_if_unmodified_since.clone(),
            },
            of_destination: Destination {
                condition: conditions::write_condition(
                    input.destination_if_match.as_ref(),
                    input.destination_if_none_match.as_ref(),
                ),
                times: has_times.then_some(times),
            },
            token: client_token(&request.headers, &input.key)?,
        })
    }
}

/// The key that `x-amz-rename-source` names: URL-encoded, alone or behind `/bucket/`.
///
/// # Errors
/// `InvalidArgument` for what is no text or no key.
fn source_key(header: &str, bucket: &str) -> S3Result<ObjectKey> {
    let invalid = || {
        s3_error!(
            InvalidArgument,
            "The rename source is not a key in URL encoding."
        )
    };
    let of_bucket = header
        .strip_prefix('/')
        .and_then(|path| path.strip_prefix(bucket))
        .and_then(|path| path.strip_prefix('/'));
    let key = percent_decode_str(of_bucket.unwrap_or(header))
        .decode_utf8()
        .map_err(|_| invalid())?;
    if key.is_empty() {
        return Err(invalid());
    }
    ObjectKey::parse(key).map_err(errors::from_name)
}

fn etag_condition(header: Option<&str>) -> S3Result<Option<ETagCondition>> {
    let parse = |text: &str| {
        ETagCondition::parse_http_header(text.as_bytes())
            .map_err(|_| s3_error!(InvalidArgument, "'{text}' is not a valid entity tag."))
    };
    header
        .filter(|text| !text.is_empty())
        .map(parse)
        .transpose()
}

/// The client's token, with a digest of everything that the request asks for.
///
/// # Errors
/// `InvalidArgument` for a token that is none.
fn client_token(headers: &HeaderMap, key: &str) -> S3Result<Option<ClientToken>> {
    let Some(name) = headers.get(TOKEN) else {
        return Ok(None);
    };
    let is_token = (1..=TOKEN_MAX_BYTES).contains(&name.len())
        && name.as_bytes().iter().all(u8::is_ascii_graphic);
    let Some(name) = name.to_str().ok().filter(|_| is_token) else {
        return Err(s3_error!(
            InvalidArgument,
            "A client token has 1 to {TOKEN_MAX_BYTES} visible ASCII characters."
        ));
    };
    let mut asked = Sha256::new();
    // Each with its length, so that no two requests make the same bytes.
    let mut take = |part: Option<&[u8]>| match part {
        Some(part) => {
            asked.update(&(part.len() as u64).to_be_bytes());
            asked.update(part);
        }
        None => asked.update(&u64::MAX.to_be_bytes()),
    };
    take(Some(key.as_bytes()));
    for header in ASKED_BY {
        take(headers.get(header).map(HeaderValue::as_bytes));
    }
    Ok(Some(ClientToken {
        name: name.to_owned(),
        asked: asked.finalize(),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_key_in_url_encoding_alone_or_behind_its_bucket() {
        for (header, key) in [
            ("a/b", "a/b"),
            ("/photos/a/b", "a/b"),
            ("/photos//a", "/a"),
            ("/other/a", "/other/a"),
            ("%2Fphotos/a", "/photos/a"),
            ("photos/a", "photos/a"),
            ("a%20b+c%2B%C3%BC", "a b+c+ü"),
        ] {
            let named = source_key(header, "photos").unwrap();
            assert_eq!(named.as_str(), key, "{header}");
        }
        for header in ["", "/photos/", "%ff"] {
            assert!(source_key(header, "photos").is_err(), "{header}");
        }
        assert!(source_key(&"k".repeat(1025), "photos").is_err());
    }

    #[test]
    fn a_token_stands_for_all_that_its_request_asks_for() {
        let headers = |pairs: &[(&'static str, &'static str)]| {
            let pair = |(name, value): &(&'static str, &'static str)| {
                (
                    HeaderName::from_static(name),
                    HeaderValue::from_static(value),
                )
            };
            pairs.iter().map(pair).collect::<HeaderMap>()
        };
        let plain = [(TOKEN, "t"), ("x-amz-rename-source", "a")];
        let token = |pairs: &[_], key: &str| client_token(&headers(pairs), key).unwrap().unwrap();
        let first = token(&plain, "b");
        assert_eq!(first, token(&plain, "b"));
        let with = |more| [&plain[..], &[more]].concat();
        for other in [
            token(&plain, "c"),
            token(&[(TOKEN, "t"), ("x-amz-rename-source", "c")], "b"),
            token(&with(("if-match", "x")), "b"),
            token(&with(("if-none-match", "x")), "b"),
        ] {
            assert_ne!(first.asked, other.asked);
        }
        assert!(client_token(&headers(&[(TOKEN, "")]), "b").is_err());
        assert!(client_token(&headers(&[(TOKEN, "a b")]), "b").is_err());
        assert_eq!(client_token(&headers(&[]), "b").unwrap(), None);
    }
}
