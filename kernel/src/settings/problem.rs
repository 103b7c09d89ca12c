//! Problems found while a file is read, before it is known what is at their bytes.
//!
//! Reading continues behind a problem where the rest does not depend on it, so that one reading finds all of them.

use super::source::{Span, Tree};
use crate::visible::Visible;

/// The most problems that are kept of one file: the others show once these are corrected.
const KEPT_MAX: usize = 50;

/// The most characters of a message, and of its help, which may list every name that is allowed.
const MESSAGE_MAX: usize = 600;
const HELP_MAX: usize = 2_000;

/// Something that is wrong, and the bytes where it was written.
#[derive(Debug)]
pub(crate) struct Problem {
    pub(super) span: Option<Span>,
    pub(super) message: String,
    pub(super) help: Option<String>,
    /// The required key or table that is missing, which may follow from another problem: it may be there, misspelt.
    missing: Option<String>,
    /// The key that was probably meant by an unknown one.
    meant: Option<String>,
}

impl Problem {
    pub(crate) fn new(span: Option<Span>, message: impl Into<String>) -> Self {
        // Names and values that are quoted in it are the file's, and may be of any length and have any character.
        let message = message.into().visible_within(MESSAGE_MAX).to_string();
        Self { span, message, help: None, missing: None, meant: None }
    }

    pub(crate) fn at(span: Span, message: impl Into<String>) -> Self {
        Self::new(Some(span), message)
    }

    /// The problem of a text that is no TOML.
    pub(crate) fn syntax(error: &toml::de::Error) -> Self {
        Self::new(error.span(), format!("not valid TOML: {}", error.message()))
    }

    /// Marks the problem as the absence of `key` from the table at its bytes.
    pub(crate) fn missing(self, key: &str) -> Self {
        Self { missing: Some(key.to_owned()), ..self }
    }

    /// Marks the problem as a key that was probably meant to be `key`.
    pub(crate) fn meant(self, key: &str) -> Self {
        Self { meant: Some(key.to_owned()), ..self }
    }

    /// Returns true if this is an absence that follows from `cause`: from the same key under a misspelt name, or from
    /// something else in the place of the whole table.
    fn follows_from(&self, cause: &Self) -> bool {
        self.missing.is_some() && (cause.meant == self.missing || self.span.is_some() && cause.span == self.span)
    }

    /// Returns what is wrong and what would be right, on one line.
    pub(crate) fn into_text(self) -> String {
        match self.help {
            Some(help) => format!("{}; {help}", self.message),
            None => self.message,
        }
    }

    /// Returns the problem as one at other bytes.
    pub(crate) fn moved_to(self, span: Option<Span>) -> Self {
        Self { span, ..self }
    }

    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into().visible_within(HELP_MAX).to_string()), ..self }
    }
}

/// A problem, and the path of the key at its bytes, if there is one.
#[derive(Debug)]
pub(crate) struct LocatedProblem {
    pub(super) problem: Problem,
    pub(super) key: Option<String>,
}

impl LocatedProblem {
    /// Returns the problem without the path of its key.
    pub(crate) fn into_problem(self) -> Problem {
        self.problem
    }
}

impl From<Problem> for LocatedProblem {
    fn from(problem: Problem) -> Self {
        Self { problem, key: None }
    }
}

/// All problems of a file or a part of it, in the order in which they were found.
#[derive(Debug, Default)]
pub(crate) struct Problems(Vec<Problem>);

impl From<Problem> for Problems {
    fn from(problem: Problem) -> Self {
        Self(vec![problem])
    }
}

impl Problems {
    /// Returns the value of `result`, or keeps its problems.
    pub(crate) fn keep<T>(&mut self, result: Result<T, impl Into<Self>>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(problems) => {
                self.extend(problems.into().0);
                None
            }
        }
    }

    /// Returns all values, or keeps the problems of each that has some.
    pub(crate) fn keep_all<T>(&mut self, results: impl Iterator<Item = Result<T, Self>>) -> Option<Vec<T>> {
        let kept: Vec<_> = results.map(|result| self.keep(result)).collect();
        kept.into_iter().collect()
    }

    pub(crate) fn push(&mut self, problem: Problem) {
        self.extend([problem]);
    }

    fn extend(&mut self, problems: impl IntoIterator<Item = Problem>) {
        let room = KEPT_MAX.saturating_sub(self.0.len());
        self.0.extend(problems.into_iter().take(room));
    }

    /// Returns whether further problems would not be kept.
    pub(crate) fn are_full(&self) -> bool {
        self.0.len() >= KEPT_MAX
    }

    /// Looks up the key of each problem in `tree`.
    pub(crate) fn located(self, tree: &Tree<'_, '_>) -> Vec<LocatedProblem> {
        let located = self.0.into_iter().map(|problem| {
            let key = problem.span.as_ref().and_then(|span| tree.path_at(span));
            LocatedProblem { problem, key }
        });
        located.collect()
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the problems that were found later, without those that only follow from problems that are there.
    pub(crate) fn add_later(&mut self, later: Self) {
        let new = later.0.into_iter().filter(|problem| !self.0.iter().any(|cause| problem.follows_from(cause)));
        let new: Vec<_> = new.collect();
        self.extend(new);
    }
}
