//! Listings of objects and of versions, page by page.

pub(crate) mod objects;
pub(crate) mod paging;
pub(crate) mod versions;
