//! Which store a directory holds: a number that is drawn once and stays with the directory. A store
//! that is restored elsewhere is another one: from then on the two go different ways.

use std::fs;
use std::io;
use std::path::Path;

use uuid::Uuid;

use super::open::write_whole;

const IDENTITY_FILE: &str = "identity";

/// The identity of the open store in `path`; it gets one where it has none that can be read.
pub(super) fn of(path: &Path) -> io::Result<Uuid> {
    match fs::read(path.join(IDENTITY_FILE)) {
        Ok(text) => {
            if let Ok(identity) = Uuid::try_parse_ascii(text.trim_ascii()) {
                return Ok(identity);
            }
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let identity = Uuid::new_v4();
    write_whole(path, IDENTITY_FILE, &format!("{identity}\n"))?;
    Ok(identity)
}
