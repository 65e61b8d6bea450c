//! The listener side: connections, the guard in front of S3, request ids, error bodies. Knows HTTP
//! and the shape of S3 requests, not what they do.

mod authentication;
mod drain;
mod envelope;
mod guard;
mod host;
mod listener;
mod peer;
mod query;
mod signature_dates;
mod signature_facts;
mod signature_region;
mod signature_v2;
mod tls;
mod unsigned_chunks;
mod xml_text;

pub use authentication::{check_authentication, invalid_token};
pub use drain::{DrainingBody, RequestBodyError, Withheld};
pub use envelope::{Envelope, Refused, RequestId};
pub use guard::{Refusal, refuse_unknown_subresource};
pub use host::{host_in, note_host};
pub use listener::{ListenerLimits, serve_connections};
pub use peer::{Peer, TlsVersion};
pub use query::{has_query_key, query_pairs, query_value};
pub use signature_dates::refuse_bad_dates;
pub use signature_facts::SignatureFacts;
pub use signature_region::check_region;
pub use signature_v2::{Uncovered, is_signed_by_header, refuse_uncovered};
pub use tls::{Certificate, TlsError};
pub use unsigned_chunks::{UnsignedChunks, UnsignedChunksError, UnsignedTrailer};
pub use xml_text::{is_xml_text, xml_text};
