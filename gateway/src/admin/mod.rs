//! The admin listener: chunk servers register here, operators and orchestrators look here and give
//! orders. `server` routes, `status` and `findings` say how the cluster is, `orders`, `node_orders`,
//! `user_orders` and `bucket_orders` change what is wanted of jobs, nodes, users and buckets; `command` is
//! `gateway admin`, the other end.

mod answers;
mod bucket_orders;
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
