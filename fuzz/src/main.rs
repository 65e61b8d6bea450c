//! Feeds one fuzz target, named by SEXTANT_FUZZ_TARGET, what libFuzzer makes up. The targets stand in
//! the crates whose parsers they try, in `fuzzing` modules.

#![no_main]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;

type Target = fn(&[u8]);

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        TARGET.set(chosen()).expect("chosen once");
    },
    |bytes: &[u8]| {
        let target = TARGET.get().expect("chosen before the first input");
        target(bytes);
    }
);

fn chosen() -> Target {
    let all = [
        chunkproto::fuzzing::TARGETS,
        metastore::fuzzing::TARGETS,
        chunkd::fuzzing::TARGETS,
        gateway::fuzzing::TARGETS,
    ]
    .concat();
    let wanted = std::env::var("SEXTANT_FUZZ_TARGET").unwrap_or_default();
    let found = all.iter().find(|(name, _)| *name == wanted);
    let names = || {
        all.iter()
            .map(|(name, _)| *name)
            .collect::<Vec<_>>()
            .join(" ")
    };
    found
        .unwrap_or_else(|| panic!("SEXTANT_FUZZ_TARGET must be one of: {}", names()))
        .1
}
