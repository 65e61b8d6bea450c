//! The HTTP API of one chunk server; `docs/chunk-api.md` describes it.

mod answer;
mod body;
mod chunks;
mod copy;
mod disk_metrics;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod inventory;
mod listen;
mod metrics;
mod route;

pub use listen::serve;
