//! What fuzzers feed with arbitrary bytes: each target panics where a parser breaks its promise. Built
//! for tests and by `make fuzz` alone.

mod files;
#[path = "../../tests/nodes/mod.rs"]
#[expect(dead_code, unused_imports, reason = "tests need more of it")]
#[cfg_attr(test, expect(clippy::unwrap_used, reason = "it is of the tests"))]
mod nodes;
mod requests;
mod sealed;

use crate::recovery::fuzzing as recovery;
use crate::s3::fuzzing as s3;

/// A target's name, and what it does with an input.
pub type Target = (&'static str, fn(&[u8]));

/// All targets.
pub const TARGETS: &[Target] = &[
    ("address", |bytes| text(bytes, s3::address)),
    ("backup", recovery::backup),
    ("bucket-document", s3::bucket_document),
    ("form", |bytes| text(bytes, s3::form)),
    ("grants", s3::access::grants),
    ("http-request", requests::conversation),
    ("operator-file", |bytes| text(bytes, files::operator_file)),
    ("pattern", |bytes| text(bytes, s3::access::pattern)),
    ("policy", |bytes| text(bytes, s3::access::policy)),
    ("range", s3::range),
    ("recovery", recovery::bodies),
    ("request-headers", |bytes| text(bytes, s3::request_headers)),
    ("sealed-body", sealed::body),
    ("sealed-key", sealed::key),
];

fn text(bytes: &[u8], target: fn(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        target(text);
    }
}

#[cfg(test)]
#[path = "../../../fuzz/replay.rs"]
mod replay;

#[cfg(test)]
mod tests {
    #[test]
    fn every_kept_input_of_the_fuzzers_is_survived() {
        super::replay::replay(super::TARGETS);
    }
}
