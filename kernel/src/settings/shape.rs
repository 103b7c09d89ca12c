//! The shape of a file: unknown keys, values where tables are wanted, and the other way round. It is checked for the whole
//! file before any value is read.

use toml::de::{DeTable, DeValue};

use super::{
    nearest::{backticked, is_a_slip, nearest},
    problem::{Problem, Problems},
    source::join,
    table::{OFF, Presence, TableInfo},
    value::{Item, is_string},
};

/// Keys of other tools, each with the key that means the same here.
const SYNONYMS: &[(&str, &str)] = &[("toxicity", "share"), ("interval", "every"), ("times", "count")];

/// Checks the table at `path` against `info`, which is a part of `root`, and adds each problem to `problems`.
pub(crate) fn check(table: &DeTable<'_>, info: &TableInfo, path: &str, root: &TableInfo, problems: &mut Problems) {
    for (key, value) in table {
        if problems.are_full() {
            return;
        }
        let name: &str = key.get_ref();
        let path = join(path, name);
        match info.tables.iter().find(|(table, ..)| *table == name) {
            Some((_, Presence::List, inner)) => check_list(value, inner, &path, root, problems),
            Some((_, Presence::ByProfile, _)) if is_string(value, OFF) => {}
            Some((_, _, inner)) => check_table(value, inner, &path, root, problems),
            None if info.names().contains(&name) => {}
            None => problems.push(unknown_key(key.span(), name, info, &path, root)),
        }
    }
}

fn check_list(value: &Item<'_>, info: &TableInfo, path: &str, root: &TableInfo, problems: &mut Problems) {
    let DeValue::Array(items) = value.get_ref() else {
        problems.push(
            Problem::at(value.span(), format!("`{path}` is not a list"))
                .help(format!("write [[{path}]], in two pairs of brackets, above the keys of each")),
        );
        return;
    };
    for (index, item) in items.iter().enumerate() {
        if problems.are_full() {
            return;
        }
        check_table(item, info, &join(path, &index.to_string()), root, problems);
    }
}

fn check_table(value: &Item<'_>, info: &TableInfo, path: &str, root: &TableInfo, problems: &mut Problems) {
    let Some(table) = value.get_ref().as_table() else {
        let help = format!("write {} on a line of its own, and its keys below", header(path));
        problems.push(Problem::at(value.span(), format!("`{path}` is not a table")).help(help));
        return;
    };
    check(table, info, path, root, problems);
}

fn unknown_key(span: super::source::Span, key: &str, info: &TableInfo, path: &str, root: &TableInfo) -> Problem {
    let table = path.rsplit_once('.').map_or("", |(table, _)| table);
    let allowed = info.names();
    let synonym = SYNONYMS.iter().find(|(word, name)| *word == key && allowed.contains(name)).map(|(_, name)| *name);
    let guess = synonym.or_else(|| nearest(key, allowed.iter().copied()));
    let did_you_mean = guess.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    let mut problem = Problem::at(span, format!("unknown key `{key}` {}{did_you_mean}", place(table)));
    if let Some(name) = guess {
        problem = problem.meant(name);
    }
    let homes = homes(key, root, "");
    match guess {
        // A slip that happens to be a key of another table is a slip.
        Some(name) if is_a_slip(key, name) => problem,
        _ if !homes.is_empty() => problem.help(format!("`{key}` belongs {}", homes.join(" or "))),
        Some(_) => problem,
        None => problem.help(format!("allowed there: {}", backticked(&allowed))),
    }
}

/// Returns the place of the keys of a table, in words; the table with the path `""` is the file itself.
fn place(table: &str) -> String {
    match table.rsplit_once('.') {
        None if table.is_empty() => "at the top of the file".into(),
        Some((_, number)) if is_number(number) => format!("in {} number {number}", header(table)),
        _ => format!("in {}", header(table)),
    }
}

fn header(table: &str) -> String {
    match table.rsplit_once('.') {
        Some((list, number)) if is_number(number) => format!("[[{list}]]"),
        _ => format!("[{table}]"),
    }
}

fn is_number(text: &str) -> bool {
    text.parse::<usize>().is_ok()
}

/// Returns the tables below `path` that know `key`, as places.
fn homes(key: &str, info: &TableInfo, path: &str) -> Vec<String> {
    let mut homes = Vec::new();
    if info.names().contains(&key) {
        homes.push(place(path));
    }
    for (name, presence, inner) in info.tables {
        match presence {
            Presence::List if inner.names().contains(&key) => homes.push(format!("in [[{}]]", join(path, name))),
            Presence::List => {}
            _ => homes.extend(self::homes(key, inner, &join(path, name))),
        }
    }
    homes
}
