//! TLS of a listener: certificate and key from files, versions 1.2 and 1.3, HTTP/2 and HTTP/1.1. The
//! certificate can be changed while connections are served.

use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring::default_provider;
use tokio_rustls::rustls::pki_types::pem::{self, PemObject as _};
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{ClientHello, ResolvesServerCert};
use tokio_rustls::rustls::sign::CertifiedKey;
use tokio_rustls::rustls::{self, ServerConfig};

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is missing or holds something else.
    #[error("{}: {source}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: pem::Error,
    },
    /// Certificate and key do not fit together, or cannot be used.
    #[error("certificate and key cannot be used: {0}")]
    Unfit(#[from] rustls::Error),
}

/// The certificate chain of a listener and its key, both from PEM files. A clone is another handle to
/// the same one.
#[derive(Debug, Clone)]
pub struct Certificate {
    chain: PathBuf,
    key: PathBuf,
    present: Arc<Present>,
}

/// The certificate that handshakes take from now on.
#[derive(Debug)]
struct Present(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Present {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let present = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&present))
    }
}

impl Certificate {
    /// Reads the certificate chain at `chain` and its key.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn load(chain: &Path, key: &Path) -> Result<Self, TlsError> {
        let present = Arc::new(read(chain, key)?);
        Ok(Self {
            chain: chain.to_owned(),
            key: key.to_owned(),
            present: Arc::new(Present(RwLock::new(present))),
        })
    }

    /// Reads the files again. Handshakes from now on take what they hold; connections stay as they
    /// are. After an error the certificate before stays.
    ///
    /// # Errors
    /// See [`TlsError`].
    pub fn reload(&self) -> Result<(), TlsError> {
        let new = Arc::new(read(&self.chain, &self.key)?);
        let present = &self.present.0;
        *present.write().unwrap_or_else(PoisonError::into_inner) = new;
        Ok(())
    }

    /// What ends TLS for a listener.
    ///
    /// # Errors
    /// `Unfit`.
    pub fn acceptor(&self) -> Result<TlsAcceptor, TlsError> {
        let mut config = ServerConfig::builder_with_provider(Arc::new(default_provider()))
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&self.present) as Arc<dyn ResolvesServerCert>);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(TlsAcceptor::from(Arc::new(config)))
    }
}

fn read(chain: &Path, key: &Path) -> Result<CertifiedKey, TlsError> {
    let in_file = |path: &Path| {
        let path = path.to_owned();
        move |source| TlsError::File { path, source }
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(chain)
        .and_then(Iterator::collect)
        .map_err(in_file(chain))?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(in_file(key))?;
    Ok(CertifiedKey::from_der(
        certificates,
        key,
        &default_provider(),
    )?)
}
