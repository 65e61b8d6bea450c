//! Bringing lost metadata back, from what the chunk servers hold. Works offline: no gateway serves
//! meanwhile. What every object's first chunk says of it for that day is in `object_details.rs`.

mod command;
mod error;
mod find;
mod found;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod latest_run;
mod read_back;
mod rebuild;
mod report;
mod restore;
mod roll_call;
mod target;
mod uploads;

pub use command::{rebuild_metadata, restore_metadata};
pub use error::RecoveryError;
