//! Operations on buckets and on what is set for them.

pub(crate) mod access;
pub(crate) mod buckets;
pub(crate) mod document_cache;
pub(crate) mod document_store;
pub(crate) mod documents;
pub(crate) mod encryption;
pub(crate) mod lifecycle;
pub(crate) mod lifecycle_rule;
pub(crate) mod logging_notifications;
pub(crate) mod settings;

pub use lifecycle::rules_of;
