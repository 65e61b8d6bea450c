//! Findings about background jobs.

use super::{Finding, Level, add};
use crate::jobs::{JobReport, JobState};

pub(super) fn of_job(found: &mut Vec<Finding>, job: &JobReport) {
    match job.state {
        JobState::Alarmed => add(
            found,
            Level::Attention,
            format!("the job {} refuses to go on", job.job),
            &job.detail,
        ),
        JobState::Paused => add(
            found,
            Level::Note,
            format!("the job {} is paused", job.job),
            format!("to let it go on: gateway admin job resume {}", job.job),
        ),
        JobState::Waiting => add(
            found,
            Level::Note,
            format!("the job {} waits", job.job),
            &job.detail,
        ),
        JobState::Resting if !job.detail.is_empty() => add(
            found,
            Level::Attention,
            format!(
                "the last round of the job {} failed: {}",
                job.job, job.detail
            ),
            "it is tried again; if this stays, see the gateway's log",
        ),
        JobState::Resting | JobState::Running | JobState::Elsewhere => {}
    }
}
