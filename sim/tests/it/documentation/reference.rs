//! The generated part of the reference of the scenario format: a table of keys for each table of a scenario file.

use kernel::{
    client::settings::profile_defaults,
    scenario::{
        TABLE,
        reference::{ReferenceKey, reference},
    },
    settings::{Presence, TableInfo},
};

const START: &str = "<!-- generated from the declarations -->\n";
const END: &str = "<!-- end of the generated part -->\n";

/// A table of the format.
struct Table {
    /// Its path in `--set`, such as `client.retry`; empty for the top of the file.
    path: String,
    /// Its header in a file, such as `[client.retry]`.
    header: String,
    doc: &'static str,
}

const PROFILES_START: &str = "<!-- profiles generated from the declarations -->\n";
const PROFILES_END: &str = "<!-- end of the generated profiles -->\n";

/// Returns the document with the table of the client's profiles as the declarations have it now.
pub(crate) fn with_profiles(markdown: &str) -> String {
    let (before, rest) = markdown.split_once(PROFILES_START).expect("the document has a place for the profiles");
    let (_, after) = rest.split_once(PROFILES_END).expect("the generated part has an end");
    let rows = profile_defaults().into_iter();
    let rows: String =
        rows.map(|row| format!("| `{}` | {} | {} |\n", row.path, cell(&row.resilient), cell(&row.grpc))).collect();
    let head = "| setting | `resilient` | `grpc` |\n| --- | --- | --- |\n";
    format!("{before}{PROFILES_START}\n{head}{rows}\n{PROFILES_END}{after}")
}

/// Returns a default as a cell: a value as code, words as they are.
fn cell(default: &str) -> String {
    if default.contains(' ') || ["on", "off"].contains(&default) { default.to_owned() } else { format!("`{default}`") }
}

/// Returns the document with the generated part as the declarations have it now.
pub(crate) fn with_generated(markdown: &str) -> String {
    let (before, rest) = markdown.split_once(START).expect("the document has a place for the reference");
    let (_, after) = rest.split_once(END).expect("the generated part has an end");
    format!("{before}{START}\n{}{END}{after}", generated())
}

fn generated() -> String {
    let mut tables = vec![Table { path: String::new(), header: "Top of the file".to_owned(), doc: "" }];
    add_tables(TABLE, "", "", &mut tables);
    let keys = reference();
    tables.iter().filter_map(|table| section(table, &keys)).collect()
}

/// Tables that have the keys of another one, which the reference does not repeat.
const REPEATED: [&str; 3] = ["service.N", "edge.N.client", "edge.N.network"];

/// Returns whether the reference has the keys of the table at `path` elsewhere.
fn is_repeated(path: &str) -> bool {
    REPEATED.iter().any(|table| path.starts_with(&format!("{table}.")))
}

/// Adds the tables in `table`, which is at `path` in `--set` and at `name` in a file.
fn add_tables(table: &TableInfo, path: &str, name: &str, tables: &mut Vec<Table>) {
    for (inner_name, presence, inner) in table.tables {
        let path = joined(path, inner_name);
        let name = joined(name, inner_name);
        let is_list = *presence == Presence::List;
        let path = if is_list { joined(&path, "N") } else { path };
        let header = if is_list { format!("`[[{name}]]`") } else { format!("`[{name}]`") };
        let header = match presence {
            Presence::Optional => format!("{header} (off by default)"),
            Presence::ByProfile => format!("{header} (on or off by profile)"),
            Presence::Always | Presence::List => header,
        };
        tables.push(Table { path: path.clone(), header, doc: inner.doc });
        add_tables(inner, &path, &name, tables);
    }
}

fn joined(path: &str, name: &str) -> String {
    if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") }
}

/// Returns the section of a table; `None` if it has no keys of its own.
fn section(table: &Table, keys: &[ReferenceKey]) -> Option<String> {
    if is_repeated(&table.path) {
        return None;
    }
    let doc = sentence(table.doc);
    let doc = if doc.is_empty() { doc } else { format!("{doc}\n\n") };
    if REPEATED[1..].contains(&table.path.as_str()) {
        return Some(format!("### {}\n\n{doc}", table.header));
    }
    let rows: String = keys.iter().filter_map(|key| row(key, &table.path)).collect();
    if rows.is_empty() {
        return None;
    }
    Some(format!(
        "### {}\n\n{doc}| key | default | type and bounds | meaning |\n| --- | --- | --- | --- |\n{rows}\n",
        table.header
    ))
}

/// Returns the documentation of a table without the header that rustdoc shows in front of it.
fn sentence(doc: &str) -> String {
    let words: Vec<_> = doc.split_whitespace().collect();
    let text = words.join(" ");
    let text = text.split_once("]`: ").map_or(text.as_str(), |(_, behind)| behind);
    // A name, such as gRPC, keeps its letters.
    if text.split(' ').next().is_some_and(|word| word.contains(char::is_uppercase)) {
        return text.to_owned();
    }
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

/// Returns the row of a key in the table at `path`; `None` if the key is of another table.
fn row(key: &ReferenceKey, path: &str) -> Option<String> {
    let (key_path, name) = key.path.rsplit_once('.').unwrap_or(("", &key.path));
    if key_path != path {
        return None;
    }
    let default = match &key.default {
        Some(default) => format!("`{default}`"),
        None if key.is_required => "required".to_owned(),
        None => "–".to_owned(),
    };
    let limits = key.limits.as_ref().map(|limits| format!(", {limits}")).unwrap_or_default();
    let kinds: Vec<_> = key.kinds.iter().map(|kind| format!("`{kind}`")).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!("With {}. ", kinds.join(", ")) };
    let cells = [format!("`{name}`"), default, format!("{}{limits}", key.type_name), format!("{kinds}{}", key.doc)];
    Some(format!("| {} |\n", cells.map(|cell| cell.replace('|', "\\|")).join(" | ")))
}
