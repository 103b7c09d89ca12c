//! The writer of scenario files: keys in the order in which they come, values in their canonical form.

use std::fmt::Display;

/// A TOML text that is being written.
#[derive(Default)]
pub(crate) struct TomlWriter {
    text: String,
}

impl TomlWriter {
    /// Starts the table `[path]`.
    pub(crate) fn table(&mut self, path: &str) {
        self.text.push_str(&format!("\n[{path}]\n"));
    }

    /// Starts an item of the list of tables `[[path]]`.
    pub(crate) fn list_item(&mut self, path: &str) {
        self.text.push_str(&format!("\n[[{path}]]\n"));
    }

    /// Writes a key with a value that is TOML already.
    pub(crate) fn key(&mut self, key: &str, value: impl Display) {
        self.text.push_str(&format!("{key} = {value}\n"));
    }

    /// Returns what was written.
    pub(crate) fn into_text(self) -> String {
        self.text
    }

    /// Returns what was written as an inline table.
    pub(crate) fn into_inline_table(self) -> String {
        format!("{{ {} }}", self.text.trim_end().replace('\n', ", "))
    }
}

/// Writes a number as the shortest decimal that reads back as the same number, always with a point or an exponent.
pub(crate) fn number(value: f64) -> String {
    format!("{value:?}")
}

/// Writes a list of strings.
pub(crate) fn list(values: &[impl Display]) -> String {
    let items: Vec<_> = values.iter().map(|value| string(&value.to_string())).collect();
    format!("[{}]", items.join(", "))
}

/// Writes a basic string, on one line whatever it contains.
pub(crate) fn string(value: &str) -> String {
    let mut quoted = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
