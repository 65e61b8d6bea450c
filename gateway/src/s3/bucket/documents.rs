//! Configurations of a bucket that are kept as documents and returned as they were: tags, CORS,
//! website, who pays.

use metastore::BucketDocument;
use s3s::dto::{
    CORSConfiguration, DeleteBucketCorsInput, DeleteBucketCorsOutput, DeleteBucketTaggingInput,
    DeleteBucketTaggingOutput, DeleteBucketWebsiteInput, DeleteBucketWebsiteOutput,
    GetBucketCorsInput, GetBucketCorsOutput, GetBucketRequestPaymentInput,
    GetBucketRequestPaymentOutput, GetBucketTaggingInput, GetBucketTaggingOutput,
    GetBucketWebsiteInput, GetBucketWebsiteOutput, Payer, PutBucketCorsInput, PutBucketCorsOutput,
    PutBucketRequestPaymentInput, PutBucketRequestPaymentOutput, PutBucketTaggingInput,
    PutBucketTaggingOutput, PutBucketWebsiteInput, PutBucketWebsiteOutput,
    RequestPaymentConfiguration, Tagging, WebsiteConfiguration,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use super::document_store::check_bucket_tags;
use crate::s3::gateway::S3Gateway;

/// Most CORS rules. Source: S3 API reference, PutBucketCors.
const CORS_RULES_MAX: usize = 100;
const CORS_METHODS: [&str; 5] = ["GET", "PUT", "HEAD", "POST", "DELETE"];

impl S3Gateway {
    /// `GET /bucket?tagging`.
    pub(crate) async fn get_bucket_tagging(
        &self,
        request: S3Request<GetBucketTaggingInput>,
    ) -> S3Result<S3Response<GetBucketTaggingOutput>> {
        let found = self
            .document::<Tagging>(&request.input.bucket, BucketDocument::Tagging)
            .await?;
        let tagging = found.ok_or_else(|| s3_error!(NoSuchTagSet))?;
        Ok(S3Response::new(GetBucketTaggingOutput {
            tag_set: tagging.tag_set,
        }))
    }

    /// `PUT /bucket?tagging`.
    pub(crate) async fn put_bucket_tagging(
        &self,
        request: S3Request<PutBucketTaggingInput>,
    ) -> S3Result<S3Response<PutBucketTaggingOutput>> {
        let input = request.input;
        check_bucket_tags(&input.tagging)?;
        self.put_document(&input.bucket, BucketDocument::Tagging, &input.tagging)
            .await?;
        Ok(S3Response::with_status(
            PutBucketTaggingOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    /// `DELETE /bucket?tagging`.
    pub(crate) async fn delete_bucket_tagging(
        &self,
        request: S3Request<DeleteBucketTaggingInput>,
    ) -> S3Result<S3Response<DeleteBucketTaggingOutput>> {
        self.delete_document(&request.input.bucket, BucketDocument::Tagging)
            .await?;
        Ok(S3Response::with_status(
            DeleteBucketTaggingOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    /// `GET /bucket?cors`.
    pub(crate) async fn get_bucket_cors(
        &self,
        request: S3Request<GetBucketCorsInput>,
    ) -> S3Result<S3Response<GetBucketCorsOutput>> {
        let found = self
            .document::<CORSConfiguration>(&request.input.bucket, BucketDocument::Cors)
            .await?;
        let cors = found.ok_or_else(|| s3_error!(NoSuchCORSConfiguration))?;
        Ok(S3Response::new(GetBucketCorsOutput {
            cors_rules: Some(cors.cors_rules),
        }))
    }

    /// `PUT /bucket?cors`.
    pub(crate) async fn put_bucket_cors(
        &self,
        request: S3Request<PutBucketCorsInput>,
    ) -> S3Result<S3Response<PutBucketCorsOutput>> {
        let input = request.input;
        check_cors(&input.cors_configuration)?;
        self.put_document(
            &input.bucket,
            BucketDocument::Cors,
            &input.cors_configuration,
        )
        .await?;
        Ok(S3Response::new(PutBucketCorsOutput::default()))
    }

    /// `DELETE /bucket?cors`.
    pub(crate) async fn delete_bucket_cors(
        &self,
        request: S3Request<DeleteBucketCorsInput>,
    ) -> S3Result<S3Response<DeleteBucketCorsOutput>> {
        self.delete_document(&request.input.bucket, BucketDocument::Cors)
            .await?;
        Ok(S3Response::with_status(
            DeleteBucketCorsOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    /// `GET /bucket?website`.
    pub(crate) async fn get_bucket_website(
        &self,
        request: S3Request<GetBucketWebsiteInput>,
    ) -> S3Result<S3Response<GetBucketWebsiteOutput>> {
        let found = self
            .document::<WebsiteConfiguration>(&request.input.bucket, BucketDocument::Website)
            .await?;
        let website = found.ok_or_else(|| s3_error!(NoSuchWebsiteConfiguration))?;
        Ok(S3Response::new(GetBucketWebsiteOutput {
            error_document: website.error_document,
            index_document: website.index_document,
            redirect_all_requests_to: website.redirect_all_requests_to,
            routing_rules: website.routing_rules,
        }))
    }

    /// `PUT /bucket?website`. Kept and returned; pages are not served from it.
    pub(crate) async fn put_bucket_website(
        &self,
        request: S3Request<PutBucketWebsiteInput>,
    ) -> S3Result<S3Response<PutBucketWebsiteOutput>> {
        let input = request.input;
        let website = &input.website_configuration;
        if website.index_document.is_none() && website.redirect_all_requests_to.is_none() {
            return Err(s3_error!(MalformedXML));
        }
        self.put_document(&input.bucket, BucketDocument::Website, website)
            .await?;
        Ok(S3Response::new(PutBucketWebsiteOutput::default()))
    }

    /// `DELETE /bucket?website`.
    pub(crate) async fn delete_bucket_website(
        &self,
        request: S3Request<DeleteBucketWebsiteInput>,
    ) -> S3Result<S3Response<DeleteBucketWebsiteOutput>> {
        self.delete_document(&request.input.bucket, BucketDocument::Website)
            .await?;
        Ok(S3Response::with_status(
            DeleteBucketWebsiteOutput::default(),
            http::StatusCode::NO_CONTENT,
        ))
    }

    /// `GET /bucket?requestPayment`.
    pub(crate) async fn get_bucket_request_payment(
        &self,
        request: S3Request<GetBucketRequestPaymentInput>,
    ) -> S3Result<S3Response<GetBucketRequestPaymentOutput>> {
        let found = self
            .document::<RequestPaymentConfiguration>(
                &request.input.bucket,
                BucketDocument::RequestPayment,
            )
            .await?;
        let payer = found.map_or_else(
            || Payer::from_static(Payer::BUCKET_OWNER),
            |document| document.payer,
        );
        Ok(S3Response::new(GetBucketRequestPaymentOutput {
            payer: Some(payer),
        }))
    }

    /// `PUT /bucket?requestPayment`. Kept and returned; nobody is billed here.
    pub(crate) async fn put_bucket_request_payment(
        &self,
        request: S3Request<PutBucketRequestPaymentInput>,
    ) -> S3Result<S3Response<PutBucketRequestPaymentOutput>> {
        let input = request.input;
        let document = &input.request_payment_configuration;
        if ![Payer::BUCKET_OWNER, Payer::REQUESTER].contains(&document.payer.as_str()) {
            return Err(s3_error!(MalformedXML));
        }
        self.put_document(&input.bucket, BucketDocument::RequestPayment, document)
            .await?;
        Ok(S3Response::new(PutBucketRequestPaymentOutput::default()))
    }
}

pub(crate) fn check_cors(cors: &CORSConfiguration) -> S3Result<()> {
    if cors.cors_rules.is_empty() || cors.cors_rules.len() > CORS_RULES_MAX {
        return Err(s3_error!(MalformedXML));
    }
    for rule in &cors.cors_rules {
        let methods = &rule.allowed_methods;
        if methods.is_empty() || rule.allowed_origins.is_empty() {
            return Err(s3_error!(MalformedXML));
        }
        let unknown = |method: &&String| !CORS_METHODS.contains(&method.as_str());
        if let Some(method) = methods.iter().find(unknown) {
            return Err(s3_error!(
                InvalidRequest,
                "Found unsupported HTTP method in CORS config. Unsupported method is {method}"
            ));
        }
        let patterns = rule.allowed_origins.iter();
        let patterns = patterns.chain(rule.allowed_headers.iter().flatten());
        for pattern in patterns {
            if pattern.matches('*').count() > 1 {
                return Err(s3_error!(
                    InvalidRequest,
                    "'{pattern}' can not have more than one wildcard."
                ));
            }
        }
    }
    Ok(())
}
