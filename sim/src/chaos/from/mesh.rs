//! The reader of manifests of Chaos Mesh.

use std::time::Duration;

use super::{
    super::{
        draft::{Draft, Outline, Targets},
        labels::Selected,
        node::Node,
        notes::Wrong,
        table::{Row, Tool, row},
    },
    time, trailing_number, unknown_verb,
};

/// Most templates inside of one another.
const DEPTH_MAX: usize = 32;

/// The parts of a `NetworkChaos` that its action `netem` has at once, and those of an `HTTPChaos`.
const NETEM: [&str; 4] = ["delay", "loss", "corrupt", "duplicate"];
const HTTP: [&str; 4] = ["abort", "delay", "replace", "patch"];

/// Fields that are read elsewhere, or that say nothing here.
const KNOWN: [&str; 12] = [
    "action",
    "mode",
    "value",
    "selector",
    "duration",
    "target",
    "port",
    "containerNames",
    "gracePeriod",
    "device",
    "remoteCluster",
    "scheduler",
];

/// Adds what a manifest asks for.
pub(super) fn read(document: &Node, at: Duration, outline: &mut Outline) -> Result<(), Wrong> {
    let kind = document.str("kind").unwrap_or_default();
    let empty = Node::map([]);
    let spec = document.get("spec").unwrap_or(&empty);
    if outline.name.is_none() {
        outline.name = document.str("metadata.name").map(str::to_owned);
    }
    match kind {
        "Schedule" => schedule(spec, outline),
        "Workflow" => {
            let entry = spec.str("entry").unwrap_or("entry");
            play(spec, entry, spec.line_of("entry"), Duration::ZERO, 0, outline).map(drop)
        }
        _ => chaos(kind, document.line_of("kind"), spec, at, outline).map(drop),
    }
}

/// Adds the fault of a `spec` at this time, and returns its end.
fn chaos(kind: &str, line: usize, spec: &Node, at: Duration, outline: &mut Outline) -> Result<Duration, Wrong> {
    let lasts = time(spec, "duration")?;
    for (row, part) in rows(kind, line, spec)? {
        let spec = turned(&part);
        let mut known = KNOWN.to_vec();
        if spec.str("path") == Some("*") {
            known.push("path");
        }
        let draft = Draft::read(row, &spec, at, targets(&spec, outline)?, &known, &mut outline.notes);
        if let Some(mut draft) = draft {
            let is_of_a_moment = draft.keys.iter().any(|(key, _)| *key == "restart_after");
            draft.lasts = lasts.filter(|_| !is_of_a_moment);
            outline.faults.push(draft);
        }
    }
    Ok(at + lasts.unwrap_or_default())
}

/// Returns the rows of a `spec`, each with its part of it.
fn rows(kind: &str, line: usize, spec: &Node) -> Result<Vec<(&'static Row, Node)>, Wrong> {
    let action = spec.str("action");
    let verbs: Vec<String> = match kind {
        "PodChaos" if action == Some("pod-kill") && spec.str("gracePeriod").is_some_and(|grace| grace != "0") => {
            vec!["PodChaos pod-kill gracefully".to_owned()]
        }
        "NetworkChaos" if action == Some("netem") => {
            NETEM.iter().filter(|part| spec.get(part).is_some()).map(|part| format!("{kind} {part}")).collect()
        }
        "PodChaos" | "NetworkChaos" => vec![format!("{kind} {}", action.unwrap_or_default())],
        "HTTPChaos" => {
            HTTP.iter().filter(|part| spec.get(part).is_some()).map(|part| format!("{kind} {part}")).collect()
        }
        "StressChaos" => {
            let parts = ["cpu", "memory"].into_iter();
            let parts = parts.filter(|part| spec.get(&format!("stressors.{part}")).is_some());
            parts.map(|part| format!("{kind} {part}")).collect()
        }
        _ => vec![kind.to_owned()],
    };
    if verbs.is_empty() {
        return Err(Wrong::at(line, format!("the {kind} says nothing that it does"))
            .help("such as `abort: true`, or `stressors`"));
    }
    let only = |verb: &str| {
        // The other parts of the same spec are rows of their own.
        let mut part = spec.clone();
        part.line = spec.get("action").map_or(line, |action| action.line);
        if let super::super::node::Data::Map(entries) = &mut part.data {
            let others: &[&str] = match kind {
                "HTTPChaos" => &HTTP,
                "NetworkChaos" if action == Some("netem") => &NETEM,
                _ => &[],
            };
            entries.retain(|(key, _)| !others.contains(&&**key) || verb.ends_with(&**key));
        }
        if let Some(stressors) = spec.get("stressors").filter(|_| kind == "StressChaos") {
            let mine = stressors.entries().iter().filter(|(key, _)| verb.ends_with(&**key));
            let mine = Node { line: stressors.line, ..Node::map(mine.map(|(key, node)| (key.as_str(), node.clone()))) };
            part.set("stressors", mine);
        }
        part
    };
    let row = |verb: &String| {
        let row = row(Tool::ChaosMesh, verb)
            .ok_or_else(|| unknown_verb(Tool::ChaosMesh, spec.get("action").map_or(line, |node| node.line), verb))?;
        Ok((row, only(verb)))
    };
    verbs.iter().map(row).collect()
}

