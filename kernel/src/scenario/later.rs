//! What the scenario format knows and this version does not run yet. It is turned down by name, never silently
//! accepted and never called unknown. Taking an entry out of the list here is part of making it available.

use super::source::Node;

/// Keys and tables; a `*` stands for any list item.
const KEYS: [&str; 1] = ["nemesis"];

/// Whether a key of the format waits for a later version.
pub(super) fn has_key(node: &Node) -> bool {
    KEYS.contains(&node.pattern.as_str())
}

/// What is wrong with a name that waits for a later version.
pub(super) fn unavailable(name: &str) -> String {
    format!("`{name}` is not available in this version")
}
