//! Checks as GitHub reads them: annotations on the terminal, and the summary of a step.

use std::{
    fs::OpenOptions,
    io::{self, Write},
    path::Path,
};

use kernel::visible::Visible;

use super::Check;

/// Returns a line for each failed check.
pub(super) fn annotations(checks: &[&Check]) -> String {
    checks.iter().filter(|check| check.is_failed).map(|check| annotation(check)).collect()
}

fn annotation(check: &Check) -> String {
    let message = format!("{}: {}", check.of.visible(), check.detail);
    format!("::error title={}::{}\n", property(&check.name), data(&message))
}

fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

/// Appends a table of all checks to the summary of the step.
pub(super) fn append_summary(path: &Path, title: &str, checks: &[&Check]) -> io::Result<()> {
    let mut text = format!("### {}\n\n| | check | of | values |\n| --- | --- | --- | --- |\n", cell(title));
    for check in checks {
        let mark = if check.is_failed { "❌" } else { "✅" };
        text.push_str(&format!("| {mark} | {} | {} | {} |\n", cell(&check.name), cell(&check.of), cell(&check.detail)));
    }
    OpenOptions::new().create(true).append(true).open(path)?.write_all(format!("{text}\n").as_bytes())
}

/// Returns text as a cell of a table, in which it is no markup.
fn cell(text: &str) -> String {
    let mut cell = String::new();
    for character in text.visible().to_string().chars() {
        match character {
            '<' => cell.push_str("&lt;"),
            '>' => cell.push_str("&gt;"),
            '&' => cell.push_str("&amp;"),
            '|' | '*' | '_' | '`' | '[' | ']' | '\\' | '#' => cell.extend(['\\', character]),
            _ => cell.push(character),
        }
    }
    cell
}
