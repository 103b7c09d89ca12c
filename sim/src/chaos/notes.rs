//! Mistakes in a document, and settings that the other format lacks.

use std::fmt;

/// A mistake in a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// The line, from 1; 0 for the whole file.
    pub(super) line: usize,
    /// The mistake.
    pub(super) message: String,
    /// The remedy.
    pub(super) help: Option<String>,
}

impl Wrong {
    /// A mistake at this line.
    pub(super) fn at(line: usize, message: impl Into<String>) -> Self {
        Self { line, message: message.into(), help: None }
    }

    /// The same mistake with its remedy.
    pub(super) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// Returns the message for a terminal. `file` is the name of the document.
    pub(crate) fn in_file(&self, file: impl fmt::Display) -> String {
        let place = if self.line == 0 { file.to_string() } else { format!("{file}:{}", self.line) };
        let help = self.help.iter().map(|help| format!("\nhelp: {help}")).collect::<String>();
        format!("{place}: {}{help}", self.message)
    }
}

/// A part that cannot be said in the other format, or only nearly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Note {
    /// The line of the part in a document; 0 for a part of a scenario, and for the whole document.
    pub(crate) line: usize,
    /// The part.
    pub(crate) field: String,
    /// Why, and what is the nearest.
    pub(crate) why: String,
}

impl Note {
    /// Returns the note for a terminal. `file` is the name of the document or scenario.
    pub(crate) fn in_file(&self, file: impl fmt::Display) -> String {
        let place = if self.line == 0 { file.to_string() } else { format!("{file}:{}", self.line) };
        format!("{place}: {}: {}", self.field, self.why)
    }
}

/// The notes on one document.
#[derive(Debug, Default)]
pub(super) struct Notes(Vec<Note>);

impl Notes {
    /// Adds a note, unless it is there.
    pub(super) fn add(&mut self, line: usize, field: impl Into<String>, why: impl Into<String>) {
        let note = Note { line, field: field.into(), why: why.into() };
        if !self.0.contains(&note) {
            self.0.push(note);
        }
    }

    /// Returns the notes by their lines.
    pub(super) fn into_sorted(mut self) -> Vec<Note> {
        self.0.sort_by_key(|note| note.line);
        self.0
    }
}
