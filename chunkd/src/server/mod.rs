//! The HTTP API of one chunk store; `docs/chunk-api.md` describes it.

mod answer;
mod body;
mod chunks;
mod copy;
mod listen;
mod metrics;
mod route;

pub use listen::serve;
