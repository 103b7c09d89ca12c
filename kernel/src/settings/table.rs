//! Tables of the scenario file: what a key is, what a table is, and how both are read and written.

use toml::de::{DeTable, DeValue};

use super::{
    problem::{Problem, Problems},
    source::Span,
    toml_writer::TomlWriter,
    value::{Codec, Item, is_string},
};

/// A table of the scenario file, declared by the part that it configures.
pub(crate) trait Settings: Sized {
    /// The one declaration of the table, which everything that lists keys is derived from.
    const TABLE: &'static TableInfo;

    /// Reads the table; keys that it lacks have their defaults. Unknown keys are refused before, for the whole file.
    ///
    /// # Errors
    ///
    /// Returns the problem of each wrong value or, if all values are right, the first problem between them.
    fn read(table: &TableReader<'_, '_>) -> Result<Self, Problems>;

    /// Writes the keys of the table at `path`, then the tables in it. Reading them gives an equal value.
    fn write_keys(&self, toml: &mut TomlWriter, path: &str);

    /// Writes the header of the table at `path`, and the table.
    fn write(&self, toml: &mut TomlWriter, path: &str) {
        toml.table(path);
        self.write_keys(toml, path);
    }
}

/// The declaration of a table: everything that a reference, a generator or a test of the format needs.
#[derive(Clone, Copy)]
pub struct TableInfo {
    /// The documentation of the table, in Markdown.
    pub doc: &'static str,
    /// Its keys, in the order in which they are written.
    pub keys: &'static [&'static dyn KeyInfo],
    /// The tables in it, in the order in which they are written.
    pub tables: &'static [(&'static str, Presence, &'static TableInfo)],
    /// The further keys of each of its kinds, if it has kinds.
    pub kinds: Option<&'static Kinds>,
    /// Sets of keys that may be drawn together; empty if all may.
    pub draw: &'static [&'static [&'static str]],
    /// Inline tables that random settings draw for the table as a whole, where it is in another table.
    pub samples: &'static [&'static str],
}

impl TableInfo {
    /// A table of which nothing is declared yet.
    pub(crate) const EMPTY: Self = Self { doc: "", keys: &[], tables: &[], kinds: None, draw: &[], samples: &[] };

    /// Returns every key that may be in the table, those of each kind and the names of its tables among them, without
    /// repeats.
    pub fn names(&self) -> Vec<&'static str> {
        let choosing = self.kinds.iter().map(|kinds| kinds.key);
        let of_kinds = self.kinds.iter().flat_map(|kinds| kinds.variants).flat_map(|(_, table)| table.keys);
        let keys = self.keys.iter().chain(of_kinds).map(|key| key.name());
        let mut names = Vec::new();
        for name in choosing.chain(keys).chain(self.tables.iter().map(|(name, ..)| *name)) {
            if !names.contains(&name) {
                names.push(name);
            }
        }
        names
    }
}

/// The condition under which a table is in effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// Always: a file that lacks it has its defaults.
    Always,
    /// Only if the file has it. `"off"` in its place is as if it were not there, `"on"` is an empty table.
    Optional,
    /// Unless `"off"` is in its place, or the file lacks it and its profile is without it. `"on"` is an empty table.
    ByProfile,
    /// Any number of times, as `[[table]]`.
    List,
}

/// The value that a file has in place of a table that is not in effect.
pub(crate) const OFF: &str = "off";

/// The kinds of a table whose keys depend on one of them.
pub struct Kinds {
    /// The key that chooses the kind, such as `kind` or `policy`.
    pub key: &'static str,
    /// The kind of a table that does not say; `None` if it has to.
    pub default: Option<fn() -> &'static str>,
    /// Each kind's name, and what it adds to the table.
    pub variants: &'static [(&'static str, &'static TableInfo)],
}

impl Kinds {
    /// Returns the keys that the kind called `name` adds to the table.
    pub fn keys_of(&self, name: &str) -> Vec<&'static str> {
        let variant = self.variants.iter().find(|(variant, _)| *variant == name);
        variant.map(|(_, table)| table.names()).unwrap_or_default()
    }
}

