//! The metadata, kept in the cluster as chunks: checkpoints of the database, and its log, a few
//! seconds behind. `recovery` finds them without any row.

mod collect;
mod job;
mod ship;
mod spread;
mod status;

pub use job::{BackupJob, BackupParts, BackupSettings};
pub use status::{BackupReport, BackupStatus};
