//! Counts and names the chunks at risk while nodes are silent, by checking their other replicas, long
//! before repair starts.
//!
//! `board` is what operators see, `walk` looks.

mod board;
mod walk;

pub use board::{Endangered, Survey, SurveyBoard};
pub use walk::{survey, survey_awaited};
