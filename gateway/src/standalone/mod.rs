//! `gateway standalone`: gateway, metadata and chunk stores in one process. The only room that names
//! `chunkd`.
//!
//! `run` puts the parts together, `stores` opens the chunk stores and looks after them, `known` knows
//! those that are missing, `transport` reaches them.

mod known;
mod run;
mod stores;
mod transport;

pub use run::run;
pub(crate) use stores::open_nodes;
pub use transport::EmbeddedTransport;
