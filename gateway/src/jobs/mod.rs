//! Work that runs beside the requests. Each job is rounds of small units, stopped between units only,
//! under a lease whose fencing token goes with everything that it changes.
//!
//! `job` says what a job is, `runner` runs one, `lease` holds its lease, `throttle` its rate,
//! `progress` says how far it is. The others are the jobs.

mod garbage;
mod job;
mod lease;
mod progress;
mod runner;
mod throttle;

pub use garbage::GarbageCollector;
pub use job::{Job, JobError, Round};
pub use lease::LEASE_TIME;
pub use progress::{JobBoard, JobProgress, JobReport, JobState};
pub use runner::JobRunner;
pub use throttle::Throttle;
