//! Scenarios from the documents of other tools that inject faults, and back.
//!
//! | module | contents |
//! | --- | --- |
//! | `table` | which verb of a tool is which fault, for both directions and the documentation |
//! | `unit` | how the value of a field is that of a key |
//! | `node` | documents, from YAML and JSON and to them |
//! | `notes` | mistakes, and what cannot be said |
//! | `draft` | what a document asks for, as a scenario |
//! | `labels` | which servers the pods with certain labels are |
//! | `from` | one reader for each tool |
//! | `to` | one writer for each tool |

mod draft;
mod from;
mod labels;
mod node;
mod notes;
mod table;
#[cfg(test)]
mod tests;
mod to;
mod unit;

use std::time::Duration;

use kernel::scenario::Scenario;

pub(crate) use labels::Selection;
pub(crate) use notes::{Note, Wrong};
pub(crate) use table::{Tool, markdown};

/// Returns the scenario of a document as TOML, with the faults in addition to those of `base`, and what cannot be said.
/// `at` is when a fault begins that has no time of its own; `selections` say which servers have which labels.
pub(crate) fn scenario_of(
    text: &str,
    at: Duration,
    base: Option<&Scenario>,
    selections: &[Selection],
) -> Result<(String, Vec<Note>), Wrong> {
    let documents = node::read(text)?;
    let outline = from::read(&documents, at, labels::Labels::with(selections))?;
    let is_empty = outline.faults.is_empty();
    let (scenario, notes) = outline.scenario(base);
    if is_empty {
        let reasons: String = notes.iter().map(|note| format!("\n{}", note.in_file("  line"))).collect();
        return Err(Wrong::at(0, format!("there is no fault in it that can be played{reasons}"))
            .help("`sim from-chaos --table` lists the faults that are known"));
    }
    Ok((scenario, notes))
}

/// Returns the faults of a scenario as a document of `tool`, and what cannot be said.
pub(crate) fn document_of(scenario: &Scenario, tool: Tool) -> (String, Vec<Note>) {
    to::write(tool, scenario)
}
