//! Orders about the master key.

use std::path::PathBuf;
use std::sync::Arc;

use http::StatusCode;
use metastore::Metastore;
use tokio::sync::Mutex;
use tracing::info;

use super::answers::{Answer, json, refuse, unavailable};
use crate::keys::kept_master_keys;
use crate::rotation::reseal;
use crate::sealing::KeyRing;

/// Has everything sealed anew. Cheap to clone.
#[derive(Clone)]
pub struct MasterKeyAdmin {
    metastore: Arc<dyn Metastore>,
    key_ring: Arc<KeyRing>,
    /// Where the file with the master keys is, if they come from there.
    dir: Option<PathBuf>,
    user_changes: Arc<Mutex<()>>,
}

impl MasterKeyAdmin {
    /// Orders for the keys of `key_ring`, which come from the file in `dir` if they do; whoever changes
    /// users holds `user_changes`.
    pub fn new(
        metastore: Arc<dyn Metastore>,
        (key_ring, dir): (Arc<KeyRing>, Option<PathBuf>),
        user_changes: Arc<Mutex<()>>,
    ) -> Self {
        Self {
            metastore,
            key_ring,
            dir,
            user_changes,
        }
    }

    /// Seals everything under the present master key. Refused where the file has a newer one: nothing
    /// would be sealed under that, and it would look as if the earlier ones were not needed.
    pub async fn reseal(&self) -> Answer {
        if let Some(dir) = &self.dir {
            let conflict = |detail| refuse(StatusCode::CONFLICT, "conflict", detail);
            match kept_master_keys(dir) {
                Err(error) => return unavailable(&error.to_string()),
                Ok(None) => return conflict("the file master-key is missing: put it back first"),
                Ok(Some(keys)) if !self.key_ring.seals_with(&keys[0].0) => {
                    return conflict(
                        "the file has a newer master key than this gateway seals with: restart it first",
                    );
                }
                Ok(Some(_)) => {}
            }
        }
        let alone = self.user_changes.lock().await;
        match reseal(self.metastore.as_ref(), &self.key_ring, alone).await {
            Ok(done) => {
                info!(?done, "sealed anew under the present master key");
                json(StatusCode::OK, &done)
            }
            Err(error) => unavailable(&error.to_string()),
        }
    }
}
