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
#![expect(
    clippy::disallowed_methods,
    reason = "seeds and the tasks of child processes come by the environment"
)]
#![expect(clippy::print_stdout, reason = "seeds, and why a scenario was skipped")]

mod bad_index;
mod damage;
mod disks;
mod failing_disks;
mod fences;
mod few_files;
mod format;
mod hanging;
mod hostile;
mod hot_reads;
mod http;
mod http_copy;
mod kills;
mod kit;
mod loop_disk;
mod model;
mod process;
mod recovery;
mod registration;
mod scrub;
mod segment_rot;
mod segments;
mod stale_records;
mod store;
mod unreadable;
mod upkeep;
