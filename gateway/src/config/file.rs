//! The settings file: TOML, whose values become defaults of the command's flags.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::Cli;

/// The file named by `--config` or SEXTANT_CONFIG, read leniently: the real parse comes later.
pub(super) fn config_file(arguments: &[OsString]) -> Option<PathBuf> {
    let matches = Cli::command()
        .ignore_errors(true)
        .try_get_matches_from(arguments)
        .ok()?;
    let (_, matches) = matches.subcommand()?;
    matches
        .try_get_one::<PathBuf>("config")
        .ok()
        .flatten()
        .cloned()
}

/// The command with the file's values as defaults of the chosen subcommand.
pub(super) fn with_file(
    command: clap::Command,
    arguments: &[OsString],
    path: &Path,
) -> Result<clap::Command, clap::Error> {
    let fail = |detail: String| {
        let message = format!(
            "the settings file {} cannot be used: {detail}\n",
            path.display()
        );
        clap::Error::raw(ErrorKind::Io, message)
    };
    let text = std::fs::read_to_string(path).map_err(|error| fail(error.to_string()))?;
    with_settings(command, arguments, &text).map_err(fail)
}

/// The command with a file's values as defaults of the chosen subcommand, or what is wrong with the
/// file's text.
pub(crate) fn with_settings(
    command: clap::Command,
    arguments: &[OsString],
    text: &str,
) -> Result<clap::Command, String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    let chosen = command
        .get_subcommands()
        .map(|subcommand| subcommand.get_name().to_owned())
        .find(|name| arguments.iter().any(|argument| argument == name.as_str()));
    let Some(chosen) = chosen else {
        return Ok(command);
    };

    let mut defaults = Vec::new();
    for (key, value) in table {
        let known = command
            .find_subcommand(&chosen)
            .and_then(|subcommand| {
                subcommand
                    .get_arguments()
                    .find(|argument| argument.get_long() == Some(&key))
            })
            .map(|argument| argument.get_id().clone());
        let id = known.ok_or_else(|| format!("there is no setting '{key}'"))?;
        let value = as_text(value).map_err(|kind| format!("'{key}' is a {kind}"))?;
        defaults.push((id, value));
    }
    Ok(command.mut_subcommand(chosen, |mut subcommand| {
        for (id, value) in defaults {
            subcommand =
                subcommand.mut_arg(id, |argument| argument.default_value(value).required(false));
        }
        subcommand
    }))
}

fn as_text(value: toml::Value) -> Result<String, &'static str> {
    match value {
        toml::Value::String(text) => Ok(text),
        toml::Value::Integer(number) => Ok(number.to_string()),
        toml::Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.into_iter().map(as_text).collect();
            Ok(items?.join(","))
        }
        other => Err(other.type_str()),
    }
}
