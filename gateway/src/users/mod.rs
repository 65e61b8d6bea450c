//! Users as operators see them: how their secret keys are kept, and the file that brings them at
//! start.

mod file;
mod secrets;

#[cfg(any(test, fuzzing))]
pub(crate) use file::parse as parse_file;
pub use file::{UsersFileError, load};
pub use secrets::{KeptSecret, Secrets};
