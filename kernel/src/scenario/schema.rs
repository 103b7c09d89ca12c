//! serde's complaints about the shape of a file, put in the words of a scenario's author.

use std::cell::Cell;

use serde::{
    Deserialize, Deserializer, de,
    de::{Visitor, value::Error},
    forward_to_deserialize_any,
};

use super::{
    error::Problem,
    nearest::{backticked, is_a_slip, nearest},
    raw,
    source::{Node, Tree},
};

/// Turns a serde error into a problem with a remedy.
pub(super) fn explain(error: &toml::de::Error, tree: &Tree) -> Problem {
    let node = error.span().and_then(|span| tree.at(&span));
    if let Some((key, allowed)) = unknown_key(error.message()) {
        return explain_unknown(error, key, &allowed, node);
    }
    match (node, error.message().split(", expected ").nth(1)) {
        (Some(node), Some("a sequence")) => Problem::new(error.span(), format!("`{}` is not a list", node.path))
            .help(format!("write [[{}]], in two pairs of brackets, above the keys of each", node.path)),
        (Some(node), Some("a table")) => not_a_table(error, node),
        _ => Problem::new(error.span(), error.message()),
    }
}

fn not_a_table(error: &toml::de::Error, node: &Node) -> Problem {
    // A table that is not one is a list of tables: the node is its first item, whose header has the same span.
    let list = node.path.rsplit_once('.').map(|(list, _)| list).filter(|_| node.is_table);
    let path = list.unwrap_or(&node.path);
    let help = format!("write {} on a line of its own, and its keys below", header(path));
    Problem::new(error.span(), format!("`{path}` is not a table")).help(help)
}

/// The key and the allowed names in serde's "unknown field `a`, expected one of `b`, `c`".
fn unknown_key(message: &str) -> Option<(&str, Vec<&str>)> {
    let (key, expected) = message.strip_prefix("unknown field `")?.rsplit_once("`, expected ")?;
    Some((key, expected.split('`').skip(1).step_by(2).collect()))
}

fn explain_unknown(error: &toml::de::Error, key: &str, allowed: &[&str], node: Option<&Node>) -> Problem {
    let table = node.and_then(|node| node.path.rsplit_once('.')).map_or("", |(table, _)| table);
    let place = place(table);
    let guess = nearest(key, allowed.iter().copied());
    let did_you_mean = guess.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
    let problem = Problem::new(error.span(), format!("unknown key `{key}` {place}{did_you_mean}"));
    match (homes(key), guess) {
        // A slip that happens to be a key of another table is a slip.
        (_, Some(name)) if is_a_slip(key, name) => problem,
        (homes, _) if !homes.is_empty() => problem.help(format!("`{key}` belongs {}", homes.join(" or "))),
        (_, Some(_)) => problem,
        (_, None) => problem.help(format!("allowed there: {}", backticked(allowed))),
    }
}

/// Where a table's keys stand in the file; the table with the path `""` is the file itself.
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

/// The places where `key` would be known.
fn homes(key: &str) -> Vec<String> {
    let tables = [
        ("", fields::<raw::Scenario>()),
        ("servers", fields::<raw::Servers>()),
        ("workload", fields::<raw::Workload>()),
        ("load", fields::<raw::Load>()),
        ("network", fields::<raw::Network>()),
        ("client", fields::<raw::Client>()),
        ("client.load_balancing", fields::<raw::LoadBalancing>()),
        ("client.retry", fields::<raw::Retry>()),
        ("client.health_check", fields::<raw::HealthCheck>()),
    ];
    let lists = [("fault", fields::<raw::Fault>()), ("expect", fields::<raw::Expect>())];
    let declared = raw::declared_homes();
    let declared = declared.iter().map(|(table, keys)| (&**table, *keys));
    let homes =
        tables.into_iter().chain(declared).filter(|(_, keys)| keys.contains(&key)).map(|(table, _)| place(table));
    homes.chain(lists.into_iter().filter(|(_, k)| k.contains(&key)).map(|(list, _)| format!("in [[{list}]]"))).collect()
}

/// The keys of a raw struct, asked of its own `Deserialize`, so that they are written down once.
fn fields<'de, T: Deserialize<'de>>() -> &'static [&'static str] {
    let fields = Cell::new(&[][..]);
    // It ends in an error always: there is no value, only the question.
    let _ = T::deserialize(Question { fields: &fields });
    fields.get()
}

struct Question<'a> {
    fields: &'a Cell<&'static [&'static str]>,
}

impl<'de> Deserializer<'de> for Question<'_> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
        Err(de::Error::custom("no struct"))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.fields.set(fields);
        self.deserialize_any(visitor)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map enum identifier ignored_any
    }
}
