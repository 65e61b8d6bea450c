//! Who is at the other end of a connection; stands in each request's extensions.

use std::net::IpAddr;

use http::Extensions;
use tokio_rustls::rustls::ProtocolVersion;

/// The other end of a request's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address; that of the last proxy, where there are proxies.
    pub address: IpAddr,
    /// The version of TLS, where the connection is TLS up to this process.
    pub tls: Option<TlsVersion>,
}

/// A version of TLS that listeners speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TlsVersion {
    /// TLS 1.2.
    V1_2,
    /// TLS 1.3.
    V1_3,
}

impl Peer {
    /// The peer that the listener noted.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }

    /// Whether what it sends was encrypted up to this process.
    #[must_use]
    pub fn is_secure(self) -> bool {
        self.tls.is_some()
    }
}

impl TlsVersion {
    /// The version that a handshake came to.
    pub(super) fn of(negotiated: Option<ProtocolVersion>) -> Self {
        match negotiated {
            Some(ProtocolVersion::TLSv1_3) => Self::V1_3,
            _ => Self::V1_2,
        }
    }

    /// The version as policies write it.
    #[must_use]
    pub fn number(self) -> &'static str {
        match self {
            Self::V1_2 => "1.2",
            Self::V1_3 => "1.3",
        }
    }
}
