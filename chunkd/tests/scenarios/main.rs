//! Scenarios with real directories, sockets and processes; one program, because linking RocksDB
//! takes long.

#![expect(
    clippy::unwrap_used,
    reason = "a failed step fails its scenario; helpers are no tests"
)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths of test data are small"
)]

mod damage;
mod disks;
mod failing_disks;
mod format;
mod http;
mod kit;
mod loop_disk;
mod process;
mod registration;
mod segments;
mod store;
