//! Why a gateway cannot start.

use crate::http::TlsError;
use crate::{data_dir, keys, users};

/// A gateway cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listener cannot bind its address.
    #[error("cannot listen on {address}: {source}; is another server running there?")]
    Bind {
        /// The address.
        address: std::net::SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The certificate or its key cannot be used.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// Keys cannot be read or made.
    #[error(transparent)]
    Keys(#[from] keys::KeyError),
    /// Signals cannot be watched.
    #[error("the signals that stop the gateway cannot be watched: {0}")]
    Signals(std::io::Error),
    /// The file of users cannot be used.
    #[error(transparent)]
    Users(#[from] users::UsersFileError),
    /// The metadata cannot be opened.
    #[error(transparent)]
    Metadata(#[from] metastore::OpenError),
    /// The metadata cannot be read.
    #[error(transparent)]
    MetadataRead(#[from] metastore::MetaError),
    /// An embedded chunk store cannot be opened.
    #[error("{0}")]
    Store(Box<dyn std::error::Error + Send + Sync>),
    /// The data directory is not ours to use.
    #[error(transparent)]
    Directory(#[from] data_dir::DirectoryError),
    /// What the data directory holds does not fit the settings.
    #[error("{0}")]
    Unfit(String),
}
