//! What operators ask and order of buckets: what they hold, and what they may hold.

use std::sync::Arc;

use http::{Method, Request, StatusCode};
use hyper::body::Incoming;
use metastore::{Bucket, BucketName, BucketUsage, MetaError, MetaResult, Metastore, Quota};
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use tracing::info;

use super::answers::{Answer, body, json, not_found, refuse, unavailable};

/// Buckets read at a time.
const PAGE: usize = 1000;

/// A bucket as operators see it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownBucket {
    /// Its name.
    pub name: String,
    /// Canonical id of its owner.
    pub owner: String,
    /// What it holds; `None` if that was never counted.
    pub holds: Option<Holds>,
    /// Most bytes that it may hold.
    pub bytes_max: Option<u64>,
    /// Most objects that it may hold, with all their versions.
    pub objects_max: Option<u64>,
}

/// What a bucket holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Bytes of all versions of all objects, without copies.
    pub bytes: u64,
    /// All versions of all objects.
    pub objects: u64,
}

/// What is to change about a bucket's quota; what is absent stays.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuotaOrder {
    /// Most bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bytes: Option<Limit>,
    /// Most objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub objects: Option<Limit>,
}

/// One limit of a quota.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// There is none.
    None,
    /// So many.
    AtMost(u64),
}

impl Limit {
    fn most(self) -> Option<u64> {
        match self {
            Self::None => None,
            Self::AtMost(most) => Some(most),
        }
    }
}

/// Answers for buckets. Cheap to clone.
#[derive(Clone)]
pub struct BucketAdmin {
    metastore: Arc<dyn Metastore>,
}

impl BucketAdmin {
    pub fn new(metastore: Arc<dyn Metastore>) -> Self {
        Self { metastore }
    }

    /// Answers a request below `buckets`; `words` is the rest of its path.
    pub async fn handle(&self, words: &[&str], request: Request<Incoming>) -> Answer {
        let name = words.first().map(|name| percent_decode_str(name));
        let name = name.map(|name| name.decode_utf8_lossy().into_owned());
        let rest = words.get(1..).unwrap_or_default();
        let done = match (request.method(), name, rest) {
            (&Method::GET, None, _) => self.list().await.map(|all| json(StatusCode::OK, &all)),
            (&Method::GET, Some(name), []) => self
                .show(&name)
                .await
                .map(|shown| json(StatusCode::OK, &shown)),
            (&Method::POST, Some(name), ["quota"]) => {
                let order = match body::<QuotaOrder>(request).await {
                    Ok(order) => order,
                    Err(refusal) => return refusal,
                };
                self.limit(&name, order)
                    .await
                    .map(|shown| json(StatusCode::OK, &shown))
            }
            _ => return not_found(),
        };
        done.unwrap_or_else(|error| refusal_of(&error))
    }

    async fn list(&self) -> MetaResult<Vec<ShownBucket>> {
        let mut shown = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let page = self
                .metastore
                .list_buckets("", after.as_deref(), PAGE)
                .await?;
            after = page.buckets.last().map(|last| last.name.to_string());
            for bucket in page.buckets {
                let usage = self.metastore.bucket_usage(bucket.id).await?;
                shown.push(ShownBucket::of(&bucket, usage));
            }
            if !page.truncated {
                return Ok(shown);
            }
        }
    }

    /// Counts the bucket, where that was never done.
    async fn show(&self, name: &str) -> MetaResult<ShownBucket> {
        let bucket = self.bucket(name).await?;
        let usage = self.metastore.count_bucket(bucket.id).await?;
        Ok(ShownBucket::of(&bucket, Some(usage)))
    }

    async fn limit(&self, name: &str, order: QuotaOrder) -> MetaResult<ShownBucket> {
        let bucket = self.bucket(name).await?;
        let before = self.metastore.count_bucket(bucket.id).await?.quota;
        let quota = Quota {
            bytes_max: order.bytes.map_or(before.bytes_max, Limit::most),
            objects_max: order.objects.map_or(before.objects_max, Limit::most),
        };
        self.metastore.set_quota(bucket.id, quota).await?;
        info!(bucket = name, ?quota, "a bucket's quota was set");
        self.show(name).await
    }

    async fn bucket(&self, name: &str) -> MetaResult<Bucket> {
        let name = BucketName::parse(name).map_err(|_| MetaError::NoSuchBucket)?;
        self.metastore.bucket(&name).await
    }
}

impl ShownBucket {
    fn of(bucket: &Bucket, usage: Option<BucketUsage>) -> Self {
        let quota = usage.unwrap_or_default().quota;
        Self {
            name: bucket.name.to_string(),
            owner: bucket.owner.clone(),
            holds: usage.map(|usage| Holds {
                bytes: usage.used.bytes,
                objects: usage.used.objects,
            }),
            bytes_max: quota.bytes_max,
            objects_max: quota.objects_max,
        }
    }
}

fn refusal_of(error: &MetaError) -> Answer {
    match error {
        MetaError::NoSuchBucket => refuse(
            StatusCode::NOT_FOUND,
            "not_found",
            "there is no such bucket; `gateway admin bucket list` shows all",
        ),
        error => unavailable(&error.to_string()),
    }
}
