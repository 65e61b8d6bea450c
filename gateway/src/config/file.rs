//! The settings file: TOML, whose values become defaults of the command's flags.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::CommandFactory as _;
use clap::error::ErrorKind;

use super::Cli;

/// A settings file, and the subcommand that it is for.
pub(super) struct SettingsFile {
    subcommand: String,
    path: PathBuf,
}

impl SettingsFile {
    /// The file named by `--config` or SEXTANT_CONFIG, read leniently: the real parse comes later.
    pub(super) fn named_in(arguments: &[OsString]) -> Option<Self> {
        let matches = Cli::command()
            .ignore_errors(true)
            .try_get_matches_from(arguments)
            .ok()?;
        let (subcommand, matches) = matches.subcommand()?;
        let path = matches.try_get_one::<PathBuf>("config").ok().flatten();
        Some(Self {
            subcommand: subcommand.to_owned(),
            path: path?.clone(),
        })
    }

    /// The command with the file's values as defaults of the subcommand.
    ///
    /// # Errors
    /// What is wrong with the file, for the person at the terminal.
    pub(super) fn defaults_for(
        &self,
        command: clap::Command,
    ) -> Result<clap::Command, clap::Error> {
        let fail = |detail: String| {
            let path = self.path.display();
            let message = format!("the settings file {path} cannot be used: {detail}\n");
            clap::Error::raw(ErrorKind::Io, message)
        };
        let text = std::fs::read_to_string(&self.path).map_err(|error| fail(error.to_string()))?;
        with_settings(command, &self.subcommand, &text).map_err(fail)
    }
}

/// The command with a file's values as defaults of the subcommand, or what is wrong with the file's text.
pub(crate) fn with_settings(
    command: clap::Command,
    subcommand: &str,
    text: &str,
) -> Result<clap::Command, String> {
    let table: toml::Table = text.parse().map_err(|error| format!("{error}"))?;
    let known = |key: &str| {
        let mut arguments = command.find_subcommand(subcommand)?.get_arguments();
        let argument = arguments.find(|argument| argument.get_long() == Some(key))?;
        Some(argument.get_id().clone())
    };
    let mut defaults = Vec::new();
    for (key, value) in table {
        let id = known(&key).ok_or_else(|| format!("there is no setting '{key}'"))?;
        let value = as_text(value).map_err(|kind| format!("'{key}' is a {kind}"))?;
        defaults.push((id, value));
    }
    Ok(command.mut_subcommand(subcommand, |mut subcommand| {
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
        toml::Value::Boolean(switch) => Ok(switch.to_string()),
        toml::Value::Array(items) => {
            let items: Result<Vec<_>, _> = items.into_iter().map(as_text).collect();
            Ok(items?.join(","))
        }
        other => Err(other.type_str()),
    }
}
