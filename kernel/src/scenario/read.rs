//! From a path or a text to a [`Scenario`]: the steps, in order.

use std::{fs, io, path::Path};

use serde::Deserialize;

use super::{
    Scenario, ScenarioError,
    error::Problem,
    overrides, raw, resolve, schema, shorthand,
    source::{Source, Tree},
};

impl Scenario {
    /// Reads the scenario file at `path` and applies `overrides`, each a `key=value` as `--set` takes it.
    ///
    /// # Errors
    /// The file cannot be read or is not UTF-8, or it or an override is wrong; see [`ScenarioError`].
    pub fn load(path: &Path, overrides: &[String]) -> Result<Self, ScenarioError> {
        let unreadable = |reason: String| ScenarioError::Unreadable { path: path.to_owned(), reason };
        // Asked first, because what the OS says of reading a directory differs from system to system.
        if path.is_dir() {
            return Err(unreadable("it is a directory; name a scenario file in it".into()));
        }
        let bytes = fs::read(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => unreadable(format!("{error}; check its spelling and the folder it starts from")),
            _ => unreadable(error.to_string()),
        })?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let position = error.utf8_error().valid_up_to();
            unreadable(format!("not UTF-8 text at byte {position}; save it as UTF-8"))
        })?;
        let base = path.parent().unwrap_or(Path::new(""));
        Self::parse_in(base, &path.display().to_string(), &text, overrides)
    }

    /// Like [`Scenario::load`], for `text` that is already in memory. `origin` is what errors call it. Files that it names
    /// are looked for in the working directory.
    ///
    /// # Errors
    /// The text or an override is wrong.
    pub fn parse(origin: &str, text: &str, overrides: &[String]) -> Result<Self, ScenarioError> {
        Self::parse_in(Path::new(""), origin, text, overrides)
    }

    fn parse_in(base: &Path, origin: &str, text: &str, overrides: &[String]) -> Result<Self, ScenarioError> {
        let source = Source::new(origin, text, overrides);
        let mut tree = Tree::default();
        read(&source, overrides, base, &mut tree).map_err(|problem| problem.shown_in(&source, &tree).into())
    }
}

/// `tree` is handed in so that it is there to look key paths up in, however far the reading gets.
fn read(source: &Source, overrides: &[String], base: &Path, tree: &mut Tree) -> Result<Scenario, Problem> {
    let mut table = source.parse()?;
    overrides::apply(&mut table, source, overrides)?;
    shorthand::expand(&mut table);
    *tree = Tree::of(&table);
    let raw = raw::Scenario::deserialize(toml::de::Deserializer::from(table))
        .map_err(|error| schema::explain(&error, tree))?;
    resolve::scenario(&raw, base)
}
