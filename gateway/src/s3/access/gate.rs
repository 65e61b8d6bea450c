//! Names the caller of an operation, looks up what a decision rests on, and asks. Operations on more
//! objects than their address names (copy sources, lists of keys) ask through [`Gate::authorize`].

use std::sync::Arc;

use http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Uri};
use metastore::{
    Bucket, BucketName, MetaError, Metastore, ObjectKey, ObjectVersion, StoredVersion, Timestamp,
    UploadId, VersionId,
};
use s3s::auth::Credentials;
use s3s::path::S3Path;
use s3s::{S3Error, S3Request, S3Result, s3_error};
use tracing::warn;

use super::account::BucketAddress;
use super::actions::{
    ExtraPermission, Requirement, Target, extra_permissions, is_on_object, is_on_policy,
    is_on_upload, required_permission,
};
use super::caller::{Caller, Directory};
use super::context::{Read, RequestContext};
use super::decide::{
    Facts, ObjectFacts, decide, is_cross_account_policy_access, may_delete_something,
};
use super::policy::{Policy, Verdict};
use crate::http::{Peer, query_value};
use crate::s3::bucket::document_cache::DocumentCache;
use crate::s3::edge::signature::Signature;
use crate::s3::errors;

/// A request as far as decisions look at it.
#[derive(Clone, Copy)]
pub struct RequestFacts<'a> {
    /// Its method.
    pub method: &'a Method,
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its address.
    pub uri: &'a Uri,
    /// Where it came from.
    pub peer: Option<Peer>,
    /// How it was signed, if it was.
    pub signature: Option<Signature>,
}

impl<'a> RequestFacts<'a> {
    /// What decisions look at in a request that passed the gate.
    pub fn of<T>(request: &'a S3Request<T>) -> Self {
        Self {
            method: &request.method,
            headers: &request.headers,
            uri: &request.uri,
            peer: Peer::of(&request.extensions),
            signature: Signature::noted_in(&request.extensions),
        }
    }
}

/// Credentials that were verified before a request is dispatched again; stands in its extensions.
#[derive(Clone)]
pub struct Verified(pub Option<Credentials>);

/// Lets requests pass or not. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    metastore: Arc<dyn Metastore>,
    directory: Directory,
    policies: DocumentCache<Policy>,
    region: Arc<str>,
}

impl Gate {
    /// A gate over the users in `directory`, to the buckets of `region`.
    pub fn new(metastore: Arc<dyn Metastore>, directory: Directory, region: &str) -> Self {
        Self {
            metastore,
            directory,
            region: region.into(),
            policies: DocumentCache::default(),
        }
    }

    /// Decides whether the operation may go ahead, and notes the caller in `extensions`.
    ///
    /// # Errors
    /// `AccessDenied`; `NoSuchBucket` and what else keeps the facts from being looked up.
    pub async fn authorize_operation(
        &self,
        operation: &str,
        path: &S3Path,
        request_facts: RequestFacts<'_>,
        credentials: Option<&Credentials>,
        extensions: &mut Extensions,
    ) -> S3Result<()> {
        let caller = self.directory.caller(credentials).await?;
        extensions.insert(caller.clone());
        let version = version_in(request_facts.uri);
        let Some(required) = required_permission(operation, version.is_some()) else {
            return self
                .authorize_unbuilt(&caller, path, request_facts.headers)
                .await;
        };
        match (required.target, path) {
            (Target::Service, _) => allow_if(caller != Caller::Anonymous),
            (_, S3Path::Root) => allow_if(caller == Caller::Root),
            (_, S3Path::Bucket { bucket }) => {
                let bucket = self.bucket(bucket, request_facts.headers).await?;
                match operation {
                    // A form names its key in a field, which is not read yet.
                    "PostObject" => Ok(()),
                    // Keys of a list are decided one by one. What nobody signed is not even read
                    // where nobody may delete anything.
                    "DeleteObjects" if caller != Caller::Anonymous => Ok(()),
                    "DeleteObjects" => {
                        allow_if(self.facts(&caller, &bucket, None, may_delete_something)?)
                    }
                    // Clients that may not look at a bucket ask so for its region.
                    "HeadBucket" => self
                        .authorize(&caller, &bucket, required.action, None, request_facts)
                        .await
                        .map_err(|error| self.with_region(error)),
                    _ => {
                        self.authorize(&caller, &bucket, required.action, None, request_facts)
                            .await
                    }
                }
            }
            (_, S3Path::Object { bucket, key }) => {
                let bucket = self.bucket(bucket, request_facts.headers).await?;
                let key = ObjectKey::parse(&**key).map_err(errors::from_name)?;
                let on = Some((&key, version.as_deref()));
                // What nobody began, nobody could list or abort.
                if operation == "CreateMultipartUpload" && caller == Caller::Anonymous {
                    return allow_if(false);
                }
                if is_on_upload(required.action)
                    && self
                        .began_upload(&caller, &bucket, &key, request_facts.uri)
                        .await?
                {
                    return self.check_not_denied(
                        &caller,
                        &bucket,
                        required.action,
                        (&key, None),
                        request_facts,
                    );
                }
                for extra in extra_permissions(operation, request_facts.headers, version.is_some())
                {
                    self.authorize_extra(&caller, &bucket, extra, on, request_facts)
                        .await?;
                }
                self.authorize(&caller, &bucket, required.action, on, request_facts)
                    .await
            }
        }
    }

