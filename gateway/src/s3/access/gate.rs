//! Runs before each operation and before its body is read: names the caller, looks up what a
//! decision rests on, and asks. Operations on further objects (copy sources, lists of keys) ask
//! through [`Gate::authorize`].

use std::sync::Arc;

use http::{Extensions, HeaderMap, Uri};
use metastore::{
    Bucket, BucketName, MetaError, Metastore, ObjectKey, ObjectVersion, StoredVersion, Timestamp,
    VersionId,
};
use s3s::access::{S3Access, S3AccessContext};
use s3s::auth::Credentials;
use s3s::dto::PostObjectInput;
use s3s::path::S3Path;
use s3s::{S3Request, S3Result, s3_error};

use super::account::BucketAddress;
use super::actions::{Need, Target, is_on_object, need};
use super::caller::{Caller, Directory};
use super::context::{Read, RequestContext};
use super::decide::{Facts, ObjectFacts, decide};
use super::policy::Policy;
use crate::http::{Peer, is_xml_text, query_value};
use crate::s3::form_head::FormFields;
use crate::s3::parsed::Parsed;
use crate::s3::{errors, form};

/// A request as far as decisions look at it.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its address.
    pub uri: &'a Uri,
    /// Where it came from.
    pub peer: Option<Peer>,
}

/// Credentials that were verified before a request is served anew; stands in its extensions.
#[derive(Clone)]
pub struct Verified(pub Option<Credentials>);

/// Lets requests pass or not. Cheap to clone.
#[derive(Clone)]
pub struct Gate {
    metastore: Arc<dyn Metastore>,
    directory: Directory,
    policies: Parsed<Policy>,
}

impl Gate {
    /// A gate over the users in `directory`.
    pub fn new(metastore: Arc<dyn Metastore>, directory: Directory) -> Self {
        Self {
            metastore,
            directory,
            policies: Parsed::default(),
        }
    }

    /// Decides whether the operation may go ahead, and notes the caller in `extensions`.
    ///
    /// # Errors
    /// `AccessDenied`; `NoSuchBucket` and what else keeps the facts from being looked up.
    pub async fn admit(
        &self,
        operation: &str,
        path: &S3Path,
        asked: Asked<'_>,
        credentials: Option<&Credentials>,
        extensions: &mut Extensions,
    ) -> S3Result<()> {
        let caller = self.directory.caller(credentials).await?;
        extensions.insert(caller.clone());
        let version = version_in(asked.uri);
        let Some(need) = need(operation, version.is_some()) else {
            return allow_if(caller == Caller::Root);
        };
        match (need.target, path) {
            (Target::Service, _) => allow_if(caller != Caller::Anonymous),
            (_, S3Path::Root) => allow_if(caller == Caller::Root),
            (_, S3Path::Bucket { bucket }) => {
                let bucket = self.bucket(bucket, asked.headers).await?;
                // Keys of a list or a form are decided one by one.
                if operation == "DeleteObjects" || operation == "PostObject" {
                    return Ok(());
                }
                self.authorize(&caller, &bucket, need.action, None, asked)
                    .await
            }
            (_, S3Path::Object { bucket, key }) => {
                let bucket = self.bucket(bucket, asked.headers).await?;
                let key = ObjectKey::parse(&**key).map_err(errors::from_name)?;
                let on = Some((&key, version.as_deref()));
                self.authorize(&caller, &bucket, need.action, on, asked)
                    .await
            }
        }
    }

