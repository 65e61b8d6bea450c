//! What a bucket could tell of what happens in it: access logs and event notifications. Neither is
//! built. Off is taken and shown; on is refused, for a configuration that is kept and does nothing would
//! be believed. What S3 would refuse anyway is refused with its own error first.

use metastore::{BucketDocument, BucketName, MetaError};
use s3s::dto::{
    BucketLoggingStatus, Event, GetBucketLoggingInput, GetBucketLoggingOutput,
    GetBucketNotificationConfigurationInput, GetBucketNotificationConfigurationOutput,
    NotificationConfiguration, PutBucketLoggingInput, PutBucketLoggingOutput,
    PutBucketNotificationConfigurationInput, PutBucketNotificationConfigurationOutput,
};
use s3s::{S3Request, S3Response, S3Result, s3_error};

use crate::s3::errors;
use crate::s3::gateway::S3Gateway;

impl S3Gateway {
    /// `GET /bucket?logging`.
    pub(crate) async fn get_bucket_logging(
        &self,
        request: S3Request<GetBucketLoggingInput>,
    ) -> S3Result<S3Response<GetBucketLoggingOutput>> {
        let found = self
            .document::<BucketLoggingStatus>(&request.input.bucket, BucketDocument::Logging)
            .await?;
        Ok(S3Response::new(GetBucketLoggingOutput {
            logging_enabled: found.and_then(|status| status.logging_enabled),
        }))
    }

    /// `PUT /bucket?logging`: off is kept; switching it on is refused, since no log is written.
    pub(crate) async fn put_bucket_logging(
        &self,
        request: S3Request<PutBucketLoggingInput>,
    ) -> S3Result<S3Response<PutBucketLoggingOutput>> {
        let input = request.input;
        let status = &input.bucket_logging_status;
        if let Some(asked) = &status.logging_enabled {
            self.bucket(&input.bucket).await?;
            self.check_log_target(&asked.target_bucket).await?;
            return Err(s3_error!(
                NotImplemented,
                "Access logs are not implemented: no log would be written to the target bucket."
            ));
        }
        self.put_document(&input.bucket, BucketDocument::Logging, status)
            .await?;
        Ok(S3Response::new(PutBucketLoggingOutput::default()))
    }

    async fn check_log_target(&self, name: &str) -> S3Result<()> {
        let found = match BucketName::parse(name) {
            Ok(name) => self.metastore.bucket(&name).await,
            Err(_) => Err(MetaError::NoSuchBucket),
        };
        match found {
            Ok(_) => Ok(()),
            Err(MetaError::NoSuchBucket) => Err(s3_error!(
                InvalidTargetBucketForLogging,
                "The target bucket for logging does not exist."
            )),
            Err(error) => Err(errors::from_metadata(error)),
        }
    }

    /// `GET /bucket?notification`: events are sent to nobody.
    pub(crate) async fn get_bucket_notification_configuration(
        &self,
        request: S3Request<GetBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<GetBucketNotificationConfigurationOutput>> {
        self.bucket(&request.input.bucket).await?;
        Ok(S3Response::new(
            GetBucketNotificationConfigurationOutput::default(),
        ))
    }

    /// `PUT /bucket?notification`: off is taken; events cannot be asked for, since none are sent.
    pub(crate) async fn put_bucket_notification_configuration(
        &self,
        request: S3Request<PutBucketNotificationConfigurationInput>,
    ) -> S3Result<S3Response<PutBucketNotificationConfigurationOutput>> {
        let input = request.input;
        self.bucket(&input.bucket).await?;
        let asked = &input.notification_configuration;
        let receivers = receivers(asked);
        for (arn, events) in &receivers {
            check_receiver(arn, events)?;
        }
        if asked.event_bridge_configuration.is_some() || !receivers.is_empty() {
            return Err(s3_error!(
                NotImplemented,
                "Event notifications are not implemented: no event would be sent."
            ));
        }
        Ok(S3Response::new(
            PutBucketNotificationConfigurationOutput::default(),
        ))
    }
}

/// Whom a configuration names to receive which events.
fn receivers(asked: &NotificationConfiguration) -> Vec<(&str, &[Event])> {
    let topics = asked.topic_configurations.iter().flatten();
    let topics = topics.map(|to| (to.topic_arn.as_str(), &to.events[..]));
    let queues = asked.queue_configurations.iter().flatten();
    let queues = queues.map(|to| (to.queue_arn.as_str(), &to.events[..]));
    let functions = asked.lambda_function_configurations.iter().flatten();
    let functions = functions.map(|to| (to.lambda_function_arn.as_str(), &to.events[..]));
    topics.chain(queues).chain(functions).collect()
}

fn check_receiver(arn: &str, events: &[Event]) -> S3Result<()> {
    // arn:partition:service:region:account:resource
    if arn.splitn(6, ':').filter(|part| !part.is_empty()).count() < 4 || !arn.starts_with("arn:") {
        return Err(s3_error!(InvalidArgument, "The ARN is not well formed"));
    }
    let is_event = |event: &Event| event.as_ref().starts_with("s3:");
    if events.is_empty() || !events.iter().all(is_event) {
        return Err(s3_error!(
            InvalidArgument,
            "A specified event is not supported for notifications."
        ));
    }
    Ok(())
}
