//! What Sextant makes of S3: from the request as it comes to the operation.
//!
//! | module | what it owns |
//! |---|---|
//! | `edge` | requests before and after s3s: routing, signatures, limits, CORS, error bodies |
//! | `body` | bodies on their way in and out: bounds, digests, checksums, encryption |
//! | `form` | uploads from HTML forms |
//! | `access` | who may do what |
//! | `operations` | the index of all operations |
//! | `object`, `multipart`, `listing`, `bucket` | the operations, a file for each family |
//! | `encryption` | which keys an object is sealed with |
//! | `gateway` | what all operations work with |
//! | `errors` | failures of lower layers as S3 errors |

mod access;
mod body;
mod bucket;
mod edge;
mod encryption;
mod errors;
mod form;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod gateway;
mod listing;
mod multipart;
mod object;
mod operations;

#[cfg(any(test, fuzzing))]
pub(crate) use access::Verified;
pub use access::{Directory, ROOT_CANONICAL_ID};
pub use bucket::rules_of;
pub use edge::S3Server;
pub use gateway::{S3Gateway, S3Settings};
