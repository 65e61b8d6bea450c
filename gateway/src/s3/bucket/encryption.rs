//! How objects of a bucket are encrypted whose writer does not say.

use metastore::{DefaultEncryption, EncryptionKind};
use s3s::dto::{
    DeleteBucketEncryptionInput, DeleteBucketEncryptionOutput, GetBucketEncryptionInput,
    GetBucketEncryptionOutput, PutBucketEncryptionInput, PutBucketEncryptionOutput,
    ServerSideEncryption, ServerSideEncryptionByDefault, ServerSideEncryptionConfiguration,
    ServerSideEncryptionRule,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::s3::edge::xml_text::is_xml_text;
use crate::s3::encryption::request::{METHOD_KMS, METHOD_S3};
use crate::s3::errors;
use crate::s3::gateway::S3Gateway;

impl S3Gateway {
    /// `GET /bucket?encryption`.
    pub(crate) async fn get_bucket_encryption(
        &self,
        request: S3Request<GetBucketEncryptionInput>,
    ) -> S3Result<S3Response<GetBucketEncryptionOutput>> {
        let bucket = self.bucket(&request.input.bucket).await?;
        let default = bucket.settings.encryption.ok_or_else(|| {
            errors::custom(
                http::StatusCode::NOT_FOUND,
                "ServerSideEncryptionConfigurationNotFoundError",
                "The server side encryption configuration was not found",
            )
        })?;
        let rule = ServerSideEncryptionRule {
            apply_server_side_encryption_by_default: Some(ServerSideEncryptionByDefault {
                kms_master_key_id: default.key_id,
                sse_algorithm: ServerSideEncryption::from_static(match default.kind {
                    EncryptionKind::Kms => METHOD_KMS,
                    EncryptionKind::S3 | EncryptionKind::Customer => METHOD_S3,
                }),
            }),
            bucket_key_enabled: Some(default.bucket_key),
            ..ServerSideEncryptionRule::default()
        };
        Ok(S3Response::new(GetBucketEncryptionOutput {
            server_side_encryption_configuration: Some(ServerSideEncryptionConfiguration {
                rules: vec![rule],
            }),
        }))
    }

    /// `PUT /bucket?encryption`. Objects that are there stay as they are.
    pub(crate) async fn put_bucket_encryption(
        &self,
        request: S3Request<PutBucketEncryptionInput>,
    ) -> S3Result<S3Response<PutBucketEncryptionOutput>> {
        let input = request.input;
        let default = parse(&input.server_side_encryption_configuration)?;
        self.amend_bucket(&input.bucket, |bucket| {
            bucket.settings.encryption = Some(default.clone());
            Ok(())
        })
        .await?;
        Ok(S3Response::new(PutBucketEncryptionOutput::default()))
    }

    /// `DELETE /bucket?encryption`.
    pub(crate) async fn delete_bucket_encryption(
        &self,
        request: S3Request<DeleteBucketEncryptionInput>,
    ) -> S3Result<S3Response<DeleteBucketEncryptionOutput>> {
        self.amend_bucket(&request.input.bucket, |bucket| {
            bucket.settings.encryption = None;
            Ok(())
        })
        .await?;
        Ok(S3Response::with_status(
            DeleteBucketEncryptionOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }
}

/// The one rule of a configuration.
pub(crate) fn parse(
    configuration: &ServerSideEncryptionConfiguration,
) -> S3Result<DefaultEncryption> {
    let [rule] = &configuration.rules[..] else {
        return Err(s3_error!(MalformedXML));
    };
    let default = rule
        .apply_server_side_encryption_by_default
        .as_ref()
        .ok_or_else(|| s3_error!(MalformedXML))?;
    let key_id = default
        .kms_master_key_id
        .clone()
        .filter(|id| !id.is_empty());
    if key_id.as_deref().is_some_and(|id| !is_xml_text(id)) {
        return Err(s3_error!(MalformedXML));
    }
    let kind = match (default.sse_algorithm.as_str(), &key_id) {
        (METHOD_S3, None) => EncryptionKind::S3,
        (METHOD_KMS, _) => EncryptionKind::Kms,
        (METHOD_S3, Some(_)) => {
            return Err(s3_error!(
                InvalidArgument,
                "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms"
            ));
        }
        ("aws:kms:dsse", _) => return Err(s3_error!(NotImplemented)),
        _ => return Err(s3_error!(MalformedXML)),
    };
    Ok(DefaultEncryption {
        kind,
        key_id,
        bucket_key: rule.bucket_key_enabled.unwrap_or_default(),
    })
}
