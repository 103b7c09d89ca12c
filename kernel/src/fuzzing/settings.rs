//! Text that users write: scenarios, overrides of the command line, service configs.

use super::check_message;
use crate::scenario::{Scenario, read_service_config};

/// The scenario that overrides apply to.
const BASE: &str = "name = \"fuzz\"\nduration = \"10s\"\nload = { rate = 5 }\n";

/// Reads a scenario.
///
/// # Panics
///
/// Panics if the scenario is accepted and is another one after it was written and read, or if a message cannot be printed.
pub fn scenario(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        check(Scenario::parse("fuzz.toml", text, &[]));
    }
}

/// Applies an override of each line to a scenario.
///
/// # Panics
///
/// Panics as [`scenario`] does.
pub fn overrides(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let overrides: Vec<_> = text.lines().map(str::to_owned).collect();
        check(Scenario::parse("fuzz.toml", BASE, &overrides));
    }
}

/// Reads a service config. The first line is the name of the method, and empty for none.
pub fn service_config(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    let (method, json) = text.split_once('\n').unwrap_or_default();
    // What the message quotes is escaped where a mistake is displayed.
    let _ = read_service_config(json, Some(method).filter(|method| !method.is_empty()));
}

fn check(read: Result<Scenario, crate::scenario::ScenarioError>) {
    match read {
        Err(error) => check_message(&error.to_string()),
        Ok(scenario) => {
            let written = scenario.to_toml();
            let again = Scenario::parse("written.toml", &written, &[]);
            assert_eq!(again.as_ref().ok(), Some(&scenario), "{written}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{super::replay, *};

    #[test]
    fn any_scenario_is_read_or_refused() {
        replay(env!("CARGO_MANIFEST_DIR"), "scenario", scenario);
    }

    #[test]
    fn any_override_is_read_or_refused() {
        replay(env!("CARGO_MANIFEST_DIR"), "overrides", overrides);
    }

    #[test]
    fn any_service_config_is_read_or_refused() {
        replay(env!("CARGO_MANIFEST_DIR"), "service_config", service_config);
    }
}
