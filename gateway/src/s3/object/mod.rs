//! Operations on objects, and what they share: headers, conditions, attributes, the commit.

pub(crate) mod append;
pub(crate) mod append_row;
pub(crate) mod commit;
pub(crate) mod conditions;
pub(crate) mod copy;
pub(crate) mod copy_source;
pub(crate) mod delete;
pub(crate) mod get;
pub(crate) mod get_attributes;
pub(crate) mod headers;
pub(crate) mod lock;
pub(crate) mod new_attributes;
pub(crate) mod put;
pub(crate) mod quota;
pub(crate) mod range;
pub(crate) mod rename;
pub(crate) mod settings;
pub(crate) mod tags;
