//! Uploads from HTML forms: the fields before the file, the file, and the answer.

pub(crate) mod answer;
pub(crate) mod fields;
pub(crate) mod head;
pub(crate) mod tail;
