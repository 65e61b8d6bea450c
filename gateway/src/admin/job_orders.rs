//! Orders about background jobs: whether they rest, and how fast they go.

use std::sync::Arc;

use chunkproto::JobName;
use http::{Request, StatusCode};
use hyper::body::Incoming;
use metastore::{JobControl, MetaResult, Metastore};
use serde::{Deserialize, Serialize};
use tokio::sync::Mutex;

use super::answers::{Answer, body, json, refuse, unavailable};
use crate::jobs::JobBoard;

/// What is to change about a job; what is absent stays.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct JobOrder {
    /// Whether it is to rest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<bool>,
    /// How fast it may go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rate: Option<RateOrder>,
}

/// How fast a job may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RateOrder {
    /// As the gateway's settings say.
    Default,
    /// Without limit.
    Unlimited,
    /// So many bytes per second.
    BytesPerS(u64),
}

impl RateOrder {
    fn bytes_per_s(self) -> Option<u64> {
        match self {
            Self::Default => None,
            Self::Unlimited => Some(u64::MAX),
            Self::BytesPerS(rate) => Some(rate),
        }
    }
}

/// Carries orders about jobs out. Cheap to clone.
#[derive(Clone)]
pub struct JobAdmin {
    metastore: Arc<dyn Metastore>,
    jobs: JobBoard,
    /// Held while an order is carried out: what one order leaves as it is another one may change.
    changing: Arc<Mutex<()>>,
}

impl JobAdmin {
    pub fn new(metastore: Arc<dyn Metastore>, jobs: JobBoard) -> Self {
        Self {
            metastore,
            jobs,
            changing: Arc::default(),
        }
    }

    /// Answers an order about the job of this name.
    pub async fn change(&self, job: &str, request: Request<Incoming>) -> Answer {
        let known = job.parse::<JobName>().ok();
        let Some(job) = known.filter(|job| self.jobs.knows(job)) else {
            return refuse(
                StatusCode::NOT_FOUND,
                "not_found",
                "there is no such job; `gateway admin job list` shows all",
            );
        };
        let order = match body::<JobOrder>(request).await {
            Ok(order) => order,
            Err(refusal) => return refusal,
        };
        match self.carry_out(&job, order).await {
            Ok(control) => json(StatusCode::OK, &control),
            Err(error) => unavailable(&error.to_string()),
        }
    }

    async fn carry_out(&self, job: &JobName, order: JobOrder) -> MetaResult<JobControl> {
        let _changing = self.changing.lock().await;
        let before = self.metastore.job_control(job).await?;
        let control = JobControl {
            paused: order.paused.unwrap_or(before.paused),
            rate_bytes_per_s: match order.rate {
                Some(rate) => rate.bytes_per_s(),
                None => before.rate_bytes_per_s,
            },
        };
        self.metastore.set_job_control(job, control).await?;
        if order.paused == Some(false) {
            self.jobs.of(job).resume();
        }
        Ok(control)
    }
}

#[cfg(test)]
mod tests {
    use metastore::{RocksMetastore, Upkeep as _};

    use super::*;

    #[tokio::test]
    async fn orders_that_come_at_once_are_all_carried_out() {
        let dir = tempfile::tempdir().unwrap();
        let metastore = Arc::new(RocksMetastore::open(dir.path()).unwrap());
        let admin = JobAdmin::new(metastore.clone(), JobBoard::default());
        let job: JobName = "repair".parse().unwrap();
        for rate in 1..20 {
            let pause = JobOrder {
                paused: Some(rate % 2 == 0),
                rate: None,
            };
            let slow_down = JobOrder {
                paused: None,
                rate: Some(RateOrder::BytesPerS(rate)),
            };
            let (paused, slowed) = tokio::join!(
                admin.carry_out(&job, pause),
                admin.carry_out(&job, slow_down)
            );
            paused.unwrap();
            slowed.unwrap();
            let control = metastore.job_control(&job).await.unwrap();
            let expected = (rate % 2 == 0, Some(rate));
            assert_eq!((control.paused, control.rate_bytes_per_s), expected);
        }
    }
}
