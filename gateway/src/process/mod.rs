//! A gateway as a process, for `serve` and `standalone`: bind, read keys, assemble, run.

mod assemble;
mod keys;
mod listeners;
mod run;
mod start_error;

pub use assemble::{Database, Parts};
pub use keys::{given_keys, key_ring, load_users};
pub use listeners::Listeners;
pub use run::run;
pub use start_error::StartError;