/// A key, whatever its type.
pub trait KeyInfo {
    /// Returns the name of the key.
    fn name(&self) -> &'static str;
    /// Returns the documentation of the key: meaning, unit and source, in Markdown.
    fn doc(&self) -> &'static str;
    /// Returns the type of its value, as the reference names it.
    fn type_name(&self) -> String;
    /// Returns its default as TOML; `None` if the key is required, or has no effect while it is left out.
    fn default_text(&self) -> Option<String>;
    /// Returns a value that a file may have, as TOML: the default or, for a required key, an example. The text is empty if there
    /// is neither.
    fn example(&self) -> String;
    /// Returns the JSON Schema of its value.
    fn schema(&self) -> serde_json::Value;
    /// Returns the bounds of its value, in words; `None` if its type has no narrower ones.
    fn limits_text(&self) -> Option<String>;
    /// Returns whether a file must have it.
    fn is_required(&self) -> bool;
    /// Values as TOML, where behavior changes; the random settings of `hunt --policies` draw from them. A value that is
    /// there twice is drawn twice as often. Empty if the key is never drawn.
    fn samples(&self) -> &'static [&'static str];
}

/// A key of a table, with the codec of its value.
pub(crate) struct Key<C: Codec> {
    pub(crate) name: &'static str,
    pub(crate) doc: &'static str,
    pub(crate) is_required: bool,
    /// The value where the file has none; of a required key, the example of a message.
    pub(crate) default: fn() -> C::Target,
    pub(crate) limits: C::Limits,
    pub(crate) samples: &'static [&'static str],
}

impl<C: Codec> Key<C> {
    /// Reads the key of `table`, or returns its default.
    pub(crate) fn read(&self, table: &TableReader<'_, '_>) -> Result<C::Target, Problem> {
        match table.get(self.name) {
            Some(item) => C::read(item, &self.limits),
            None if self.is_required => Err(table.missing(self.name, &self.example())),
            None => Ok((self.default)()),
        }
    }

    /// Writes the key, unless it is left out.
    pub(crate) fn write(&self, toml: &mut TomlWriter, value: &C::Target) {
        if let Some(text) = C::written(value) {
            toml.key(self.name, text);
        }
    }
}

impl<C: Codec> KeyInfo for Key<C> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn doc(&self) -> &'static str {
        self.doc
    }

    fn type_name(&self) -> String {
        C::type_name()
    }

    fn default_text(&self) -> Option<String> {
        C::written(&(self.default)()).filter(|_| !self.is_required)
    }

    fn example(&self) -> String {
        C::written(&(self.default)()).unwrap_or_default()
    }

    fn schema(&self) -> serde_json::Value {
        C::schema(&self.limits)
    }

    fn limits_text(&self) -> Option<String> {
        C::limits_text(&self.limits)
    }

    fn is_required(&self) -> bool {
        self.is_required
    }

    fn samples(&self) -> &'static [&'static str] {
        self.samples
    }
}

/// A table of the file that is being read; an absent one reads as an empty one.
#[derive(Clone, Copy)]
pub(crate) struct TableReader<'v, 't> {
    item: Option<&'v Item<'t>>,
    table: Option<&'v DeTable<'t>>,
}

impl<'v, 't> TableReader<'v, 't> {
    /// Returns the whole file.
    pub(crate) fn file(table: &'v DeTable<'t>) -> Self {
        Self { item: None, table: Some(table) }
    }

    fn within(item: Option<&'v Item<'t>>) -> Self {
        Self { item, table: item.and_then(|item| item.get_ref().as_table()) }
    }

    pub(crate) fn get(&self, key: &str) -> Option<&'v Item<'t>> {
        self.table?.get(key)
    }

    /// Returns the place of the key's value, if the file has the key.
    pub(crate) fn span(&self, key: &str) -> Option<Span> {
        self.get(key).map(Item::span)
    }

