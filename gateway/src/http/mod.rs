//! The listener side: connections, TLS, hosts, queries. Knows HTTP and nothing of S3.

mod drain;
mod host;
mod listener;
mod peer;
mod query;
mod tls;

pub use drain::{ContinuePending, DrainingBody, RequestBodyError};
pub use host::{host_in, note_host};
pub use listener::{ListenerLimits, serve_connections};
pub use peer::{Peer, TlsVersion};
pub use query::{has_query_key, query_pairs, query_value};
pub use tls::{Certificate, TlsError};
