//! Lifecycle rules and what they say of a version, an upload, a delete marker. Pure: the S3 layer
//! reads rules from documents, a job carries them out.

mod calendar;
mod judge;
mod rule;

pub use calendar::Calendar;
pub use judge::{Judge, Verdict};
pub use rule::{Filter, NoncurrentExpiration, NoncurrentTransition, Rule, Transition, When};
