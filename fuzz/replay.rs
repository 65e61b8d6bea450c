//! Feeds a crate's fuzz targets what is kept of earlier runs, as an ordinary test: a few seeds for each
//! target, and every input that once broke a promise. Shared by the crates that have targets.

use std::fs;
use std::path::Path;

/// Runs every kept input of these targets. A target without a seed is a mistake in its name.
pub fn replay<F: Fn(&[u8])>(targets: &[(&str, F)]) {
    let fuzz = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz");
    for (name, run) in targets {
        let mut count = 0;
        for kind in ["seeds", "regressions"] {
            for entry in fs::read_dir(fuzz.join(kind).join(name))
                .into_iter()
                .flatten()
            {
                let path = entry.unwrap().path();
                // Shown with the panic of the input that fails.
                println!("{}", path.display());
                run(&fs::read(&path).unwrap());
                count += 1;
            }
        }
        assert!(count > 0, "{name} has no seeds");
    }
}
