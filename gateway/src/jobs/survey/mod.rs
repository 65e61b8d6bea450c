//! What is at risk while nodes are silent: their chunks are looked for on the other nodes that hold
//! them, long before anything is copied.
//!
//! `board` is what operators see, `walk` looks.

mod board;
mod walk;

pub use board::{Endangered, Survey, SurveyBoard};
pub use walk::{survey, survey_awaited};
