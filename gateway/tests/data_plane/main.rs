//! The write and read protocols over nodes in memory that fail on command.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod nodes;
mod reading;
mod writing;
