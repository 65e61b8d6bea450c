//! Scenarios with real clients against real Sextant processes; this library is their harness.
//!
//! [`Standalone`] and [`Cluster`] start servers, [`ClientHome`] runs the programs that people use,
//! [`sdk`] and [`SignedRequest`] speak S3 from Rust, [`Payload`] makes the bytes.

mod answer;
mod chunk_server;
mod client_home;
mod cluster;
mod endpoint;
mod environment;
mod finished;
mod gateway_process;
mod payload;
mod proxy;
mod sdk;
mod server_process;
mod shifted_clock;
mod signed_request;
mod slow_disk;
mod small_disk;
mod standalone;
mod wait;

pub use answer::Answer;
pub use chunk_server::ChunkServer;
pub use client_home::ClientHome;
pub use cluster::{CLUSTER_SECRET, Cluster};
pub use endpoint::Endpoint;
pub use environment::{SoakOrder, own_source, server_program, soak_order};
pub use finished::Finished;
pub use gateway_process::GatewayProcess;
pub use payload::Payload;
pub use proxy::{Passage, Proxy};
pub use sdk::{body_of_pieces, sdk, sdk_over_tls};
pub use server_process::ServerProcess;
pub use shifted_clock::ShiftedClock;
pub use signed_request::{PayloadSigning, SignedRequest, send_unsigned};
pub use slow_disk::SlowDisk;
pub use small_disk::SmallDisk;
pub use standalone::Standalone;
pub use wait::eventually;
