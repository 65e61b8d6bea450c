//! The admin listener: chunk servers register here, operators and orchestrators look here.

mod metrics;
mod server;
mod status;

pub use server::AdminServer;
