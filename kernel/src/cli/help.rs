//! The sections after the options in the help of a command: examples and exit codes.

use clap::Command;

use super::Exit;

/// Returns the examples and the exit codes of a command as sections of its help. Each example is a command line; `codes` are
/// the exit codes with their meanings.
pub fn help_sections(examples: &[&str], codes: &[(Exit, &str)]) -> String {
    let mut text = "Examples:\n".to_owned();
    examples.iter().for_each(|example| text += &format!("  {example}\n"));
    text += "\nExit codes:";
    codes.iter().for_each(|(code, meaning)| text += &format!("\n  {}  {meaning}", *code as u8));
    text
}

/// Returns the names of `command` and its subcommands, hidden ones left out, whose help lacks examples or exit codes. For
/// tests.
pub fn commands_without_sections(command: &Command) -> Vec<String> {
    let help = command.get_after_long_help().map(ToString::to_string).unwrap_or_default();
    let is_complete = ["Examples:\n  ", "\nExit codes:\n  0  "].iter().all(|section| help.contains(section));
    let mut lacking: Vec<_> = Some(command.get_name().to_owned()).filter(|_| !is_complete).into_iter().collect();
    for inner in command.get_subcommands().filter(|inner| !inner.is_hide_set()) {
        lacking.extend(commands_without_sections(inner).iter().map(|name| format!("{} {name}", command.get_name())));
    }
    lacking
}

/// The exit codes of a command that has no verdict: 0, 2 and 3.
pub const NO_VERDICT: &[(Exit, &str)] = &[(Exit::Passed, "the command has done its work"), WRONG_INPUT, RUN_FAILED];

/// The exit codes of a command that runs scenarios and judges them: 0 to 4.
pub const VERDICT: &[(Exit, &str)] = &[
    (Exit::Passed, "every expectation holds"),
    (Exit::Failed, "an expectation does not hold, or no request succeeded"),
    WRONG_INPUT,
    (Exit::RunFailed, "the command could not be completed, or a run was too late to be trusted"),
    INVARIANT_VIOLATED,
];

/// Exit code 2 with its usual meaning.
pub const WRONG_INPUT: (Exit, &str) =
    (Exit::WrongInput, "the command line, a file or the output folder is wrong; the message says what would be right");

/// Exit code 3 with its usual meaning.
pub const RUN_FAILED: (Exit, &str) = (Exit::RunFailed, "the command could not be completed");

/// Exit code 4 with its usual meaning.
pub const INVARIANT_VIOLATED: (Exit, &str) =
    (Exit::InvariantViolated, "an invariant is violated, which is a bug of this program");
