//! Sextant's gateway: speaks S3, splits objects into chunks on chunk servers, keeps the metadata.
//!
//! Layers, each calling only downwards: [`http`] → [`s3`] → [`chunks`] and `metastore`; [`cluster`]
//! tracks nodes; [`jobs`] run in the background; [`admin`] serves chunk servers and operators.
//! [`serve`] and [`standalone`] put the parts together; [`recovery`] brings lost metadata back.

pub mod admin;
mod backup_format;
mod chance;
pub mod chunks;
mod clock;
pub mod cluster;
pub mod config;
mod data_dir;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
pub mod http;
pub mod jobs;
mod keys;
pub mod lifecycle;
mod object_details;
mod process;
pub mod recovery;
mod rotation;
pub mod s3;
mod sealing;
pub mod serve;
mod signals;
pub mod standalone;
mod users;

pub use chance::Chance;
pub use clock::Clock;

// What tests and fuzzers share names the crate as tests do.
#[cfg(any(test, fuzzing))]
extern crate self as gateway;
