//! Who is at the other end of a connection; stands in each request's extensions.

use std::net::IpAddr;

use http::Extensions;

/// The other end of a request's connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    /// Its address; that of the last proxy, where there are proxies.
    pub address: IpAddr,
    /// Whether the connection is TLS up to this process.
    pub secure: bool,
}

impl Peer {
    /// The peer that the listener noted.
    #[must_use]
    pub fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get().copied()
    }
}
