//! Encryption of object bytes, without a word of S3: data keys and how they are wrapped
//! ([`KeyRing`]), the frame that keeps sealed bodies seekable, and streams that seal and open.
//! The format and the reasons are in `docs/adr/0018-sealed-bodies.md`.

mod cipher;
mod data_key;
mod frame;
mod key_ring;
mod open;
mod purpose;
mod seal;

pub use data_key::{BodyKey, DataKey};
pub use frame::{SealedPart, plain_bytes, sealed_bytes};
pub use key_ring::{KeyRing, KeyRingError, Resealed, WrappingKey};
pub use open::{OpenError, OpenRun, OpenRuns, open};
pub use purpose::purpose;
pub use seal::{PlainCrc, seal};
