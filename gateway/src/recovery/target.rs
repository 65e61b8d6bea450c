//! The directory that a recovered database is made in.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use tracing::info;

use super::error::RecoveryError;
use crate::config::{MetadataUrl, RecoveryConfig};
use crate::data_dir::{self, DirectoryKind};
use crate::serve::DATABASE_DIR;

/// The database until it is whole. What a recovery that was cut off left behind is thrown away.
const BEING_MADE_DIR: &str = "metadata.being-recovered";

/// A directory without a database.
pub struct Target {
    dir: PathBuf,
}

impl Target {
    /// Takes the directory, if there is no database in it.
    ///
    /// # Errors
    /// `NotEmpty`, and what keeps the directory from being used.
    pub fn claim(config: &RecoveryConfig) -> Result<Self, RecoveryError> {
        let (dir, kind) = match (&config.data, &config.metadata) {
            (Some(data), _) => (data.clone(), DirectoryKind::Standalone),
            (None, Some(MetadataUrl::RocksDb(dir))) => (dir.clone(), DirectoryKind::Metadata),
            (None, None) => {
                let what = "name a directory with --metadata or --data".to_owned();
                return Err(RecoveryError::Nothing(what));
            }
        };
        let database = dir.join(DATABASE_DIR);
        if database.exists() {
            return Err(RecoveryError::NotEmpty { path: database });
        }
        data_dir::claim(&dir, kind)?;
        let target = Self { dir };
        target.clear()?;
        Ok(target)
    }

    /// Removes what a try left behind.
    ///
    /// # Errors
    /// `Io`.
    pub fn clear(&self) -> Result<(), RecoveryError> {
        match fs::remove_dir_all(self.being_made()) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(io_error(&self.being_made(), error))
            }
            _ => Ok(()),
        }
    }

    /// Where the database is made.
    pub fn being_made(&self) -> PathBuf {
        self.dir.join(BEING_MADE_DIR)
    }

    /// Writes `text` beside the database.
    ///
    /// # Errors
    /// `Io`.
    pub fn write(&self, name: &str, text: &str) -> Result<PathBuf, RecoveryError> {
        let path = self.dir.join(name);
        fs::write(&path, text).map_err(|source| io_error(&path, source))?;
        Ok(path)
    }

    /// Gives the database its name: from now on a gateway can be started on it.
    ///
    /// # Errors
    /// `Io`.
    pub fn finish(&self) -> Result<(), RecoveryError> {
        let database = self.dir.join(DATABASE_DIR);
        let named = fs::rename(self.being_made(), &database)
            .and_then(|()| File::open(&self.dir)?.sync_all());
        named.map_err(|source| io_error(&database, source))?;
        info!(database = %database.display(), "the database is whole");
        Ok(())
    }
}

fn io_error(path: &Path, source: io::Error) -> RecoveryError {
    RecoveryError::Io {
        path: path.to_owned(),
        source,
    }
}