    fn with_region(&self, error: S3Error) -> S3Error {
        match HeaderValue::from_str(&self.region) {
            Ok(region) => {
                let name = HeaderName::from_static("x-amz-bucket-region");
                errors::with_headers(error, HeaderMap::from_iter([(name, region)]))
            }
            Err(_) => error,
        }
    }

    /// Lets those who may do everything to a bucket hear that the operation is not built.
    async fn authorize_unbuilt(
        &self,
        caller: &Caller,
        path: &S3Path,
        headers: &HeaderMap,
    ) -> S3Result<()> {
        match path {
            S3Path::Root => allow_if(*caller != Caller::Anonymous),
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } => {
                let bucket = self.bucket(bucket, headers).await?;
                allow_if(*caller == Caller::Root || caller.is(&bucket.owner))
            }
        }
    }

    /// Decides whether the caller may do `action` to the bucket, or to a key in it.
    ///
    /// # Errors
    /// `AccessDenied`; `MethodNotAllowed` for another account's policy.
    pub async fn authorize(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        action: &str,
        on: Option<(&ObjectKey, Option<&str>)>,
        request_facts: RequestFacts<'_>,
    ) -> S3Result<()> {
        if *caller == Caller::Root {
            return Ok(());
        }
        let object = match on {
            Some((key, version)) if is_on_object(action) || self.needs_tags(bucket)? => {
                self.object(bucket, key, version).await?
            }
            _ => None,
        };
        let key = on.map(|(key, _)| key);
        self.authorize_seen(
            caller,
            bucket,
            action,
            (key, object.as_ref()),
            request_facts,
        )
    }

    pub(super) async fn authorize_extra(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        ExtraPermission {
            action,
            requirement,
        }: ExtraPermission,
        on: Option<(&ObjectKey, Option<&str>)>,
        request_facts: RequestFacts<'_>,
    ) -> S3Result<()> {
        match (requirement, on) {
            (Requirement::NotDenied, Some((key, _))) => {
                self.check_not_denied(caller, bucket, action, (key, None), request_facts)
            }
            _ => {
                self.authorize(caller, bucket, action, on, request_facts)
                    .await
            }
        }
    }

    /// The same for an object whose row was read: what is decided is about this very row, so that a
    /// change that compares its revision is made to nothing else.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub fn authorize_seen(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        action: &str,
        (key, object): (Option<&ObjectKey>, Option<&ObjectVersion>),
        request_facts: RequestFacts<'_>,
    ) -> S3Result<()> {
        // Also where the policy that is there cannot be read.
        let mends_policy = caller.is(&bucket.owner) && is_on_policy(action);
        if *caller == Caller::Root || mends_policy {
            return Ok(());
        }
        let context = context(caller, bucket, object, request_facts);
        let name = bucket.name.as_str();
        let resource = match key {
            Some(key) => format!("{name}/{key}"),
            None => name.to_owned(),
        };
        self.facts(caller, bucket, object, |facts| {
            if decide(facts, action, &resource, &context) {
                return Ok(());
            }
            if is_cross_account_policy_access(facts, action, &resource, &context) {
                return Err(s3_error!(MethodNotAllowed));
            }
            // Only who may list a bucket may know that a key is not in it.
            let is_missing = object.is_none() && is_on_object(action);
            let context = RequestContext {
                prefix: key.map(ObjectKey::as_str),
                ..context
            };
            allow_if(is_missing && decide(facts, "s3:ListBucket", name, &context))
        })?
    }

    /// Refuses only what the bucket's policy denies.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub fn check_not_denied(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        action: &str,
        (key, object): (&ObjectKey, Option<&ObjectVersion>),
        request_facts: RequestFacts<'_>,
    ) -> S3Result<()> {
        if *caller == Caller::Root {
            return Ok(());
        }
        let context = context(caller, bucket, object, request_facts);
        let resource = format!("{}/{key}", bucket.name.as_str());
        let denied = self.facts(caller, bucket, object, |facts| {
            let verdict = |policy: &Policy| policy.verdict(caller, action, &resource, &context);
            facts.policy.map(verdict) == Some(Verdict::Deny)
        });
        allow_if(!denied?)
    }

    /// What `ask` says to the facts about a bucket and an object in it.
    fn facts<T>(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        object: Option<&ObjectVersion>,
        ask: impl FnOnce(&Facts<'_>) -> T,
    ) -> S3Result<T> {
        let policy = self.policy(bucket)?;
        Ok(ask(&Facts {
            caller,
            bucket_owner: &bucket.owner,
            settings: &bucket.settings,
            policy: policy.as_deref(),
            object: object.map(|object| ObjectFacts {
                owner: &object.owner,
                acl: object.attributes.acl.as_ref(),
            }),
        }))
    }

    fn policy(&self, bucket: &Bucket) -> S3Result<Option<Arc<Policy>>> {
        let Some(text) = bucket.settings.policy.as_deref() else {
            return Ok(None);
        };
        let parse = || Policy::parse(text, bucket.name.as_str());
        let policy = self.policies.of(bucket, parse).map_err(|error| {
            // It was read when it was put; if it cannot be now, nobody passes.
            warn!(
                error,
                bucket = bucket.name.as_str(),
                "a stored bucket policy is invalid: access is denied"
            );
            s3_error!(AccessDenied)
        })?;
        Ok(Some(policy))
    }

    fn needs_tags(&self, bucket: &Bucket) -> S3Result<bool> {
        let policy = self.policy(bucket)?;
        Ok(policy.is_some_and(|policy| policy.looks_at_tags()))
    }

    /// Whether the caller began the upload that the request names.
    async fn began_upload(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        key: &ObjectKey,
        uri: &Uri,
    ) -> S3Result<bool> {
        let id = query_value(uri.query(), "uploadId");
        let Some(id) = id.and_then(|id| UploadId::parse(&id).ok()) else {
            return Ok(false);
        };
        match self.metastore.upload(bucket.id, key, id).await {
            Ok(upload) => Ok(caller.is(upload.initiator())),
            Err(MetaError::NoSuchUpload(_)) => Ok(false),
            Err(error) => Err(errors::from_metadata(error)),
        }
    }

    pub(super) async fn bucket(&self, address: &str, headers: &HeaderMap) -> S3Result<Bucket> {
        let address = BucketAddress::of(address);
        let name = BucketName::parse(address.name).map_err(errors::from_name)?;
        let bucket = self.metastore.bucket(&name).await;
        let bucket = bucket.map_err(errors::from_metadata)?;
        if !address.is_of(&bucket.owner) {
            return Err(s3_error!(NoSuchBucket));
        }
        let expected = headers.get("x-amz-expected-bucket-owner");
        let expected = expected.filter(|owner| !owner.is_empty());
        if expected.is_some_and(|owner| owner.as_bytes() != bucket.owner.as_bytes()) {
            return Err(s3_error!(AccessDenied));
        }
        Ok(bucket)
    }

    async fn object(
        &self,
        bucket: &Bucket,
        key: &ObjectKey,
        version: Option<&str>,
    ) -> S3Result<Option<ObjectVersion>> {
        let found = match version.map(VersionId::parse) {
            None => self.metastore.object(bucket.id, key).await,
            Some(None) => return Ok(None),
            Some(Some(version)) => {
                let found = self.metastore.object_version(bucket.id, key, version).await;
                match found {
                    Ok(StoredVersion::Object(object)) => Ok(object),
                    Ok(StoredVersion::DeleteMarker(_)) => return Ok(None),
                    Err(error) => Err(error),
                }
            }
        };
        match found {
            Ok(object) => Ok(Some(object)),
            Err(MetaError::NoSuchKey(_) | MetaError::NoSuchVersion(..)) => Ok(None),
            Err(error) => Err(errors::from_metadata(error)),
        }
    }
}

