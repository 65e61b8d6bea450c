//! Users as operators see them: how their secret keys are kept, and the file that brings them at
//! start.

mod file;
mod secrets;

pub use file::{UsersFileError, load};
pub use secrets::{KeptSecret, Secrets};
