//! Short ways to write an optional table, so that one `--set` switches it: `client.hedging = "off"` is as if its table were
//! not there, `client.hedging = "on"` is an empty table, and so for every optional table; `client.hedging = "50ms"` is the
//! table with that delay, and `client.service_config = "off"` is as if there were none. And a load of users or of a trace needs no `rate`, which is 0 then.

use serde_json::{Value, json};
use toml::{
    Spanned,
    de::{DeTable, DeValue},
};

use super::TABLE;
use crate::settings::{Presence, TableInfo, duration, table::OFF, value::is_string};

/// Returns the schema of a further short form of the optional table at `path`, if it has one.
pub(super) fn value_schema(path: &str) -> Option<Value> {
    ["client.hedging", "edge.client.hedging"]
        .contains(&path)
        .then(|| json!({ "type": "string", "pattern": duration::PATTERN }))
}

/// The keys of `[load]` of which one is enough: with any but the first, the rate may be left out.
pub(super) const LOADS: [&str; 4] = ["rate", "users", "trace", "trace_us"];

/// Writes the short forms out.
pub(super) fn expand(document: &mut Spanned<DeTable<'_>>) {
    switch(document.get_mut(), TABLE);
    if let Some(load) = table_mut(document, "load") {
        add_rate(load);
    }
    if let Some(client) = table_mut(document, "client")
        && client.get("service_config").is_some_and(|value| is_string(value, OFF))
    {
        client.remove("service_config");
        client.remove("service_config_method");
    }
    if let Some(client) = table_mut(document, "client") {
        expand_hedging(client);
    }
    if let Some(DeValue::Array(edges)) = document.get_mut().get_mut("edge").map(Spanned::get_mut) {
        for edge in edges.iter_mut() {
            if let DeValue::Table(edge) = edge.get_mut()
                && let Some(DeValue::Table(client)) = edge.get_mut("client").map(Spanned::get_mut)
            {
                expand_hedging(client);
            }
        }
    }
}

/// Writes a delay in place of the table `hedging` of a client out.
fn expand_hedging(client: &mut DeTable<'_>) {
    let Some(hedging) = client.get_mut("hedging").filter(|hedging| hedging.get_ref().is_str()) else { return };
    let span = hedging.span();
    let delay = std::mem::replace(hedging.get_mut(), DeValue::Table(DeTable::new()));
    if let DeValue::Table(table) = hedging.get_mut() {
        table.insert(Spanned::new(span.clone(), "hedging_delay".into()), Spanned::new(span, delay));
    }
}

/// Adds a rate of 0 to a load that has none, but users or a trace.
fn add_rate(load: &mut DeTable<'_>) {
    // Not the place of the value, which a problem with the other key is at.
    let others = load.keys().find(|key| LOADS[1..].contains(&key.get_ref().as_ref()));
    let Some(span) = others.map(Spanned::span).filter(|_| !load.contains_key("rate")) else { return };
    if let Ok(zero) = DeValue::parse("0.0") {
        load.insert(Spanned::new(span.clone(), "rate".into()), Spanned::new(span, zero.into_inner()));
    }
}

/// Takes `"off"` and `"on"` in place of optional tables for no table and an empty one.
fn switch(table: &mut DeTable<'_>, info: &TableInfo) {
    for (name, presence, inner) in info.tables {
        let Some(value) = table.get_mut(*name) else { continue };
        let can_switch = matches!(presence, Presence::Optional | Presence::ByProfile);
        match value.get_ref().as_str() {
            Some(OFF) if *presence == Presence::Optional => {
                table.remove(*name);
            }
            Some("on") if can_switch => *value.get_mut() = DeValue::Table(DeTable::new()),
            _ => match value.get_mut() {
                DeValue::Table(table) => switch(table, inner),
                DeValue::Array(items) => items.iter_mut().for_each(|item| {
                    if let DeValue::Table(item) = item.get_mut() {
                        switch(item, inner);
                    }
                }),
                _ => {}
            },
        }
    }
}

fn table_mut<'a, 'source>(document: &'a mut Spanned<DeTable<'source>>, key: &str) -> Option<&'a mut DeTable<'source>> {
    match document.get_mut().get_mut(key)?.get_mut() {
        DeValue::Table(table) => Some(table),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::{
        policy::Policies,
        scenario::{Scenario, TABLE},
        settings::{Presence, TableInfo, source::join},
    };

    /// Returns the paths of the optional tables that are in tables which are always there.
    fn optional_tables(info: &TableInfo, path: &str, paths: &mut Vec<String>) {
        for (name, presence, inner) in info.tables {
            let path = join(path, name);
            match presence {
                Presence::Always => optional_tables(inner, &path, paths),
                Presence::Optional => paths.push(path),
                Presence::ByProfile | Presence::List => {}
            }
        }
    }

    #[test]
    fn what_is_off_is_as_if_its_table_were_not_there() {
        let text = include_str!("../../tests/example.toml");
        let parse = |settings: &[String]| Scenario::parse("story.toml", text, settings).unwrap();
        let mut keys = Vec::new();
        optional_tables(TABLE, "", &mut keys);
        assert!(keys.len() > 10, "{keys:?}");
        let with = |value: &'static str| keys.iter().map(move |key| format!("{key}={value}"));
        // The two limits on attempts that adapt exclude each other.
        let on = with("on").filter(|setting| setting != "client.adaptive_throttling=on");
        let on: Vec<_> = ["client.retry.max_attempts=1".to_owned()].into_iter().chain(on).collect();
        let as_written = parse(&on);
        assert!(as_written.servers.admission.is_some() && as_written.client.policies.slow_start.is_some());
        let off: Vec<_> = on.into_iter().chain(with("off")).collect();
        let switched = parse(&off);
        assert_eq!((switched.servers.admission, switched.client.policies), (None, Policies::default()));
        assert_eq!((as_written.nemesis.is_some(), switched.nemesis), (true, None));
        let throttling = ["on", "off"].map(|value| parse(&[format!("client.adaptive_throttling={value}")]));
        assert_eq!(throttling.map(|scenario| scenario.client.policies.adaptive_throttling.is_some()), [true, false]);
    }
}
