//! Background jobs over nodes in memory that fail on command, and metadata in memory.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod accept_orphans;
mod backup;
mod drain;
mod garbage;
mod kit;
mod leases;
mod lifecycle;
#[path = "../nodes/mod.rs"]
#[expect(dead_code, reason = "other suites use the rest")]
mod nodes;
mod reach;
mod rebalance;
mod reconcile;
mod removal;
mod repair;
mod repair_order;
mod replicas;
mod returns;
mod survey;
mod uploads;
mod zones;
