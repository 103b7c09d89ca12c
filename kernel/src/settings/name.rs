//! The rule for names that become a folder or a column: what every file system and shell takes as it is.

use serde_json::{Value, json};

use super::limits::NAME_LEN_MAX;

/// Returns whether a name may have this character.
pub(crate) fn admits(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_')
}

/// Returns the rule in words.
pub(crate) fn rule() -> String {
    format!("1 to {NAME_LEN_MAX} letters, digits, `-` and `_`")
}

/// Returns the JSON Schema of a name.
pub(crate) fn schema() -> Value {
    json!({ "type": "string", "pattern": "^[A-Za-z0-9_-]+$", "maxLength": NAME_LEN_MAX })
}
