//! Fuzz target for the files that operators write.

use std::ffi::OsString;

use clap::CommandFactory as _;

use crate::keys::{SecretBytes, parse_kms_keys, parse_root_keys};
use crate::{config, users};

/// A file of any kind: users, keys, settings.
pub(super) fn operator_file(text: &str) {
    if let Ok(users) = users::parse_file(text) {
        assert!(users.iter().all(|user| !user.id.is_empty()));
    }
    let _ = parse_root_keys(text);
    let _ = parse_kms_keys(text);
    let _ = SecretBytes::parse(text);
    for words in [
        &["gateway", "serve", "--metadata", "memory:"][..],
        &["gateway", "standalone", "--data", "d"],
        &["gateway", "admin", "status"],
    ] {
        let subcommand = words[1];
        let words: Vec<OsString> = words.iter().map(OsString::from).collect();
        if let Ok(command) = config::with_settings(config::Cli::command(), subcommand, text) {
            let _ = config::read(command, &words);
        }
    }
}