    /// Returns the place of the table itself.
    pub(crate) fn own_span(&self) -> Option<Span> {
        self.item.map(Item::span)
    }

    /// Returns the first of `keys` that the file has.
    pub(crate) fn first_of(&self, keys: &[&'static str]) -> Option<(&'static str, Span)> {
        keys.iter().find_map(|key| Some((*key, self.span(key)?)))
    }

    /// Returns the table called `name`; an empty one if there is none.
    pub(crate) fn table(&self, name: &str) -> Self {
        Self::within(self.get(name))
    }

    /// Returns the table called `name`, if there is one.
    pub(crate) fn table_if_any(&self, name: &str) -> Option<Self> {
        Some(Self::within(Some(self.get(name)?)))
    }

    /// Reads the optional table called `name`.
    pub(crate) fn optional<T: Settings>(&self, name: &str) -> Result<Option<T>, Problems> {
        self.table_if_any(name).map(|table| T::read(&table)).transpose()
    }

    /// Reads the table called `name`, which a file can switch off: `None` if the file does not have it, and `Some(None)` if it
    /// has [`OFF`] in its place.
    pub(crate) fn switch<T: Settings>(&self, name: &str) -> Result<Option<Option<T>>, Problems> {
        match self.get(name) {
            None => Ok(None),
            Some(item) if is_string(item, OFF) => Ok(Some(None)),
            Some(_) => self.optional(name).map(Some),
        }
    }

    /// Returns the tables of the list called `name`, which may be `most`.
    ///
    /// # Errors
    ///
    /// Returns the problem of a list that is longer.
    pub(crate) fn list(&self, name: &str, most: usize) -> Result<Vec<Self>, Problem> {
        let Some(DeValue::Array(items)) = self.get(name).map(Item::get_ref) else { return Ok(Vec::new()) };
        match items.get(most) {
            Some(first_too_many) => {
                let message = format!("there are {} [[{name}]]; allowed are up to {most}", items.len());
                Err(Problem::at(first_too_many.span(), message)
                    .help("remove some, or divide them among several scenarios"))
            }
            None => Ok(items.iter().map(|item| Self::within(Some(item))).collect()),
        }
    }

    /// Reads the tables of the list called `name`, which may be `most`. The error has the problems of every item.
    pub(crate) fn list_of<T: Settings>(&self, name: &str, most: usize) -> Result<Vec<T>, Problems> {
        let items = self.list(name, most)?;
        let mut problems = Problems::default();
        problems.keep_all(items.iter().map(T::read)).ok_or(problems)
    }

    /// Returns the error for a required key that the table lacks, with a line to write.
    pub(crate) fn missing(&self, key: &str, example: &str) -> Problem {
        Problem::new(self.own_span(), format!("missing key `{key}`"))
            .missing(key)
            .help(format!("write, for example: {key} = {example}"))
    }

    /// Refuses the second of two keys that exclude each other; the first is marked.
    pub(crate) fn excludes(&self, first: &str, second: &str, help: &str) -> Result<(), Problem> {
        match (self.span(first), self.span(second)) {
            (Some(span), Some(_)) => {
                Err(Problem::at(span, format!("`{first}` and `{second}` exclude each other")).help(help))
            }
            _ => Ok(()),
        }
    }

    /// Refuses a value of `low` over that of `high`, at whichever of the two was written.
    pub(crate) fn ordered<T: PartialOrd + super::value::Shown>(
        &self,
        low: (&str, T),
        high: (&str, T),
    ) -> Result<(), Problem> {
        if low.1 <= high.1 {
            return Ok(());
        }
        let span = self.span(low.0).or(self.span(high.0));
        let message = format!("`{}` of {} is over `{}` of {}", low.0, low.1.shown(), high.0, high.1.shown());
        Err(Problem::new(span, message).help(format!("lower `{}`, or raise `{}`", low.0, high.0)))
    }
}
