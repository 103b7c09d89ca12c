//! What a reduction took away, in words, and its result as a file.

use kernel::scenario::{Fault, Scenario, duration::text as time, server_name};

use super::{Reduced, step::PLAIN};

/// A line for each thing that was taken away from `original`, then for each that could not be.
pub fn story(original: &Scenario, reduced: &Reduced) -> Vec<String> {
    let Reduced { scenario, origins, .. } = reduced;
    let mut lines = Vec::new();
    let gone = original.expectations.len() - scenario.expectations.len();
    if gone > 0 {
        lines.push(format!("{gone} of {} expectations, which are not about it", original.expectations.len()));
    }
    for (index, fault) in original.faults.iter().enumerate().filter(|(index, _)| !origins.contains(index)) {
        lines.push(format!("fault {index}, the {}", about(fault)));
    }
    for (key, make_plain) in PLAIN {
        let plain = |scenario: &Scenario| {
            let mut plain = scenario.clone();
            make_plain(&mut plain);
            plain == *scenario
        };
        if !plain(original) && plain(scenario) {
            lines.push(format!("{key}, now as it is by default"));
        }
    }
    let mut number = |what: &str, from: String, to: String| {
        if from != to {
            lines.push(format!("{what}: {from}, now {to}"));
        }
    };
    number("load.rate", original.load.rate.to_string(), scenario.load.rate.to_string());
    number("duration", time(original.duration), time(scenario.duration));
    number("replicas", original.servers.replicas.to_string(), scenario.servers.replicas.to_string());
    for (index, (fault, origin)) in scenario.faults.iter().zip(origins).enumerate() {
        let before = &original.faults[*origin];
        let name = if index == *origin { format!("fault {index}") } else { format!("fault {origin}, now {index}") };
        number(&format!("{name}, targets"), before.targets.len().to_string(), fault.targets.len().to_string());
        number(&format!("{name}, lasts"), lasts(before), lasts(fault));
        number(&format!("{name}, at"), time(before.at), time(fault.at));
    }
    lines
}

fn about(fault: &Fault) -> String {
    let targets: Vec<_> = fault.targets.iter().map(|target| server_name(*target)).collect();
    format!("{} of {} at {}", fault.kind.name(), targets.join(", "), time(fault.at))
}

fn lasts(fault: &Fault) -> String {
    fault.kind.lasts().map_or_else(|| "to the end".to_owned(), time)
}

/// `scenario` as a file that leaves out what is as it is by default.
pub fn short_toml(scenario: &Scenario) -> String {
    let least = "name = \"least\"\nduration = \"1s\"\n[load]\nrate = 1\n";
    let full = scenario.to_toml();
    let Ok(defaults) = Scenario::parse("least", least, &[]) else { return full };
    let defaults = defaults.to_toml();
    let known: Vec<_> = tables(&defaults).collect();
    let mut short = String::new();
    for (header, keys) in tables(&full) {
        let default = known.iter().find(|(known, _)| *known == header).map(|(_, keys)| &keys[..]);
        let is_needed = |key: &&str| default.is_none_or(|default| !default.contains(key)) || is_required(key);
        let keys: Vec<_> = keys.into_iter().filter(is_needed).collect();
        if keys.is_empty() && default.is_some() {
            continue;
        }
        if !header.is_empty() {
            short += &format!("\n{header}\n");
        }
        keys.iter().for_each(|key| short += &format!("{key}\n"));
    }
    // A default may depend on another value.
    let same = Scenario::parse("short", &short, &[]).is_ok_and(|read| read == *scenario);
    if same { short } else { full }
}

fn is_required(line: &str) -> bool {
    ["name = ", "duration = ", "rate = "].iter().any(|key| line.starts_with(key))
}

/// Each header of a file, and the lines below it.
fn tables(text: &str) -> impl Iterator<Item = (&str, Vec<&str>)> {
    let mut lines = text.lines().filter(|line| !line.is_empty()).peekable();
    let mut is_first = true;
    std::iter::from_fn(move || {
        let header = if std::mem::take(&mut is_first) { "" } else { lines.next()? };
        let mut keys = Vec::new();
        while let Some(line) = lines.next_if(|line| !line.starts_with('[')) {
            keys.push(line);
        }
        Some((header, keys))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_short_file_is_read_as_the_long_one() {
        for entry in std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios")).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let scenario = Scenario::load(&path, &[]).unwrap();
            let short = short_toml(&scenario);
            assert_eq!(Scenario::parse("short", &short, &[]).unwrap(), scenario);
            assert!(short.lines().count() < scenario.to_toml().lines().count(), "{short}");
        }
    }
}
