//! Server-side encryption: what a request asks for, and the keys that open and seal a body.

pub(crate) mod keys;
pub(crate) mod request;
