//! Bad input gets S3's own error and changes nothing.

mod bodies;
mod documents;
mod headers;
mod heads;
mod kit;
mod names;
mod requests;
mod signatures;
mod whole_bodies;
