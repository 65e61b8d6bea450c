//! Multipart uploads: begun, listed and aborted; their parts; their completion.

pub(crate) mod complete;
pub(crate) mod part;
pub(crate) mod uploads;