/// Returns a `spec` of a `NetworkChaos` as it would be without a `target`: its selected pods are then the target.
fn turned(spec: &Node) -> Node {
    let mut spec = spec.clone();
    let Some(target) = spec.get("target").filter(|target| !target.entries().is_empty()).cloned() else { return spec };
    let way = match spec.str("direction").unwrap_or("to") {
        "to" => "from",
        "from" => "to",
        both => both,
    };
    let way = Node { line: spec.line_of("direction"), ..Node::text(way) };
    spec.set("direction", way);
    for key in ["selector", "mode", "value"] {
        spec.set(key, target.get(key).cloned().unwrap_or_else(|| Node::map([])));
    }
    spec
}

/// Returns the servers that `mode` and `selector` select.
fn targets(spec: &Node, outline: &mut Outline) -> Result<Targets, Wrong> {
    let pods: Vec<&Node> =
        spec.get("selector.pods").iter().flat_map(|pods| pods.entries()).flat_map(|(_, pods)| pods.items()).collect();
    let named: Vec<usize> = pods.iter().filter_map(|pod| pod.as_str().and_then(trailing_number)).collect();
    let is_named = !named.is_empty() && named.len() == pods.len();
    let selected = if is_named { Selected::Servers(named) } else { by_labels(spec, outline) };
    let value = spec.str("value").unwrap_or("1");
    let number = || value.trim_end_matches('%').parse::<f64>().ok().filter(|number| (1.0..=1e3).contains(number));
    let wrong = || Wrong::at(spec.line_of("value"), format!("`{value}` is not a number of pods")).help("such as \"1\"");
    let mode = spec.str("mode").unwrap_or("one");
    let of_all = match mode {
        "one" => Targets::Count(1),
        "all" => Targets::All,
        "fixed" => Targets::Count(number().ok_or_else(wrong)? as usize),
        "fixed-percent" => Targets::Percent(number().ok_or_else(wrong)?),
        "random-max-percent" => {
            let line = spec.line_of("mode");
            outline.notes.add(
                line,
                "mode",
                "a random number of pods cannot be said; it is the most that `value` allows",
            );
            Targets::Percent(number().ok_or_else(wrong)?)
        }
        other => {
            return Err(Wrong::at(spec.line_of("mode"), format!("there is no mode `{other}`"))
                .help("the modes are `one`, `all`, `fixed`, `fixed-percent` and `random-max-percent`"));
        }
    };
    Ok(of_all.within(selected))
}

/// Returns the servers that `selector` selects by labels; all of them without any, or if it is not known which these are.
fn by_labels(spec: &Node, outline: &mut Outline) -> Selected {
    let found = spec.get("selector").and_then(|selector| outline.labels.of_selector(selector));
    outline.selected(found, spec.line_of("selector"), "selector")
}

