//! Readers of the documents of other tools.

mod litmus;
mod mesh;
mod process;
mod toolkit;
mod toxiproxy;

use std::time::Duration;

use kernel::{scenario::duration, settings::nearest::nearest};

use super::{
    draft::Outline,
    labels::Labels,
    node::{Data, Node},
    notes::Wrong,
    table::{TABLE, Tool},
};

/// Returns what the documents ask for; `at` is when a fault begins that has no time of its own.
pub(super) fn read(documents: &[Node], at: Duration, labels: Labels) -> Result<Outline, Wrong> {
    let mut outline = Outline { labels, ..Outline::default() };
    let mut tools = Vec::new();
    for document in documents.iter().filter(|document| document.as_str().is_some() || !is_empty(document)) {
        let tool = tool_of(document)?;
        tools.push(tool);
        match tool {
            Tool::ChaosToolkit => toolkit::read(document, &mut outline)?,
            Tool::ChaosMesh => mesh::read(document, at, &mut outline)?,
            Tool::Litmus => litmus::read(document, at, &mut outline)?,
            Tool::Toxiproxy => toxiproxy::read(document, at, &mut outline)?,
        }
    }
    if tools.is_empty() {
        return Err(Wrong::at(0, "the file is empty").help(KINDS));
    }
    Ok(outline)
}

const KINDS: &str =
    "it has to be an experiment of Chaos Toolkit, manifests of Chaos Mesh or Litmus, or a configuration of toxiproxy";

fn is_empty(node: &Node) -> bool {
    matches!(&node.data, Data::Scalar { .. }) && node.as_str().is_none()
}

/// Returns the tool whose document it is, by its contents.
fn tool_of(document: &Node) -> Result<Tool, Wrong> {
    if let Some(version) = document.str("apiVersion") {
        return match version.split('/').next() {
            Some("chaos-mesh.org") => Ok(Tool::ChaosMesh),
            Some("litmuschaos.io") => Ok(Tool::Litmus),
            _ => {
                let kind = document.str("kind").unwrap_or("manifest");
                Err(Wrong::at(document.line_of("apiVersion"), format!("a {kind} of `{version}` injects no fault"))
                    .help("leave it out; apiVersion chaos-mesh.org/v1alpha1 and litmuschaos.io/v1alpha1 are known"))
            }
        };
    }
    if document.get("method").is_some() || document.get("steady-state-hypothesis").is_some() {
        return Ok(Tool::ChaosToolkit);
    }
    let is_of_proxies = !document.items().is_empty() && document.items().iter().all(is_proxy)
        || document.get("proxies").is_some()
        || is_proxy(document)
        || !document.entries().is_empty() && document.entries().iter().all(|(_, node)| is_proxy(node));
    if is_of_proxies {
        Ok(Tool::Toxiproxy)
    } else {
        Err(Wrong::at(document.line, "this kind of document is not known").help(KINDS))
    }
}

fn is_proxy(node: &Node) -> bool {
    node.get("upstream").is_some() || node.get("toxics").is_some()
}

/// Returns the error of a verb that is not in the table.
fn unknown_verb(tool: Tool, line: usize, verb: &str) -> Wrong {
    let guess = nearest(verb, TABLE.iter().filter(|row| row.tool == tool).map(|row| row.verb));
    let guess = guess.map_or_else(String::new, |guess| format!("did you mean `{guess}`? "));
    let name = tool.name();
    Wrong::at(line, format!("there is no fault for `{verb}` of {name}"))
        .help(format!("{guess}leave it out of the file, or write the fault that you mean; `sim from-chaos --table` lists what is known"))
}

/// Returns a duration of a document.
fn time(node: &Node, path: &str) -> Result<Option<Duration>, Wrong> {
    node.str(path)
        .map(|text| {
            duration::parse(&text.replace('µ', "u"))
                .map_err(|error| Wrong::at(node.line_of(path), format!("{path}: {error}")))
        })
        .transpose()
}

/// Returns the number behind the last `-` or `_` of a name such as `sobel-0`.
pub(super) fn trailing_number(name: &str) -> Option<usize> {
    let digits = name.rsplit(['-', '_']).next()?;
    let digits = digits.trim_start_matches(|letter: char| !letter.is_ascii_digit());
    digits.parse().ok().filter(|number| *number < 1_000)
}

/// Names of servers that have no number, which are numbered as they appear.
#[derive(Debug, Default)]
struct Names(Vec<String>);

impl Names {
    fn index(&mut self, name: &str) -> usize {
        if let Some(number) = trailing_number(name) {
            return number;
        }
        self.0.iter().position(|own| own == name).unwrap_or_else(|| {
            self.0.push(name.to_owned());
            self.0.len() - 1
        })
    }
}