    /// Decides whether the caller may do `action` to the bucket, or to a key in it.
    ///
    /// # Errors
    /// `AccessDenied`.
    pub async fn authorize(
        &self,
        caller: &Caller,
        bucket: &Bucket,
        action: &str,
        on: Option<(&ObjectKey, Option<&str>)>,
        asked: Asked<'_>,
    ) -> S3Result<()> {
        if *caller == Caller::Root {
            return Ok(());
        }
        let policy = bucket.settings.policy.as_deref();
        let parse = |text| {
            let parse = || Policy::parse(text, bucket.name.as_str());
            self.policies.of(bucket, parse)
        };
        let parsed = policy
            .map(parse)
            .transpose()
            // It was read when it was put; if it cannot be now, nobody passes.
            .map_err(|_| s3_error!(AccessDenied))?;
        let needs_tags = parsed.as_deref().is_some_and(Policy::looks_at_tags);
        let object = match on {
            Some((key, version)) if is_on_object(action) || needs_tags => {
                self.object(bucket, key, version).await?
            }
            _ => None,
        };
        let facts = Facts {
            caller,
            bucket_owner: &bucket.owner,
            settings: &bucket.settings,
            policy: parsed.as_deref(),
            object: object.as_ref().map(|object| ObjectFacts {
                owner: &object.owner,
                acl: object.attributes.acl.as_ref(),
            }),
        };
        let context = RequestContext {
            headers: asked.headers,
            uri: asked.uri,
            caller,
            source_ip: asked.peer.map(|peer| peer.address),
            secure: asked.peer.is_some_and(|peer| peer.secure),
            existing_tags: object
                .as_ref()
                .map(|object| object.attributes.tags.as_slice())
                .unwrap_or_default(),
            now_ms: Timestamp::now().0,
            prefix: None,
            read: Read::default(),
        };
        let name = bucket.name.as_str();
        let resource = match on {
            Some((key, _)) => format!("{name}/{key}"),
            None => name.to_owned(),
        };
        if decide(&facts, action, &resource, &context) {
            return Ok(());
        }
        // Only who may list a bucket may know that a key is not in it.
        let is_missing = object.is_none() && is_on_object(action);
        let context = RequestContext {
            prefix: on.map(|(key, _)| key.as_str()),
            ..context
        };
        allow_if(is_missing && decide(&facts, "s3:ListBucket", name, &context))
    }

    async fn bucket(&self, address: &str, headers: &HeaderMap) -> S3Result<Bucket> {
        let address = BucketAddress::of(address);
        let name = BucketName::parse(address.name).map_err(errors::from_name)?;
        let bucket = self.metastore.bucket(&name).await;
        let bucket = bucket.map_err(errors::from_metadata)?;
        if !address.is_of(&bucket.owner) {
            return Err(s3_error!(NoSuchBucket));
        }
        let expected = headers.get("x-amz-expected-bucket-owner");
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

#[async_trait::async_trait]
impl S3Access for Gate {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let operation = context.s3_op().name().to_owned();
        let path = match context.s3_path() {
            S3Path::Root => S3Path::Root,
            S3Path::Bucket { bucket } => S3Path::bucket(bucket),
            S3Path::Object { bucket, key } => S3Path::object(bucket, key),
        };
        let headers = context.headers().clone();
        let uri = context.uri().clone();
        let credentials = match context.extensions_mut().get::<Verified>() {
            Some(Verified(credentials)) => credentials.clone(),
            None => context.credentials().cloned(),
        };
        let asked = Asked {
            headers: &headers,
            uri: &uri,
            peer: Peer::of(context.extensions_mut()),
        };
        self.admit(
            &operation,
            &path,
            asked,
            credentials.as_ref(),
            context.extensions_mut(),
        )
        .await
    }

    /// A form names its key in a field, which is known only now.
    async fn post_object(&self, request: &mut S3Request<PostObjectInput>) -> S3Result<()> {
        let caller = Caller::of(request);
        let bucket = self.bucket(&request.input.bucket, &request.headers).await?;
        let key = ObjectKey::parse(request.input.key.as_str()).map_err(errors::from_name)?;
        if request.input.success_action_status == Some(201) && !is_xml_text(key.as_str()) {
            let message = "No answer with status 201 can carry the key.";
            return Err(s3_error!(InvalidArgument, "{message}"));
        }
        // From here on, the form is the PUT that it stands for.
        let carried = request.extensions.get::<FormFields>().cloned();
        request.headers = form::headers_of(&request.input, &carried.unwrap_or_default())?;
        let asked = Asked {
            headers: &request.headers,
            uri: &request.uri,
            peer: Peer::of(&request.extensions),
        };
        let need: Option<Need> = need("PostObject", false);
        let action = need.map_or("s3:PutObject", |need| need.action);
        self.authorize(&caller, &bucket, action, Some((&key, None)), asked)
            .await?;
        Ok(())
    }
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
