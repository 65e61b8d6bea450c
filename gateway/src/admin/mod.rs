//! The admin listener: chunk servers register here, operators and orchestrators look here and give
//! orders. `server` routes, `status` and `findings` say how the cluster is, `orders` and `node_orders`
//! change what is wanted of jobs and nodes; `command` is `gateway admin`, the other end.

mod answers;
pub mod command;
mod findings;
mod metrics;
mod node_orders;
mod orders;
mod server;
mod status;
mod user_orders;

pub use node_orders::{NodeDesk, NodeHolds, NodeOrder, OrderError};
pub use server::{AdminParts, AdminServer};
