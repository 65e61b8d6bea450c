//! `gateway admin bucket`.

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::link::{AdminError, Link};
use super::{say, show};
use crate::admin::bucket_orders::{Limit, QuotaOrder, ShownBucket};
use crate::config::{BucketCommand, MostOf, OneBucket};

/// Does what the command says, and prints the answer.
pub async fn run(command: BucketCommand) -> Result<(), AdminError> {
    match command {
        BucketCommand::List(list) => {
            let buckets: Vec<ShownBucket> = Link::new(&list.link)?.ask("buckets").await?;
            say(&show::buckets(&buckets))
        }
        BucketCommand::Show(one) => {
            let shown: ShownBucket = Link::new(&one.link)?.ask(&path(&one, "")).await?;
            say(&show::buckets(&[shown]))
        }
        BucketCommand::Quota(quota) => {
            let order = QuotaOrder {
                bytes: quota.bytes.map(limit),
                objects: quota.objects.map(limit),
            };
            let link = Link::new(&quota.one.link)?;
            let shown: ShownBucket = link
                .order_answered(&path(&quota.one, "/quota"), &order)
                .await?;
            say(&show::buckets(&[shown]))
        }
    }
}

fn limit(most: MostOf) -> Limit {
    match most {
        MostOf::Unlimited => Limit::None,
        MostOf::AtMost(most) => Limit::AtMost(most),
    }
}

fn path(one: &OneBucket, rest: &str) -> String {
    format!(
        "buckets/{}{rest}",
        utf8_percent_encode(&one.bucket, NON_ALPHANUMERIC)
    )
}