fn context<'a>(
    caller: &'a Caller,
    bucket: &'a Bucket,
    object: Option<&'a ObjectVersion>,
    request_facts: RequestFacts<'a>,
) -> RequestContext<'a> {
    RequestContext {
        method: request_facts.method,
        headers: request_facts.headers,
        uri: request_facts.uri,
        caller,
        source_ip: request_facts.peer.map(|peer| peer.address),
        tls: request_facts.peer.and_then(|peer| peer.tls),
        bucket_owner: &bucket.owner,
        signature: request_facts
            .signature
            .filter(|_| *caller != Caller::Anonymous),
        existing_tags: object
            .map(|object| object.attributes.tags.as_slice())
            .unwrap_or_default(),
        now_ms: Timestamp::now().0,
        prefix: None,
        read: Read::default(),
    }
}

fn allow_if(allowed: bool) -> S3Result<()> {
    match allowed {
        true => Ok(()),
        false => Err(s3_error!(AccessDenied)),
    }
}

/// The version that the operation will read from the address. Both sides of the pair are decoded, as
/// s3s does: else `%76ersionId` would be decided on as the current version, and served as another.
fn version_in(uri: &Uri) -> Option<String> {
    let version = query_value(uri.query(), "versionId")?;
    (!version.is_empty()).then(|| version.into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_seen_however_its_name_is_written() {
        for (query, expected) in [
            ("versionId=x", Some("x")),
            ("%76ersionId=x", Some("x")),
            ("a=b&version%49d=%78", Some("x")),
            ("versionid=x", None),
            ("versionId=", None),
            ("", None),
        ] {
            let uri = format!("/b/k?{query}").parse().unwrap();
            assert_eq!(version_in(&uri).as_deref(), expected, "{query}");
        }
    }
}
