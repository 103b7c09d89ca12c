//! What the scenario format knows and this version does not run yet. It is turned down by name, never silently
//! accepted and never called unknown. Taking an entry out of a list here is part of making it available.

use super::{
    error::Problem,
    names::{WorkloadName, listed},
    source::{Node, Tree},
};

/// Keys and tables; a `*` stands for any list item.
const KEYS: [&str; 6] = [
    "nemesis",
    // of the workload kinds `dfs` and `backend`
    "workload.nodes",
    "workload.edges",
    "workload.failure_rate",
    "workload.failure_status",
    "workload.delay",
];

/// Values of keys that exist.
const VALUES: [Waiting; 1] =
    [Waiting { key: "workload.kind", values: &["dfs", "backend"], available: listed::<WorkloadName> }];

struct Waiting {
    key: &'static str,
    values: &'static [&'static str],
    /// What the key can be instead, for the message.
    available: fn() -> String,
}

/// Whether a key of the format waits for a later version.
pub(super) fn has_key(node: &Node) -> bool {
    KEYS.contains(&node.pattern.as_str())
}

/// Runs before the schema's own check, so that `kind = "slow"` is named and not the `factor` beside it.
pub(super) fn refuse_values(tree: &Tree) -> Result<(), Problem> {
    for node in tree.nodes() {
        let value = node.text.as_deref().unwrap_or_default();
        for waiting in VALUES {
            if node.pattern == waiting.key && waiting.values.contains(&value) {
                let help = format!("available: {}", (waiting.available)());
                return Err(Problem::at(node.value.clone(), unavailable(value)).help(help));
            }
        }
    }
    Ok(())
}

/// What is wrong with a name that waits for a later version.
pub(super) fn unavailable(name: &str) -> String {
    format!("`{name}` is not available in this version")
}
