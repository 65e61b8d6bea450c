//! Orders about the metadata itself.

use std::path::PathBuf;

use http::{Request, StatusCode};
use hyper::body::Incoming;
use metastore::{OpenError, RocksBackup};
use serde::{Deserialize, Serialize};
use tracing::info;

use super::answers::{Answer, body, json, refuse, unavailable};
use crate::data_dir;

/// Where a copy of the database is wanted.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SaveOrder {
    /// A directory on the gateway's machine, from its root; new or empty.
    pub to: PathBuf,
}

/// A copy of the database that was made.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SavedDatabase {
    /// Its length.
    pub length_bytes: u64,
}

/// Copies the database for operators. Cheap to clone.
#[derive(Clone)]
pub struct MetadataAdmin {
    database: Option<RocksBackup>,
}

impl MetadataAdmin {
    /// Orders over `database`; `None` if there is nothing to copy.
    pub fn new(database: Option<RocksBackup>) -> Self {
        Self { database }
    }

    /// Answers a request for a copy.
    pub async fn save(&self, request: Request<Incoming>) -> Answer {
        let order = match body::<SaveOrder>(request).await {
            Ok(order) => order,
            Err(refusal) => return refusal,
        };
        let invalid = |detail: &str| refuse(StatusCode::BAD_REQUEST, "invalid", detail);
        if !order.to.is_absolute() {
            return invalid("name the directory from the root of the gateway's machine");
        }
        let Some(database) = &self.database else {
            return invalid("there is no database here that could be copied");
        };
        // Others must not read what the database holds.
        if let Err(error) = data_dir::create(&order.to) {
            return unavailable(&format!("{}: {error}", order.to.display()));
        }
        match database.save(order.to.clone()).await {
            Ok(length_bytes) => {
                info!(to = %order.to.display(), length_bytes, "the database was copied");
                json(StatusCode::OK, &SavedDatabase { length_bytes })
            }
            Err(refused @ (OpenError::Foreign { .. } | OpenError::InUse { .. })) => {
                refuse(StatusCode::CONFLICT, "conflict", &refused.to_string())
            }
            Err(error) => unavailable(&error.to_string()),
        }
    }
}
