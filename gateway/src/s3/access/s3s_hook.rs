//! Where s3s asks the gate: before each operation, before its body is read; for a form once more,
//! when its fields are known.

use metastore::ObjectKey;
use s3s::access::{S3Access, S3AccessContext};
use s3s::dto::PostObjectInput;
use s3s::path::S3Path;
use s3s::{S3Request, S3Result, s3_error};

use super::actions::{RequiredPermission, extra_permissions, required_permission};
use super::caller::Caller;
use super::gate::{Gate, RequestFacts, Verified};
use crate::http::Peer;
use crate::s3::edge::signature::{Signature, SignatureVersion};
use crate::s3::edge::xml_text::is_xml_text;
use crate::s3::form::head::FormFields;
use crate::s3::{errors, form};

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
        let method = context.method().clone();
        let credentials = match context.extensions_mut().get::<Verified>() {
            Some(Verified(credentials)) => credentials.clone(),
            None => context.credentials().cloned(),
        };
        let request_facts = RequestFacts {
            method: &method,
            headers: &headers,
            uri: &uri,
            peer: Peer::of(context.extensions_mut()),
            signature: Signature::noted_in(context.extensions_mut()),
        };
        self.authorize_operation(
            &operation,
            &path,
            request_facts,
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
            let message = "success_action_status 201 is not supported for keys with characters that XML cannot represent.";
            return Err(s3_error!(InvalidArgument, "{message}"));
        }
        // From here on, the form is the PUT that it stands for.
        let carried = request.extensions.get::<FormFields>().cloned();
        request.headers = form::fields::headers_of(&request.input, &carried.unwrap_or_default())?;
        let mut request_facts = RequestFacts::of(request);
        if let Some(Signature::Form(version)) = &mut request_facts.signature {
            // Only a signature of version 4 names a region.
            *version = Some(if request.region.is_some() {
                SignatureVersion::V4
            } else {
                SignatureVersion::V2
            });
        }
        let required: Option<RequiredPermission> = required_permission("PostObject", false);
        let action = required.map_or("s3:PutObject", |required| required.action);
        let on = Some((&key, None));
        for extra in extra_permissions("PostObject", request_facts.headers, false) {
            self.authorize_extra(&caller, &bucket, extra, on, request_facts)
                .await?;
        }
        self.authorize(&caller, &bucket, action, on, request_facts)
            .await
    }
}
