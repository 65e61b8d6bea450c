//! Fuzz target for what a disk says of itself.

use std::path::Path;

use super::identity::DiskIdentity;

/// The bytes of a `disk.json`.
pub(crate) fn identity(bytes: &[u8]) {
    let dir = Path::new("disk");
    if let Ok(identity) = DiskIdentity::parse(dir, bytes) {
        let written = serde_json::to_vec(&identity).expect("what was read can be written");
        let again = DiskIdentity::parse(dir, &written).expect("what was written can be read");
        assert_eq!(again, identity);
    }
}
