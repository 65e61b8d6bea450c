//! The admin listener: chunk servers register here, operators and orchestrators look here and give
//! orders. `server` routes, `status`, `data` and `findings` say how the cluster is, `orders` and
//! its like change what is wanted of jobs, nodes, users and buckets, or copy the metadata;
//! `command` is `gateway admin`, the other end.

mod answers;
mod bucket_orders;
pub mod command;
mod data;
mod findings;
mod job_orders;
mod master_key_orders;
mod metadata_orders;
mod metrics;
mod node_holds;
mod node_orders;
mod orders;
mod orphan_orders;
mod server;
mod status;
mod user_orders;

pub use data::{AwaitedReport, DataAdmin, DataReport, EndangeredObject, Unreachable};
pub use node_holds::NodeHolds;
pub use node_orders::{NodeAdmin, NodeOrder, OrderError};
pub use server::{AdminParts, AdminServer};
