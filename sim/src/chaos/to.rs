//! Writers of the documents of other tools from a scenario.

mod litmus;
mod mesh;
mod toolkit;
mod toxiproxy;

use std::time::Duration;

use kernel::scenario::{Fault, STORE, Scenario, duration};
use toml::Table;

use super::{
    node::Node,
    notes::{Note, Notes},
    table::{Row, TABLE, Tool},
    unit::Keys,
};

/// A fault as a verb of another tool.
struct Said<'a> {
    row: &'static Row,
    fault: &'a Fault,
    /// The fields of the verb.
    verb: Node,
}

/// Returns the document of a scenario for `tool`, and the notes.
pub(super) fn write(tool: Tool, scenario: &Scenario) -> (String, Vec<Note>) {
    let mut notes = Notes::default();
    if scenario.nemesis.is_some() {
        notes.add(
            0,
            "nemesis",
            "faults that a seed draws cannot be said; write those of one seed, from `scenario.toml` of its run folder",
        );
    }
    let said: Vec<Said<'_>> =
        scenario.faults.iter().enumerate().flat_map(|(index, fault)| say(tool, index, fault, &mut notes)).collect();
    if tool != Tool::ChaosToolkit {
        let name = tool.name();
        for (index, change) in scenario.changes.iter().enumerate() {
            notes.add(
                0,
                format!("change.{index}"),
                format!(
                    "{name} changes no setting ({}); the nearest is a deployment at that time",
                    change.description()
                ),
            );
        }
        if !scenario.expectations.is_empty() {
            let why = format!(
                "{name} has no bounds on metrics of a load; the nearest is `real load` while the document is applied"
            );
            notes.add(0, "expect", why);
        }
    }
    let text = match tool {
        Tool::ChaosToolkit => toolkit::write(scenario, &said, &mut notes),
        Tool::ChaosMesh => mesh::write(scenario, &said),
        Tool::Litmus => litmus::write(scenario, &said, &mut notes),
        Tool::Toxiproxy => toxiproxy::write(scenario, &said, &mut notes),
    };
    (text, notes.into_sorted())
}

/// Returns the verb that says most of a fault; two for toxiproxy, if it is both ways.
fn say<'a>(tool: Tool, index: usize, fault: &'a Fault, notes: &mut Notes) -> Vec<Said<'a>> {
    if fault.targets.contains(&STORE) {
        let why =
            format!("{} is given the servers, and this is a fault of the link to the store of the cache", tool.name());
        notes.add(0, format!("fault.{index}.target"), why);
        return Vec::new();
    }
    let keys = keys(fault);
    let kind = fault.kind.name();
    let rows = TABLE.iter().filter(|row| row.tool == tool && row.kind == kind && !row.is_read_only);
    let ways: &[Option<&str>] = match tool {
        Tool::Toxiproxy if !keys.contains_key("direction") && matches!(kind, "delay" | "bandwidth" | "partition") => {
            &[Some("to"), Some("from")]
        }
        _ => &[None],
    };
    let mut said = Vec::new();
    for way in ways {
        let mut keys = keys.clone();
        if let Some(way) = way {
            keys.insert("direction".to_owned(), (*way).into());
        }
        let best = rows.clone().map(|row| (row, written(row, &keys))).min_by_key(|(_, (_, missing))| missing.len());
        let Some((row, (verb, missing))) = best else {
            let why = format!("{} has no verb for `{kind}`; {}", tool.name(), nearest(kind));
            notes.add(0, format!("fault.{index}"), why);
            return said;
        };
        for (key, why) in missing {
            notes.add(0, format!("fault.{index}.{key}"), why);
        }
        said.push(Said { row, fault, verb });
    }
    said
}

/// Returns what is nearest to a kind that a tool has no verb for.
fn nearest(kind: &str) -> &'static str {
    match kind {
        "freeze" => "the nearest is a `partition`, of which the server notices nothing either",
        "half_open" => "the nearest is a `partition`, which holds new connections, too",
        "reset" => "the nearest is `errors`, of which connections stay open",
        "drain" => "the nearest is a `crash`",
        "slow" | "errors" => "the nearest is a `delay`",
        _ => "the nearest is a `partition`",
    }
}

/// Returns the keys of a fault that are its own, without those that are as they are by default.
fn keys(fault: &Fault) -> Keys {
    let table: Table = toml::from_str(&format!("fault = {fault}")).unwrap_or_default();
    let keys = table.get("fault").and_then(|fault| fault.as_table()).cloned().unwrap_or_default();
    keys.into_iter()
        .filter(|(key, value)| !["at", "kind", "target"].contains(&key.as_str()) && !is_default(key, value))
        .collect()
}

/// Returns true if a fault without the key has this value, too.
fn is_default(key: &str, value: &toml::Value) -> bool {
    matches!((key, value.as_str()), ("direction", Some("both")) | ("jitter", Some("0s")))
        || (key == "share" && value.as_float() == Some(1.0))
}

/// Returns the fields of a verb, and the keys that it cannot say, with the reasons.
fn written(row: &Row, keys: &Keys) -> (Node, Vec<(String, String)>) {
    let mut verb = Node::map([]);
    let mut missing = Vec::new();
    for field in row.fields {
        let written = field.write(keys);
        written.nodes.into_iter().for_each(|(path, node)| verb.set(path, node));
        missing.extend(written.note.map(|why| (field.ours.to_owned(), why)));
    }
    for (key, value) in keys {
        let is_said =
            row.fields.iter().any(|field| field.ours == key) || ["duration", "restart_after"].contains(&key.as_str());
        if !is_said {
            missing.push((
                key.clone(),
                format!("`{}` of {} has no place for `{key} = {value}`", row.verb, row.tool.name()),
            ));
        }
    }
    (verb, missing)
}

impl Said<'_> {
    /// Returns how long it lasts, as the key of the fault says.
    fn lasts(&self) -> Option<Duration> {
        self.fault.kind.lasts()
    }

    /// Returns the pods of its servers in the StatefulSet of `real/deploy/kubernetes`.
    fn pods(&self) -> Vec<String> {
        self.fault.targets.iter().map(|index| format!("{POD}-{index}")).collect()
    }
}

/// The namespace, and the name of the StatefulSet, of `real/deploy/kubernetes`.
const NAMESPACE: &str = "rehearsal";
const POD: &str = "sobel";

/// Returns a name of a scenario as one of Kubernetes.
fn resource_name(scenario: &Scenario) -> String {
    let name: String = scenario.name.to_ascii_lowercase().replace('_', "-");
    let name = name.trim_matches('-');
    let name = if name.is_empty() { "faults" } else { name };
    name.chars().take(40).collect::<String>().trim_end_matches('-').to_owned()
}

/// Returns a duration as Go reads it: `1m30s`, `200ms`.
fn go(time: Duration) -> String {
    duration::text(time)
}
