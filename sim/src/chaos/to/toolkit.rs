//! To an experiment of Chaos Toolkit with the actions of `chaostoolkit-rehearsal`.
//!
//! Every activity is in the background: it begins after its own pause from the start of the method, whatever the others do.

use std::time::Duration;

use kernel::{
    measure::expectation::Phase,
    scenario::{Expectation, Scenario, Unit, server_name},
};

use super::{
    super::{node::Node, notes::Notes},
    Said, go,
};

/// Returns an experiment as YAML.
pub(super) fn write(scenario: &Scenario, said: &[Said<'_>], notes: &mut Notes) -> String {
    let folder = format!("runs/chaos/{}", scenario.name);
    if scenario.tls.is_some() {
        let why = "the certificates of a run are in no file; the nearest are your own, as `options` of `start_servers` (`--tls-cert`, \
                   `--tls-key`) and of `load` (`--tls-ca`)";
        notes.add(0, "tls", why);
    }
    let rate = scenario.load.rate;
    let load = Node::map([
        ("duration", Node::text(go(scenario.duration))),
        ("rate", Node::plain(rate)),
        ("out", Node::text(&*folder)),
    ]);
    let mut method = vec![activity("load".to_owned(), "load", Duration::ZERO, load)];
    for (index, said) in said.iter().enumerate() {
        add(&mut method, scenario, index, said, notes);
    }
    for (index, change) in scenario.changes.iter().enumerate() {
        let settings = Node::list([Node::text(format!("{}={}", change.setting, change.to))]);
        method.push(activity(
            format!("change-{index}"),
            "change_settings",
            change.at,
            Node::map([("settings", settings)]),
        ));
    }
    let title = scenario.question.clone().unwrap_or_else(|| format!("The faults of {}", scenario.name));
    Node::map([
        ("title", Node::text(&*scenario.name)),
        ("description", Node::text(title)),
        ("tags", Node::list([Node::text("rehearsal")])),
        ("controls", Node::list([control(&folder)])),
        ("steady-state-hypothesis", hypothesis(scenario, notes)),
        ("method", Node::list(method)),
        ("rollbacks", Node::list(rollbacks(said))),
    ])
    .to_yaml()
}

fn add(method: &mut Vec<Node>, scenario: &Scenario, index: usize, said: &Said<'_>, notes: &mut Notes) {
    let fault = said.fault;
    let kind = said.row.verb.rsplit(' ').next().unwrap_or_default();
    let is_of_process = matches!(kind, "crash" | "drain");
    for server in &fault.targets {
        let name = server_name(*server);
        let mut arguments = Node::map([("fault", Node::text(kind)), ("target", Node::text(&*name))]);
        let options = said.verb.get("options").map_or(&[][..], Node::entries);
        for (key, node) in options {
            arguments.set(&format!("options.{key}"), Node::text(node.as_str().unwrap_or_default()));
        }
        if let Some(lasts) = said.lasts().filter(|_| !is_of_process) {
            arguments.set("options.duration", Node::text(go(lasts)));
        }
        method.push(activity(format!("fault-{index}-{kind}-{name}"), "inject", fault.at, arguments));
    }
    if let Some(restart) = said.lasts().filter(|_| is_of_process) {
        let at = fault.at + restart;
        let servers = Node::map([("servers", Node::plain(scenario.servers.replicas))]);
        method.push(activity(format!("fault-{index}-restart"), "start_servers", at, servers));
    }
    // The action of another fault starts it, too.
    let end = said.lasts().map(|lasts| fault.at + lasts);
    let starts = scenario.faults.iter().filter(|other| matches!(other.kind.name(), "crash" | "drain"));
    let mut starts = starts.filter_map(|other| other.kind.lasts().map(|lasts| other.at + lasts));
    if is_of_process
        && (starts.any(|start| start > fault.at && end.is_none_or(|end| start < end)) || end == Some(fault.at))
    {
        let why = "`start_servers` starts every server that is down, not those of one fault";
        notes.add(0, format!("fault.{index}.restart_after"), why);
    }
}

fn activity(name: String, func: &str, at: Duration, arguments: Node) -> Node {
    let provider = Node::map([
        ("type", Node::text("python")),
        ("module", Node::text("chaosrehearsal.actions")),
        ("func", Node::text(func)),
        ("arguments", arguments),
    ]);
    let mut activity =
        Node::map([("name", Node::text(name)), ("type", Node::text("action")), ("background", Node::plain(true))]);
    if !at.is_zero() {
        activity.set("pauses.before", Node::plain(at.as_secs_f64()));
    }
    activity.set("provider", provider);
    activity
}

fn control(folder: &str) -> Node {
    let provider = Node::map([
        ("type", Node::text("python")),
        ("module", Node::text("chaosrehearsal.control")),
        ("arguments", Node::map([("folder", Node::text(folder))])),
    ]);
    Node::map([("name", Node::text("report")), ("provider", provider)])
}

fn hypothesis(scenario: &Scenario, notes: &mut Notes) -> Node {
    let probe = |name: String, func: &str, tolerance: Node, arguments: Option<Node>| {
        let mut provider = Node::map([
            ("type", Node::text("python")),
            ("module", Node::text("chaosrehearsal.probes")),
            ("func", Node::text(func)),
        ]);
        arguments.into_iter().for_each(|arguments| provider.set("arguments", arguments));
        Node::map([
            ("name", Node::text(name)),
            ("type", Node::text("probe")),
            ("tolerance", tolerance),
            ("provider", provider),
        ])
    };
    let mut probes =
        vec![probe("servers-run".to_owned(), "servers_running", Node::plain(scenario.servers.replicas), None)];
    for (index, Expectation { metric, during, min, max }) in scenario.expectations.iter().enumerate() {
        // The steady state is that before the faults and after them.
        if !matches!(during, Some(Phase::Before | Phase::After)) {
            let why = "only bounds `before` and `after` the faults can be said: a hypothesis is checked before the method and after it";
            notes.add(0, "expect", why);
            continue;
        }
        let name = format!("{}-{index}", metric.to_string().replace('_', "-"));
        let most = if metric.unit() == Unit::Share { 1.0 } else { 1e9 };
        let range = Node::list([min.unwrap_or(0.0), max.unwrap_or(most)].map(Node::plain));
        let tolerance = Node::map([("type", Node::text("range")), ("range", range)]);
        let arguments = Node::map([("metric", Node::text(metric.to_string())), ("duration", Node::text("2s"))]);
        probes.push(probe(name, "metric_of_load", tolerance, Some(arguments)));
    }
    Node::map([("title", Node::text("The servers are in their steady state")), ("probes", Node::list(probes))])
}

/// Returns actions that lift the faults that have no end.
fn rollbacks(said: &[Said<'_>]) -> Vec<Node> {
    let mut rollbacks = Vec::new();
    for said in said.iter().filter(|said| said.lasts().is_none()) {
        let (name, func) = match said.fault.kind.name() {
            "crash" | "drain" | "reset" => continue,
            "freeze" => ("resume", "resume"),
            _ => ("heal", "heal"),
        };
        for server in &said.fault.targets {
            let server = server_name(*server);
            let arguments = Node::map([("target", Node::text(&*server))]);
            let rollback = Node::map([
                ("name", Node::text(format!("{name}-{server}"))),
                ("type", Node::text("action")),
                (
                    "provider",
                    Node::map([
                        ("type", Node::text("python")),
                        ("module", Node::text("chaosrehearsal.actions")),
                        ("func", Node::text(func)),
                        ("arguments", arguments),
                    ]),
                ),
            ]);
            if !rollbacks.contains(&rollback) {
                rollbacks.push(rollback);
            }
        }
    }
    rollbacks
}
