//! `--set key=value`: values from the command line put into the file's tree before anything is checked, so that they
//! meet the same schema and the same rules. An override that cannot be put there is a problem, and leaves the tree as it was.

use toml::{
    Spanned,
    de::{DeArray, DeTable, DeValue},
};

use super::{
    limits,
    problem::{Problem, Problems},
    source::{Source, Span},
};

/// Puts each override into `table`, in order: a later one wins.
pub(crate) fn apply<'a>(table: &mut Spanned<DeTable<'a>>, source: &Source, overrides: &'a [String]) -> Problems {
    let mut problems = Problems::default();
    if overrides.len() > limits::OVERRIDES_MAX {
        let message = format!("there are {} `--set`; allowed are up to {}", overrides.len(), limits::OVERRIDES_MAX);
        problems.push(Problem::new(None, message).help("write the settings into the file"));
        return problems;
    }
    for (index, text) in overrides.iter().enumerate() {
        problems.keep(apply_one(table.get_mut(), source.override_span(index), text));
    }
    problems
}

/// Puts the override `text`, which is at `span`, into `table`.
fn apply_one<'a>(table: &mut DeTable<'a>, span: Span, text: &'a str) -> Result<(), Problem> {
    if text.len() > limits::OVERRIDE_BYTES_MAX {
        let message =
            format!("this `--set` has {} bytes; allowed are up to {}", text.len(), limits::OVERRIDE_BYTES_MAX);
        return Err(Problem::at(span, message).help("write the setting into the file"));
    }
    let Some((path, value)) = text.split_once('=') else {
        return Err(Problem::at(span, "`--set` needs a key and a value, such as `--set load.rate=20`"));
    };
    let keys = keys(path, span.start)?;
    set_in_table(table, &keys, parse_value(value, span.end - value.len()))
}

/// One part of a dotted path, and the bytes it was written in.
struct Key<'a> {
    name: &'a str,
    span: Span,
}

impl Key<'_> {
    fn index(&self) -> Option<usize> {
        self.name.parse().ok()
    }
}

fn keys(path: &str, start: usize) -> Result<Vec<Key<'_>>, Problem> {
    // Tables are nested as deep as the key has names, and are read and dropped by recursion.
    let parts = path.split('.').count();
    if parts > limits::KEY_PARTS_MAX {
        let message = format!("this key has {parts} names; no key has more than {}", limits::KEY_PARTS_MAX);
        return Err(Problem::at(start..start + path.len(), message).help("`sim keys` prints the keys that there are"));
    }
    let mut at = start;
    path.split('.')
        .map(|part| {
            let name = part.trim();
            let from = at + part.len() - part.trim_start().len();
            at += part.len() + 1;
            let span = from..from + name.len();
            if name.is_empty() {
                let message = "`--set` needs a name on each side of a dot, such as `--set client.deadline=5s`";
                return Err(Problem::at(span, message));
            }
            Ok(Key { name, span })
        })
        .collect()
}

/// Reads a TOML value, or else the text itself, so that strings need no quotes within the shell's quotes.
fn parse_value(text: &str, start: usize) -> Spanned<DeValue<'_>> {
    let trimmed = text.trim();
    let start = start + text.len() - text.trim_start().len();
    match DeValue::parse(trimmed) {
        Ok(value) => moved(value, start),
        Err(_) => Spanned::new(start..start + trimmed.len(), DeValue::String(trimmed.into())),
    }
}

/// Returns the value with each span in it moved `by` bytes, from its own text's into the source's.
fn moved(value: Spanned<DeValue<'_>>, by: usize) -> Spanned<DeValue<'_>> {
    let shift = |span: Span| span.start + by..span.end + by;
    let span = shift(value.span());
    let inner = match value.into_inner() {
        DeValue::Array(items) => DeValue::Array(items.into_iter().map(|item| moved(item, by)).collect()),
        DeValue::Table(table) => DeValue::Table(
            table
                .into_iter()
                .map(|(key, value)| (Spanned::new(shift(key.span()), key.into_inner()), moved(value, by)))
                .collect(),
        ),
        other => other,
    };
    Spanned::new(span, inner)
}

fn set_in_table<'a>(table: &mut DeTable<'a>, keys: &[Key<'a>], value: Spanned<DeValue<'a>>) -> Result<(), Problem> {
    let Some((key, rest)) = keys.split_first() else { return Ok(()) };
    let name = || Spanned::new(key.span.clone(), key.name.into());
    if rest.is_empty() {
        // Removed first: an insert over an old key keeps the old key's span.
        table.remove(key.name);
        table.insert(name(), value);
        return Ok(());
    }
    if !table.contains_key(key.name) {
        if rest[0].index().is_some() {
            return Err(out_of_range(&rest[0], key.name, 0));
        }
        table.insert(name(), Spanned::new(key.span.clone(), DeValue::Table(DeTable::new())));
    }
    match table.get_mut(key.name) {
        Some(inner) => set_in_value(inner.get_mut(), key, rest, value),
        None => Ok(()),
    }
}

/// Sets the key below `inner`, which is a table or a list. `parent` is the key that holds `inner`, for messages.
fn set_in_value<'a>(
    inner: &mut DeValue<'a>,
    parent: &Key<'a>,
    keys: &[Key<'a>],
    value: Spanned<DeValue<'a>>,
) -> Result<(), Problem> {
    match inner {
        DeValue::Table(table) => set_in_table(table, keys, value),
        DeValue::Array(items) => set_in_list(items, parent, keys, value),
        _ => Err(Problem::at(parent.span.clone(), format!("`{}` is a single value, nothing is in it", parent.name))
            .help(format!("to replace it, end the key at `{}`", parent.name))),
    }
}

fn set_in_list<'a>(
    items: &mut DeArray<'a>,
    parent: &Key<'a>,
    keys: &[Key<'a>],
    value: Spanned<DeValue<'a>>,
) -> Result<(), Problem> {
    let Some((key, rest)) = keys.split_first() else { return Ok(()) };
    let count = items.len();
    let Some(index) = key.index() else {
        let message = format!("`{0}` is a list: name one of its items by number, such as `{0}.0`", parent.name);
        return Err(Problem::at(key.span.clone(), message));
    };
    let Some(item) = items.get_mut(index) else { return Err(out_of_range(key, parent.name, count)) };
    if rest.is_empty() {
        *item = value;
        return Ok(());
    }
    set_in_value(item.get_mut(), key, rest, value)
}

fn out_of_range(key: &Key<'_>, list: &str, count: usize) -> Problem {
    let message = format!("there is no `{list}.{}`", key.name);
    Problem::at(key.span.clone(), message).help(match count {
        0 => format!("the file has no `{list}`"),
        1 => format!("the only one is `{list}.0`"),
        _ => format!("they go from `{list}.0` to `{list}.{}`", count - 1),
    })
}