/// Returns the key of a `Schedule` or a template under which the spec of a kind is: `podChaos` of `PodChaos`.
fn spec_key(kind: &str) -> String {
    match kind {
        "HTTPChaos" => "httpChaos".to_owned(),
        "DNSChaos" => "dnsChaos".to_owned(),
        "IOChaos" => "ioChaos".to_owned(),
        "JVMChaos" => "jvmChaos".to_owned(),
        "AWSChaos" => "awsChaos".to_owned(),
        "GCPChaos" => "gcpChaos".to_owned(),
        kind => kind.chars().take(1).flat_map(char::to_lowercase).chain(kind.chars().skip(1)).collect(),
    }
}

fn schedule(spec: &Node, outline: &mut Outline) -> Result<(), Wrong> {
    let kind = spec.str("type").unwrap_or_default();
    let text = spec.str("schedule").unwrap_or_default();
    let line = spec.line_of("schedule");
    let every = text.strip_prefix("@every ").map(str::to_owned).or_else(|| {
        let minutes = text.strip_suffix(" * * * *")?;
        let minutes = if minutes == "*" { "1" } else { minutes.strip_prefix("*/")? };
        Some(format!("{minutes}m"))
    });
    let every = every.and_then(|every| kernel::scenario::duration::parse(&every).ok()).filter(|every| !every.is_zero());
    let every = every.ok_or_else(|| {
        Wrong::at(line, format!("the schedule `{text}` has no interval that is known"))
            .help("write `@every 30s` or `*/5 * * * *`")
    })?;
    let key = spec_key(kind);
    let inner = spec.get(&key).ok_or_else(|| {
        Wrong::at(spec.line_of("type"), format!("a schedule of the type `{kind}` has no `{key}`"))
            .help("such as `type: PodChaos` with `podChaos:`")
    })?;
    let first = outline.faults.len();
    chaos(kind, spec.line_of("type"), inner, every, outline)?;
    // As long as the run lasts: three times unless a base is longer.
    outline.faults[first..].iter_mut().for_each(|draft| draft.every = Some((every, Some(3))));
    outline.notes.add(line, "schedule", "it has no end; the fault happens three times, which `count` says");
    Ok(())
}

/// Adds the faults of a template that begins at `start`, and returns its end.
fn play(
    workflow: &Node,
    name: &str,
    line: usize,
    start: Duration,
    depth: usize,
    outline: &mut Outline,
) -> Result<Duration, Wrong> {
    if depth > DEPTH_MAX {
        return Err(Wrong::at(line, format!("the templates around `{name}` have one another as children")));
    }
    let templates = workflow.get("templates").map_or(&[][..], Node::items);
    let template = templates.iter().find(|template| template.str("name") == Some(name));
    let template = template
        .ok_or_else(|| Wrong::at(line, format!("there is no template `{name}`")).help("add it to `templates`"))?;
    let deadline = time(template, "deadline")?;
    let children = template.get("children").map_or(&[][..], Node::items);
    let kind = template.str("templateType").unwrap_or_default();
    match kind {
        "Serial" | "Parallel" => {
            let mut end = start;
            for child in children {
                let from = if kind == "Serial" { end } else { start };
                let ended = play(workflow, child.as_str().unwrap_or_default(), child.line, from, depth + 1, outline)?;
                end = end.max(ended);
            }
            Ok(end)
        }
        "Suspend" => Ok(start + deadline.unwrap_or_default()),
        "Task" | "StatusCheck" => {
            outline.notes.add(
                template.line_of("templateType"),
                kind,
                "it injects no fault; the nearest is an `[[expect]]`",
            );
            Ok(start + deadline.unwrap_or_default())
        }
        _ => {
            let key = spec_key(kind);
            let mut spec = template.get(&key).cloned().ok_or_else(|| {
                Wrong::at(
                    template.line_of("templateType"),
                    format!("the template `{name}` of the type `{kind}` has no `{key}`"),
                )
                .help("the types are Serial, Parallel, Suspend, Task, StatusCheck and the kinds of chaos")
            })?;
            if let Some(deadline) = template.get("deadline") {
                spec.set("duration", deadline.clone());
            }
            chaos(kind, template.line_of("templateType"), &spec, start, outline)
        }
    }
}
