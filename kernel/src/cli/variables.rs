//! Options from environment variables.
//!
//! Each option with a long name can be given as a variable: `--from-seed` as `REHEARSAL_FROM_SEED`. Names that mean something else have another
//! word in front: `--log` is `REHEARSAL_OPTION_LOG`, as `REHEARSAL_LOG` is the level of logs. The command line comes first. The
//! variable of an option without a value says whether it is given: `1`, `yes`, `on` and `true`, or `0`, `no`, `off` and `false`. An option
//! that may be repeated has one value in its variable. Commands that the help does not show, which programs start themselves, read none.

use std::{env, ffi::OsString, process};

use clap::{Arg, ArgAction, Command, builder::BoolishValueParser};

use crate::visible::{Visible, is_hidden};

const PREFIX: &str = "REHEARSAL_";

/// Variables with the prefix that are no options.
const NO_OPTIONS: [&str; 4] = ["REHEARSAL_LOG", "REHEARSAL_STORE_PASSWORD", "REHEARSAL_TOKEN", "REHEARSAL_TOKEN_FILE"];

/// Returns the name of the variable of the option `--long`.
///
/// ```
/// assert_eq!(kernel::cli::variable("from-seed"), "REHEARSAL_FROM_SEED");
/// assert_eq!(kernel::cli::variable("log"), "REHEARSAL_OPTION_LOG");
/// ```
pub fn variable(long: &str) -> String {
    let name = long.to_ascii_uppercase().replace('-', "_");
    let plain = format!("{PREFIX}{name}");
    if NO_OPTIONS.contains(&&*plain) { format!("{PREFIX}OPTION_{name}") } else { plain }
}

/// Returns `command` with a variable for each option of it and of its subcommands.
pub fn with_variables(command: Command) -> Command {
    if command.is_hide_set() {
        return command;
    }
    command.mut_args(with_variable).mut_subcommands(with_variables)
}

fn with_variable(option: Arg) -> Arg {
    let Some(variable) = option.get_long().map(variable) else { return option };
    let option = option.env(variable).hide_env_values(true);
    if matches!(option.get_action(), ArgAction::SetTrue) {
        return option.value_parser(BoolishValueParser::new());
    }
    option
}

/// Returns the options that a command line with [`with_variables`] has no variable for, or another one than [`variable`], each behind the
/// names of its command. For tests.
pub fn options_without_variable(command: &Command) -> Vec<String> {
    let mut missing = Vec::new();
    add_missing(&with_variables(command.clone()), "", &mut missing);
    missing
}

fn add_missing(command: &Command, above: &str, missing: &mut Vec<String>) {
    if command.is_hide_set() {
        return;
    }
    let path = format!("{above}{} ", command.get_name());
    for option in command.get_arguments() {
        let Some(long) = option.get_long() else { continue };
        let name = variable(long);
        if option.get_env().is_none_or(|env| *env != *name) {
            missing.push(format!("{path}--{long}"));
        }
    }
    command.get_subcommands().for_each(|inner| add_missing(inner, &path, missing));
}

/// Removes the variables of options from the environment of a process that will be started, so that it does what its command line says.
pub fn without_variables(process: &mut process::Command) {
    let names = env::vars_os().map(|(name, _)| name);
    let is_option =
        |name: &OsString| name.to_str().is_some_and(|name| name.starts_with(PREFIX) && !NO_OPTIONS.contains(&name));
    for name in names.filter(is_option) {
        process.env_remove(name);
    }
}

/// Adds to the message of a wrong command line `words` which of the options in it have their values from variables.
pub(super) fn explained(error: clap::Error, command: &Command, words: &[OsString]) -> clap::Error {
    if !error.use_stderr() {
        return error;
    }
    let mut text = error.render().to_string();
    let mut notes = String::new();
    let mut names = Vec::new();
    add_names(command, &mut names);
    names.sort_unstable();
    names.dedup();
    for long in names {
        let variable = variable(&long);
        let Some(value) = env::var_os(&variable).filter(|_| !is_given(words, &long) && mentions(&text, &long)) else {
            continue;
        };
        let value = value.to_string_lossy();
        if value.contains(is_hidden) {
            text = text.replace(&*value, &value.visible().to_string());
        }
        notes += &format!("\n  note: `--{long}` is from the environment variable {variable}\n");
    }
    if notes.is_empty() {
        return error;
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text);
    clap::Error::raw(error.kind(), format!("{}\n{notes}", text.trim_end()))
}

fn add_names(command: &Command, names: &mut Vec<String>) {
    names.extend(command.get_arguments().filter_map(|option| option.get_long().map(str::to_owned)));
    command.get_subcommands().for_each(|inner| add_names(inner, names));
}

/// Returns whether the option is on the command line.
fn is_given(words: &[OsString], long: &str) -> bool {
    let words = words.iter().filter_map(|word| word.to_str()?.strip_prefix("--")?.strip_prefix(long));
    words.into_iter().any(|rest| rest.is_empty() || rest.starts_with('='))
}

/// Returns whether the text names the option.
fn mentions(text: &str, long: &str) -> bool {
    let option = format!("--{long}");
    let ends = text.match_indices(&option).map(|(at, _)| &text[at + option.len()..]);
    ends.into_iter().any(|rest| !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '-'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command() -> Command {
        Command::new("program")
            .subcommand(Command::new("run").arg(Arg::new("seed").long("from-seed")).arg(Arg::new("file")))
            .subcommand(Command::new("side").hide(true).arg(Arg::new("seed").long("from-seed")))
            .subcommand(Command::new("load").arg(Arg::new("token").long("token")))
    }

    #[test]
    fn every_option_has_the_variable_of_its_name_but_those_of_hidden_commands() {
        let complete = with_variables(command());
        let env = |name: &str| {
            let inner = complete.find_subcommand(name).unwrap();
            let option = inner.get_arguments().find(|option| option.get_long() == Some("from-seed")).unwrap();
            option.get_env().map(|env| env.to_str().unwrap().to_owned())
        };
        assert_eq!(env("run").as_deref(), Some("REHEARSAL_FROM_SEED"));
        assert_eq!(env("side"), None);
        assert_eq!(options_without_variable(&command()), Vec::<String>::new());
    }

    #[test]
    fn a_name_that_means_something_else_has_another_word_in_front() {
        let command = with_variables(command());
        let load = command.find_subcommand("load").unwrap();
        let option = load.get_arguments().find(|option| option.get_long() == Some("token")).unwrap();
        assert_eq!(option.get_env().unwrap(), "REHEARSAL_OPTION_TOKEN");
    }

    #[test]
    fn a_message_names_an_option_as_a_whole_word() {
        assert!(mentions("invalid value 'x' for '--seed <N>'", "seed") && mentions("--seed", "seed"));
        assert!(!mentions("'--seeds <A..B>' and --seed-list", "seed"));
        let words = ["sim", "--seed=3", "--out", "x"].map(OsString::from);
        assert!(is_given(&words, "seed") && is_given(&words, "out") && !is_given(&words, "see"));
    }
}
