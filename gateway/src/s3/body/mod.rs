//! Bodies on their way in and out.
//!
//! | file | what it owns |
//! |---|---|
//! | `bounded`, `limits`, `document_digests` | documents that s3s reads whole: length, time, digests |
//! | `undeclared_length` | short bodies without `Content-Length` |
//! | `unsigned_upload`, `unsigned_chunks` | `aws-chunked` bodies that nobody signed |
//! | `check`, `checksums` | MD5, checksums and trailers of objects and parts |
//! | `store`, `sealed` | plain and encrypted bodies, to and from chunks |

pub(crate) mod bounded;
pub(crate) mod check;
pub(crate) mod checksums;
pub(crate) mod document_digests;
pub(crate) mod limits;
pub(crate) mod sealed;
pub(crate) mod store;
pub(crate) mod undeclared_length;
pub(crate) mod unsigned_chunks;
pub(crate) mod unsigned_upload;
