//! A scenario as a short file.

use kernel::scenario::Scenario;

/// Writes `scenario` as a file without the settings that have their defaults.
pub fn short_toml(scenario: &Scenario) -> String {
    // The profile decides on the defaults of the client.
    let profile = scenario.client.profile;
    let least = format!("name = \"least\"\nduration = \"1s\"\nclient.profile = \"{profile}\"\n[load]\nrate = 1\n");
    let full = scenario.to_toml();
    let Ok(defaults) = Scenario::parse("least", &least, &[]) else { return full };
    let defaults = defaults.to_toml();
    let known: Vec<_> = tables(&defaults).collect();
    let mut short = String::new();
    for (header, keys) in tables(&full) {
        let default = known.iter().find(|(known, _)| *known == header).map(|(_, keys)| &keys[..]);
        let keys: Vec<_> = keys
            .into_iter()
            .filter(|key| default.is_none_or(|default| !default.contains(key)) || is_required(key))
            .collect();
        if keys.is_empty() && default.is_some() {
            continue;
        }
        if !header.is_empty() {
            short += &format!("\n{header}\n");
        }
        keys.iter().for_each(|key| short += &format!("{key}\n"));
    }
    // A default may depend on another setting, which may have been left out: then only the full file is right.
    let same = Scenario::parse("short", &short, &[]).is_ok_and(|read| read == *scenario);
    if same { short } else { full }
}

/// Returns true for the keys that have no default, and the profile that is not the usual one.
fn is_required(line: &str) -> bool {
    ["name = ", "duration = ", "rate = ", "profile = \"grpc\""].iter().any(|key| line.starts_with(key))
}

/// Returns each header of a file, and the lines below it.
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
            if path.extension().is_none_or(|ending| ending != "toml") {
                continue;
            }
            let scenario = Scenario::load(&path, &[]).unwrap();
            let short = short_toml(&scenario);
            assert_eq!(Scenario::parse("short", &short, &[]).unwrap(), scenario);
            assert!(short.lines().count() < scenario.to_toml().lines().count(), "{short}");
        }
    }
}
