//! Work that runs beside the requests. Each job is rounds of small units, stopped between units only,
//! under a lease whose fencing token goes with everything that it changes.
//!
//! `start` names all jobs. `job` says what a job is, `runner` runs one, `lease` holds its lease,
//! `throttle` its rate, `progress` says how far it is; `replica_mover`, `copy_sources`, `rows` and
//! `relocate` are what jobs that move chunks share; `clock_watch` is for jobs that delete what is old.
//! `survey` only looks.

mod abandoned;
mod backup;
mod clock_watch;
mod copy_sources;
mod drain;
mod garbage;
mod job;
mod lease;
mod lifecycle;
mod progress;
mod reach;
mod rebalance;
mod reconcile;
mod relocate;
mod repair;
mod replica_mover;
mod rows;
mod runner;
mod start;
mod survey;
mod throttle;
mod uploads;

pub use abandoned::queue_abandoned;
pub use backup::{BackupJob, BackupParts, BackupReport, BackupSettings, BackupStatus};
pub use clock_watch::ClockWatch;
pub use drain::{DrainJob, MoveSettings};
pub use garbage::GarbageCollector;
pub use job::{Job, JobError, Round};
pub use lease::LEASE_TIME;
pub use lifecycle::{LifecycleJob, LifecycleSettings};
pub use progress::{JobBoard, JobProgress, JobReport, JobState};
pub use reach::probe;
pub use rebalance::{Evenness, RebalanceJob, RebalanceSettings};
pub use reconcile::{FEW_ORPHANS, OrphanLimits, ReconcileJob, ReconcileSettings};
pub use repair::{RepairJob, RepairSettings, write_hints};
pub use replica_mover::{ReplicaMover, ReplicaState};
pub use runner::JobRunner;
pub use start::{JobParts, run_jobs};
pub use survey::{Endangered, Survey, SurveyBoard, survey};
pub use throttle::Throttle;
pub use uploads::UploadExpiry;
