//! The reader of manifests of Litmus.

use std::time::Duration;

use super::{
    super::{
        draft::{Draft, Outline, Targets},
        node::Node,
        notes::Wrong,
        table::{Tool, row},
        unit::time as seconds,
    },
    trailing_number, unknown_verb,
};

/// The variable of the labels that the pods have, as `applabel` of an engine.
const APP_LABEL: &str = "APP_LABEL";

/// Variables that are read elsewhere, or that say nothing here.
const KNOWN: [&str; 27] = [
    "TOTAL_CHAOS_DURATION",
    "CHAOS_INTERVAL",
    "RAMP_TIME",
    "TARGET_PODS",
    "PODS_AFFECTED_PERC",
    "SEQUENCE",
    "FORCE",
    "TARGET_CONTAINER",
    "NETWORK_INTERFACE",
    "CONTAINER_RUNTIME",
    "SOCKET_PATH",
    "LIB",
    "LIB_IMAGE",
    "TC_IMAGE",
    "STRESS_IMAGE",
    "CHAOS_NAMESPACE",
    "DEFAULT_HEALTH_CHECK",
    "STATUS_CHECK_DELAY",
    "STATUS_CHECK_TIMEOUT",
    "TARGET_SERVICE_PORT",
    "PROXY_PORT",
    "APP_NAMESPACE",
    APP_LABEL,
    "APP_KIND",
    "NODE_LABEL",
    "SIGNAL",
    "RANDOMNESS",
];

/// The values of variables that a manifest leaves out.
const DEFAULTS: [(&str, &str, &str); 7] = [
    ("pod-network-latency", "NETWORK_LATENCY", "2000"),
    ("pod-network-loss", "NETWORK_PACKET_LOSS_PERCENTAGE", "100"),
    ("pod-network-corruption", "NETWORK_PACKET_CORRUPTION_PERCENTAGE", "100"),
    ("pod-cpu-hog", "CPU_CORES", "1"),
    ("pod-http-latency", "TOXICITY", "100"),
    ("pod-http-status-code", "TOXICITY", "100"),
    ("pod-http-status-code", "STATUS_CODE", "503"),
];

/// Adds what a `ChaosEngine` or a `ChaosExperiment` asks for.
pub(super) fn read(document: &Node, at: Duration, outline: &mut Outline) -> Result<(), Wrong> {
    if outline.name.is_none() {
        outline.name = document.str("metadata.name").map(str::to_owned);
    }
    match document.str("kind").unwrap_or_default() {
        "ChaosExperiment" => {
            let name = document.str("metadata.name").unwrap_or_default();
            let env = document.get("spec.definition.env");
            experiment(name, document.line_of("metadata.name"), (env, None), at, Duration::ZERO, outline).map(drop)
        }
        "ChaosEngine" => {
            let mut start = Duration::ZERO;
            let labels = document.get("spec.appinfo.applabel");
            // They run one after the other.
            for item in document.get("spec.experiments").map_or(&[][..], Node::items) {
                let name = item.str("name").unwrap_or_default();
                if let Some(probe) = item.get("spec.probe") {
                    outline.notes.add(
                        probe.line,
                        "probe",
                        "a probe cannot be said; the nearest is an `[[expect]]` on a metric",
                    );
                }
                let env = item.get("spec.components.env");
                start = experiment(name, item.line_of("name"), (env, labels), at, start, outline)?;
            }
            Ok(())
        }
        other => Err(Wrong::at(document.line_of("kind"), format!("a {other} of Litmus injects no fault"))
            .help("leave it out; ChaosEngine and ChaosExperiment are known")),
    }
}

/// Adds the fault of an experiment that begins at `start`, and returns its end. `labels` are those of the pods of its engine.
fn experiment(
    name: &str,
    line: usize,
    (env, labels): (Option<&Node>, Option<&Node>),
    at: Duration,
    start: Duration,
    outline: &mut Outline,
) -> Result<Duration, Wrong> {
    let mut verb = Node { line, ..Node::map([]) };
    for (_, variable, value) in DEFAULTS.iter().filter(|(experiment, ..)| *experiment == name) {
        verb.set(variable, Node { line, ..Node::text(*value) });
    }
    labels.into_iter().for_each(|labels| verb.set(APP_LABEL, labels.clone()));
    for item in env.map_or(&[][..], Node::items) {
        let (Some(key), Some(value)) = (item.str("name"), item.get("value")) else { continue };
        if value.as_str().is_some_and(|value| !value.is_empty()) && !key.contains('.') {
            verb.set(key, value.clone());
        }
    }
    let is_gentle =
        verb.str("FORCE") == Some("false") || verb.str("SIGNAL").is_some_and(|signal| signal.ends_with("TERM"));
    let known = match name {
        "pod-delete" | "container-kill" if is_gentle => "pod-delete gracefully",
        name => name,
    };
    let row = row(Tool::Litmus, known).ok_or_else(|| unknown_verb(Tool::Litmus, line, name))?;
    let span = |variable: &str| -> Result<Option<Duration>, Wrong> {
        let Some(text) = verb.str(variable) else { return Ok(None) };
        let time = text.parse::<f64>().ok().and_then(|number| seconds(number).ok());
        time.map(Some).ok_or_else(|| {
            Wrong::at(verb.line_of(variable), format!("{variable}: `{text}` is not a number of seconds"))
        })
    };
    let total = span("TOTAL_CHAOS_DURATION")?.unwrap_or(Duration::from_secs(60));
    let ramp = span("RAMP_TIME")?;
    let begins = start + ramp.unwrap_or(if start.is_zero() { at } else { Duration::ZERO });
    let targets = targets(&verb, outline);
    let draft = Draft::read(row, &verb, begins, targets, &KNOWN, &mut outline.notes);
    if let Some(mut draft) = draft {
        if draft.keys.iter().any(|(key, _)| *key == "restart_after") {
            let interval = span("CHAOS_INTERVAL")?.unwrap_or(total);
            let count = total.as_nanos().checked_div(interval.as_nanos()).unwrap_or(1);
            draft.every = (count > 1).then_some((interval, Some(count as u64)));
        } else {
            draft.lasts = Some(total);
        }
        draft.keys.retain(|(key, value)| !(*key == "share" && value == "1.0"));
        outline.faults.push(draft);
    }
    Ok(begins + total + ramp.unwrap_or_default())
}

/// Returns the servers that `TARGET_PODS` names, or the share of those with the labels of the engine.
fn targets(verb: &Node, outline: &mut Outline) -> Targets {
    let names = verb.str("TARGET_PODS").unwrap_or_default();
    let named: Vec<usize> = names.split(',').filter_map(|name| trailing_number(name.trim())).collect();
    let percent = verb.str("PODS_AFFECTED_PERC").and_then(|percent| percent.trim_end_matches('%').parse::<f64>().ok());
    if !named.is_empty() {
        return Targets::Servers(named);
    }
    let found = verb.get(APP_LABEL).and_then(|labels| outline.labels.of_labels(labels));
    let selected = outline.selected(found, verb.line_of(APP_LABEL), "applabel");
    let share = percent.filter(|percent| *percent > 0.0);
    share.map_or(Targets::Count(1), |percent| Targets::Percent(percent.min(100.0))).within(selected)
}
