//! Mistakes in a scenario file and their messages: the message, the place and key, the line with a mark under it.

use std::{fmt, path::PathBuf};

use super::{
    problem::{LocatedProblem, Problem},
    source::{Place, Snippet, Source},
};
use crate::visible::Visible;

/// The error of a scenario that cannot be used. `Display` is ready for a terminal: a few lines, without a line break at the end.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// The file could not be read as text.
    #[error("cannot read {}: {reason}", path.visible())]
    Unreadable {
        /// The path of the file, as the user gave it.
        path: PathBuf,
        /// The message of the operating system, or what the file is instead of text.
        reason: String,
    },
    /// The file or an override is wrong.
    #[error(transparent)]
    Invalid(#[from] Box<Mistake>),
}

impl From<Mistake> for ScenarioError {
    fn from(mistake: Mistake) -> Self {
        Self::Invalid(Box::new(mistake))
    }
}

/// Something that is wrong with a scenario.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The mistake and, if it fits into a clause, the remedy.
    pub message: String,
    /// Further remedy, such as every allowed name.
    pub help: Option<String>,
    /// The place of the wrong value.
    pub place: Place,
    /// The key at fault, dotted, list items by number, such as `fault.0.duration`.
    pub key: Option<String>,
    snippet: Option<Snippet>,
}

impl std::error::Error for Mistake {}

impl Mistake {
    /// Returns the mistake that `problem` is, at the place of its bytes in `source`.
    pub(crate) fn new(located: LocatedProblem, source: &Source) -> Self {
        let LocatedProblem { problem, key } = located;
        let span = problem.span.as_ref();
        Self {
            place: source.place(span),
            snippet: span.map(|span| source.snippet(span)),
            key,
            message: problem.message,
            help: problem.help,
        }
    }

    /// Sorts mistakes by their place: those in the file first, what is missing from the whole file before all.
    pub(crate) fn order(&self) -> (bool, Option<(usize, usize)>) {
        match self.place {
            Place::File { position, .. } => (false, position),
            Place::Override(_) => (true, None),
        }
    }

    /// Returns the mistake that `error` reports in another TOML file of this project: `text`, which the message calls
    /// `origin`. `kind` is what the file should be, such as `a calibration`.
    pub fn in_toml(kind: &str, origin: &str, text: &str, error: &toml::de::Error, help: &str) -> Self {
        let problem = Problem::new(error.span(), format!("not {kind}: {}", error.message())).help(help);
        Self::new(problem.into(), &Source::new(origin, text, &[]))
    }
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let number = self.snippet.as_ref().and_then(|snippet| snippet.number);
        let number = number.map_or_else(String::new, |number| number.to_string());
        let margin = " ".repeat(number.len());
        write!(f, "{}\n{margin}--> {}", self.message, self.place)?;
        if let Some(key) = &self.key {
            write!(f, " ({key})")?;
        }
        if let Some(Snippet { line, column, width, .. }) = &self.snippet {
            let indent = " ".repeat(column - 1);
            write!(f, "\n{margin} |\n{number} | {line}\n{margin} | {indent}{}", "^".repeat(*width))?;
        }
        if let Some(help) = &self.help {
            write!(f, "\n{margin} = {help}")?;
        }
        Ok(())
    }
}
