//! A description of what a reduction has removed.

use kernel::scenario::{Change, Direction, Fault, Scenario, ServerNames, duration::text as time, target_name};

use super::Reduced;

/// Returns a line for each expectation, fault and setting that was removed from `original`, then for each number that was
/// lowered.
pub fn removed(original: &Scenario, reduced: &Reduced) -> Vec<String> {
    let Reduced { scenario, origins, .. } = reduced;
    let mut lines = Vec::new();
    let gone = original.expectations.len() - scenario.expectations.len();
    if gone > 0 {
        lines.push(format!("{gone} of {} expectations, which are not about it", original.expectations.len()));
    }
    if original.slos.len() > scenario.slos.len() {
        lines.push("the objectives, which change nothing in a run".to_owned());
    }
    for (index, fault) in original.faults.iter().enumerate().filter(|(index, _)| !origins.contains(index)) {
        lines.push(format!("fault {index}, the {}", about(fault, &original.names())));
    }
    for change in original.changes.iter().filter(|change| !is_kept(change, scenario)) {
        lines.push(format!("the change of {} at {}", change.setting, time(change.at)));
    }
    for path in Scenario::resettable() {
        if !original.is_default(&path) && scenario.is_default(&path) {
            lines.push(format!("{path}, now as it is by default"));
        }
    }
    lines.extend(changed("load.rate", &original.load.rate.to_string(), &scenario.load.rate.to_string()));
    let users = [original, scenario].map(|scenario| scenario.load.users.unwrap_or(0).to_string());
    lines.extend(changed("load.users", &users[0], &users[1]));
    lines.extend(changed("duration", &time(original.duration), &time(scenario.duration)));
    let replicas_before = original.replicas().to_string();
    lines.extend(changed("replicas", &replicas_before, &scenario.replicas().to_string()));
    for (index, (fault, origin)) in scenario.faults.iter().zip(origins).enumerate() {
        let before = &original.faults[*origin];
        let name = if index == *origin { format!("fault {index}") } else { format!("fault {origin}, now {index}") };
        let targets_before = before.targets.len().to_string();
        lines.extend(changed(&format!("{name}, targets"), &targets_before, &fault.targets.len().to_string()));
        lines.extend(changed(&format!("{name}, share"), &share(before), &share(fault)));
        lines.extend(changed(&format!("{name}, direction"), direction(before), direction(fault)));
        lines.extend(changed(&format!("{name}, lasts"), &lasts(before), &lasts(fault)));
        lines.extend(changed(&format!("{name}, at"), &time(before.at), &time(fault.at)));
    }
    lines
}

/// Returns whether the reduced scenario has a change of the same setting at the same time.
fn is_kept(change: &Change, reduced: &Scenario) -> bool {
    reduced.changes.iter().any(|kept| (kept.at, &kept.setting) == (change.at, &change.setting))
}

/// Returns the line of a value that was changed, if it was.
fn changed(name: &str, before: &str, now: &str) -> Option<String> {
    (before != now).then(|| format!("{name}: {before}, now {now}"))
}

/// Describes a fault by its kind, its targets and its time.
fn about(fault: &Fault, names: &ServerNames) -> String {
    let targets: Vec<_> = fault.targets.iter().map(|target| target_name(*target, names)).collect();
    format!("{} of {} at {}", fault.kind.name(), targets.join(", "), time(fault.at))
}

/// Returns how long a fault lasts.
fn lasts(fault: &Fault) -> String {
    fault.kind.lasts().map_or_else(|| "to the end".to_owned(), time)
}

/// Returns the share of the connections that a fault applies to.
fn share(fault: &Fault) -> String {
    fault.kind.share().unwrap_or(1.0).to_string()
}

/// Returns the direction of a fault that has one besides its default.
fn direction(fault: &Fault) -> &'static str {
    fault.kind.clone().direction_mut().and_then(|direction| *direction).map_or("both", Direction::name)
}
