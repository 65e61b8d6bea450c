//! Keys and users that a gateway begins with: from its settings, or made at its first start.

use std::path::Path;
use std::sync::Arc;

use metastore::Metastore;
use tracing::info;

use super::start_error::StartError;
use crate::config::GatewayConfig;
use crate::keys::{self, RootKeys};
use crate::sealing::KeyRing;
use crate::users::{self, Secrets};

/// Writes the users of the settings' file to the metadata, if there is one.
pub async fn load_users(
    config: &GatewayConfig,
    metastore: &dyn Metastore,
    key_ring: &Arc<KeyRing>,
) -> Result<(), StartError> {
    if let Some(path) = &config.users_file {
        let count = users::load(path, metastore, &Secrets::new(Arc::clone(key_ring))).await?;
        info!(count, path = %path.display(), "users of the file written to the metadata");
    }
    Ok(())
}

/// The key ring of a gateway whose generated keys are kept in `dir`.
pub fn key_ring(config: &GatewayConfig, dir: &Path) -> Result<Arc<KeyRing>, StartError> {
    let masters = keys::master_keys(dir, &config.master_key)?;
    let mut masters = masters.iter().map(|master| master.0);
    let present = masters.next().expect("there is one at least");
    let named = keys::kms_keys(config.kms_keys_file.as_deref())?;
    let ring = KeyRing::new(present, named).with_earlier(masters);
    match &config.kms_default_key {
        Some(name) if !ring.knows(name) => Err(StartError::Unfit(format!(
            "the default key '{name}' is not in the file of named keys"
        ))),
        _ => Ok(Arc::new(ring)),
    }
}

/// The root keys that the settings give, if they do.
pub fn given_keys(config: &GatewayConfig) -> Option<RootKeys> {
    let (access_key, secret_key) = (config.access_key.clone()?, config.secret_key.clone()?);
    Some(RootKeys {
        access_key,
        secret_key,
    })
}
