//! A clock that goes wrong while a process lives by it: libfaketime, loaded before the process's own
//! libraries, adds what a file says to the time of day. Clocks that only measure spans are left alone,
//! as a wrong NTP server leaves them alone.

use std::fs;
use std::path::{Path, PathBuf};

/// Where distributions put the library.
const DIRS: [&str; 4] = [
    "/usr/lib/x86_64-linux-gnu/faketime",
    "/usr/lib/aarch64-linux-gnu/faketime",
    "/usr/lib64/faketime",
    "/usr/lib/faketime",
];
const LIBRARY: &str = "libfaketimeMT.so.1";

/// The clock of one process.
#[derive(Debug, Clone)]
pub struct ShiftedClock {
    library: String,
    shift: PathBuf,
    shift_name: String,
}

impl ShiftedClock {
    /// A clock that is right, and keeps in the file `shift` by how much it is wrong; none where
    /// libfaketime is not installed.
    ///
    /// # Panics
    /// When the file cannot be written.
    #[must_use]
    pub fn new(shift: &Path) -> Option<Self> {
        let libraries = DIRS.map(|dir| Path::new(dir).join(LIBRARY));
        let library = libraries.into_iter().find(|library| library.is_file())?;
        let clock = Self {
            library: library.to_str()?.to_owned(),
            shift: shift.to_owned(),
            shift_name: shift.to_str()?.to_owned(),
        };
        clock.shift_by(0);
        Some(clock)
    }

    /// From now on it is wrong by so many seconds.
    ///
    /// # Panics
    /// When the file cannot be written.
    pub fn shift_by(&self, seconds: i64) {
        // Put in place at once: a file that is half-written would be a time.
        let new = self.shift.with_extension("new");
        fs::write(&new, format!("{seconds:+}\n")).expect("the shift can be written");
        fs::rename(new, &self.shift).expect("the shift can be put in place");
    }

    /// What the environment of the process must say.
    pub(crate) fn settings(&self) -> [(&str, &str); 4] {
        [
            ("LD_PRELOAD", &self.library),
            ("FAKETIME_TIMESTAMP_FILE", &self.shift_name),
            ("FAKETIME_NO_CACHE", "1"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ]
    }
}
