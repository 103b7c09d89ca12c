//! The short form of the command that a program is used for most.

use std::{ffi::OsString, io::IsTerminal, path::Path};

use clap::{Command, error::ErrorKind};

use super::{
    complain, print,
    variables::{explained, with_variables},
};
use crate::{
    settings::nearest::nearest,
    visible::{Visible, is_hidden},
};

/// Name of the subcommand that a command line without one stands for.
const DEFAULT: &str = "run";

/// Parses the command line `words`, the first of which is the program, and the variables of options that it does not have. Without the
/// name of a subcommand it is as if `run` were there: `sim SCENARIO` is short for `sim run SCENARIO`.
///
/// # Errors
/// The command line or a variable is wrong, or the help or the version is asked for.
pub fn parse<T: clap::Parser>(words: impl IntoIterator<Item = OsString>) -> Result<T, clap::Error> {
    parse_by(with_variables(T::command()), words)
}

/// Parses the command line `words` as `command`, with `run` as its default subcommand.
fn parse_by<T: clap::Parser>(command: Command, words: impl IntoIterator<Item = OsString>) -> Result<T, clap::Error> {
    let mut words: Vec<_> = words.into_iter().collect();
    let is_short = words.get(1).is_some_and(|word| !is_of_program(&command, word));
    if is_short {
        reject_misspelt(&command, &words[1].to_string_lossy())?;
        words.insert(1, DEFAULT.into());
    }
    let parsed = parse_whole_by(&command, &words);
    parsed.map_err(|error| match words.iter().skip(2).find(|word| is_subcommand(&command, word)) {
        Some(word) if is_short && error.kind() == ErrorKind::UnknownArgument => misplaced(&command, word),
        _ => error,
    })
}

/// Parses the command line `words`, the first of which is the program, and the variables of options that it does not have.
///
/// # Errors
///
/// Returns an error if the command line or a variable is wrong, or if the help or the version is asked for. Its message has each word on
/// one line.
pub fn parse_whole<T: clap::Parser>(words: &[OsString]) -> Result<T, clap::Error> {
    parse_whole_by(&with_variables(T::command()), words)
}

fn parse_whole_by<T: clap::Parser>(command: &Command, words: &[OsString]) -> Result<T, clap::Error> {
    let parsed = parse_once(command, words.to_vec()).map_err(|error| {
        if !words.iter().any(|word| word.to_string_lossy().contains(is_hidden)) {
            return error;
        }
        // The parts of a message that quote a word cannot be found in it afterwards.
        let shown = words.iter().map(|word| word.visible().to_string().into());
        parse_once::<T>(command, shown.collect()).err().unwrap_or(error)
    });
    parsed.map_err(|error| explained(error, command, words))
}

fn parse_once<T: clap::Parser>(command: &Command, words: Vec<OsString>) -> Result<T, clap::Error> {
    let mut command = command.clone();
    let mut matches = command.try_get_matches_from_mut(words)?;
    T::from_arg_matches_mut(&mut matches).map_err(|error| error.format(&mut command))
}

/// Ends the program as `error` says: with the help or the version that were asked for, or with the message of a wrong
/// command line.
pub fn end(error: &clap::Error) -> ! {
    let text = error.render().to_string();
    if error.use_stderr() {
        complain(text.trim_end());
    } else if std::io::stdout().is_terminal() {
        // In colour. It quotes nothing but this program.
        let _ = error.print();
    } else {
        print(&text);
    }
    std::process::exit(error.exit_code())
}

/// Returns true if `word` is a subcommand or an option of the program itself, and not of `run`.
fn is_of_program(command: &Command, word: &OsString) -> bool {
    let own = ["help", "-h", "--help", "-V", "--version"];
    is_subcommand(command, word) || own.iter().any(|own| word == own)
}

fn is_subcommand(command: &Command, word: &OsString) -> bool {
    command.get_subcommands().any(|inner| inner.get_name_and_visible_aliases().iter().any(|name| word == name))
}

/// Fails if `word`, the first of a command line, is nearly the name of a subcommand and cannot be that of a file.
fn reject_misspelt(command: &Command, word: &str) -> Result<(), clap::Error> {
    if word.starts_with('-') || word.contains(['/', '.']) || Path::new(word).exists() {
        return Ok(());
    }
    let names = command.get_subcommands().filter(|inner| !inner.is_hide_set()).map(Command::get_name);
    let Some(guess) = nearest(word, names) else { return Ok(()) };
    let word = word.visible();
    let message = format!("there is neither a command nor a file called `{word}`; did you mean `{guess}`?\n");
    Err(clap::Error::raw(ErrorKind::InvalidSubcommand, message))
}

/// The error for the subcommand `word` behind options.
fn misplaced(command: &Command, word: &OsString) -> clap::Error {
    let name = command.get_name();
    let word = word.to_string_lossy();
    let message = format!("options go behind the command: {name} {word} [OPTIONS]; see {name} {word} --help\n");
    clap::Error::raw(ErrorKind::UnknownArgument, message)
}

#[cfg(test)]
mod tests {
    use clap::{CommandFactory, Parser, Subcommand};

    use super::*;

    #[derive(Debug, Parser)]
    #[command(name = "program", version)]
    struct Options {
        #[command(subcommand)]
        command: Inner,
    }

    #[derive(Debug, PartialEq, Subcommand)]
    enum Inner {
        Run {
            scenario: String,
            #[arg(long)]
            seed: Option<u64>,
        },
        #[command(visible_alias = "search")]
        Hunt { scenario: String },
        #[command(hide = true)]
        Side { scenario: String },
    }

    fn parsed(line: &str) -> Result<Inner, String> {
        // Without variables: the environment of the test is not known.
        let options = parse_by::<Options>(Options::command(), line.split(' ').map(OsString::from));
        options.map(|options| options.command).map_err(|error| error.to_string())
    }

    #[test]
    fn a_line_without_a_subcommand_runs() {
        let run = Inner::Run { scenario: "a.toml".into(), seed: Some(7) };
        for line in ["program run a.toml --seed 7", "program a.toml --seed 7", "program --seed 7 a.toml"] {
            assert_eq!(parsed(line).as_ref(), Ok(&run), "{line}");
        }
        let hunt = Inner::Hunt { scenario: "run".into() };
        assert_eq!(parsed("program hunt run").as_ref(), Ok(&hunt));
        assert_eq!(parsed("program search run").as_ref(), Ok(&hunt));
        assert_eq!(parsed("program side x"), Ok(Inner::Side { scenario: "x".into() }));
        assert!(parsed("program --version").is_err_and(|text| text.starts_with("program ")));
    }

    #[test]
    fn options_before_a_subcommand_are_explained() {
        let error = parsed("program --seed 7 search a.toml").unwrap_err();
        assert_eq!(
            error,
            "error: options go behind the command: program search [OPTIONS]; see program search --help\n"
        );
        let misspelt = parsed("program hnut a.toml").unwrap_err();
        assert!(misspelt.contains("did you mean `hunt`?"), "{misspelt}");
        let other = parsed("program --sede 7").unwrap_err();
        assert!(other.contains("--sede"), "{other}");
    }
}
