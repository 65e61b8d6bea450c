//! What the harness takes from its surroundings: the servers' programs, the Python environment of
//! the clients, the search path. The only file that reads the environment.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

/// The program `name` of this workspace, as built beside the running program or test.
///
/// # Panics
/// When it is not there.
#[must_use]
pub fn server_program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("the running program has a path");
    // Programs are built into one directory, tests into another below it.
    let built = own.ancestors().skip(1).take(2);
    built
        .map(|dir| dir.join(name))
        .find(|program| program.is_file())
        .unwrap_or_else(|| panic!("{name} is missing: run `make build` first"))
}

/// A file of this crate's sources, such as a Python script.
#[must_use]
pub fn own_source(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

/// What whoever starts the soak test wants of it.
#[derive(Debug, Clone, Copy)]
pub struct SoakOrder {
    /// Repeats the faults and operations of an earlier run (SEXTANT_SOAK_SEED).
    pub seed: Option<u64>,
    /// How long it goes on (SEXTANT_SOAK_MINUTES); a single short round where nothing is said.
    pub minutes: Option<u64>,
}

/// Reads what is wanted of the soak test.
///
/// # Panics
/// When a value is no number.
#[must_use]
pub fn soak_order() -> SoakOrder {
    let number = |name: &str| {
        let value = std::env::var_os(name).filter(|value| !value.is_empty())?;
        let value = value.to_str().and_then(|value| value.parse().ok());
        Some(value.unwrap_or_else(|| panic!("{name} must be a number")))
    };
    SoakOrder {
        seed: number("SEXTANT_SOAK_SEED"),
        minutes: number("SEXTANT_SOAK_MINUTES"),
    }
}

/// The program `name` of the Python environment with the aws cli and boto3.
///
/// # Panics
/// When SEXTANT_TEST_VENV does not name such an environment.
pub(crate) fn python_program(name: &str) -> PathBuf {
    let venv =
        std::env::var_os("SEXTANT_TEST_VENV").map_or_else(|| own_source("../.venv"), PathBuf::from);
    let program = venv.join("bin").join(name);
    assert!(
        program.exists(),
        "{} is missing: run `make test`, or scripts/install-test-clients.sh DIR and set \
         SEXTANT_TEST_VENV=DIR",
        program.display()
    );
    program
}

/// Where programs of the distribution are found.
pub(crate) fn search_path() -> OsString {
    std::env::var_os("PATH").unwrap_or_default()
}
