//! The options of a run, and the command that repeats it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::visible::is_hidden;

/// Options of a run.
#[derive(Debug, Clone, Args)]
pub struct RunArgs {
    /// The scenario file.
    pub scenario: PathBuf,

    /// The number from which everything random is drawn: arrivals, inputs, delays, jitter.
    #[arg(long, default_value_t = 0, value_parser = seed, allow_negative_numbers = true)]
    pub seed: u64,

    /// The folder to write the run to, or its place in an object store, such as s3://BUCKET/PREFIX [default: runs/SCENARIO/WORLD-seedN].
    #[arg(long, value_name = "DIR")]
    pub out: Option<PathBuf>,

    /// Replaces an earlier run in that folder, even one of real processes or one that was changed.
    #[arg(long)]
    pub force: bool,

    /// Overrides a setting of the scenario, such as client.retry.max_attempts=1; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub overrides: Vec<String>,

    /// Prints the summary as JSON.
    #[arg(long)]
    pub json: bool,

    /// Writes the report of the run, too, by starting the program `reports`.
    #[arg(long)]
    pub report: bool,
}

fn seed(text: &str) -> Result<u64, String> {
    text.parse().map_err(|_| format!("a seed is a whole number from 0 to {}", u64::MAX))
}

impl RunArgs {
    /// Returns the command that repeats this run, quoted for a POSIX shell: `command`, these options, and `more` of the
    /// command's own.
    pub fn replay(&self, command: &str, more: &[String]) -> String {
        let mut words = vec![plain_path(&self.scenario), "--seed".to_owned(), self.seed.to_string()];
        if let Some(out) = &self.out {
            words.extend(["--out".to_owned(), out.display().to_string()]);
        }
        for setting in &self.overrides {
            words.extend(["--set".to_owned(), setting.clone()]);
        }
        words.extend_from_slice(more);
        let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        format!("{command} {}", words.join(" "))
    }
}

/// Returns `path` as an argument that is neither an option nor a subcommand.
fn plain_path(path: &Path) -> String {
    let text = path.display().to_string();
    if text.starts_with('-') || !text.contains(['/', '.']) { format!("./{text}") } else { text }
}

/// Returns `word` as it is written in a POSIX shell, in quotes if it needs them.
pub fn quoted(word: &str) -> String {
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    if word.contains(is_hidden) {
        return dollar_quoted(word);
    }
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// Returns `word` in the quotes of POSIX 2024 that have escapes, so that a line break does not end the line that it is shown
/// on.
fn dollar_quoted(word: &str) -> String {
    let mut quoted = "$'".to_owned();
    for character in word.chars() {
        match character {
            '\'' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted += "\\n",
            '\t' => quoted += "\\t",
            hidden if is_hidden(hidden) => {
                let bytes = hidden.to_string().into_bytes();
                quoted.extend(bytes.iter().map(|byte| format!("\\{byte:03o}")));
            }
            other => quoted.push(other),
        }
    }
    quoted + "'"
}

/// Returns whether `char` means itself in a shell, wherever in a word it is.
fn is_plain(char: char) -> bool {
    char.is_ascii_alphanumeric() || "-_./=:,+@%".contains(char)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_replay_command_survives_a_shell() {
        let args = RunArgs {
            scenario: "my scenarios/it's.toml".into(),
            seed: 7,
            out: None,
            force: false,
            overrides: vec!["workload.sizes=[\"8x8\"]".to_owned(), "load.rate=2".to_owned()],
            json: false,
            report: false,
        };
        assert_eq!(
            args.replay("sim", &[]),
            r#"sim 'my scenarios/it'\''s.toml' --seed 7 --set 'workload.sizes=["8x8"]' --set load.rate=2"#
        );
    }

    #[test]
    fn what_a_terminal_would_obey_is_quoted_with_escapes() {
        assert_eq!(quoted("a\nb'\u{1b}[2J\u{202e}"), r"$'a\nb\'\033[2J\342\200\256'");
    }

    #[test]
    fn a_file_is_not_taken_for_an_option_or_a_subcommand() {
        for (path, plain) in [("hunt", "./hunt"), ("-x.toml", "./-x.toml"), ("a.toml", "a.toml"), ("/hunt", "/hunt")] {
            assert_eq!(plain_path(Path::new(path)), plain);
        }
    }
}
