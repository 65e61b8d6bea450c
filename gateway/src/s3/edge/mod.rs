//! Requests before s3s parses them and answers after it: what s3s leaves to us, or does too late.
//!
//! | file | what it owns |
//! |---|---|
//! | `server` | the way of a request: described, admitted, dispatched, finished |
//! | `known_request` | what is known of it before its body is read |
//! | `admission` | what is refused before s3s sees it |
//! | `target`, `virtual_host` | which bucket and key an address names |
//! | `sub_resource` | the query keys that make another request of an address |
//! | `guard` | sub-resources that are not built answer `NotImplemented` |
//! | `signature` | where a signature stands, and of which version it is |
//! | `authentication`, `signature_*` | what is wrong with a signature before it is computed |
//! | `sigv2_bucket_path`, `object_url` | addresses as signatures and answers have them |
//! | `listing_limit` | how many listings run at once |
//! | `redispatch` | requests that s3s would refuse, sent through it in another form |
//! | `cors` | preflights, and headers for browsers |
//! | `envelope`, `error_context`, `xml_text` | request ids, and what an error body says |

pub(crate) mod admission;
pub(crate) mod authentication;
pub(crate) mod cors;
pub(crate) mod envelope;
pub(crate) mod error_context;
pub(crate) mod guard;
pub(crate) mod known_request;
pub(crate) mod listing_limit;
pub(crate) mod object_url;
pub(crate) mod redispatch;
pub(crate) mod server;
pub(crate) mod signature;
pub(crate) mod signature_dates;
pub(crate) mod signature_region;
pub(crate) mod signature_v2;
pub(crate) mod sigv2_bucket_path;
pub(crate) mod sub_resource;
pub(crate) mod target;
pub(crate) mod virtual_host;
pub(crate) mod xml_text;

pub use server::S3Server;
