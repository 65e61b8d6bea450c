//! The write and read protocols over nodes in memory that fail on command.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../nodes/mod.rs"]
#[expect(dead_code, reason = "other suites use the rest")]
mod nodes;
mod reading;
mod writing;
