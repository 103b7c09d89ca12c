//! A scenario is the same after it was written and read: over random ones, and over the format's own example.
//!
//! | module | contents |
//! | --- | --- |
//! | `scenario`, `client`, `fault` | random ones |
//! | `value` | random values of keys |

mod client;
mod fault;
mod scenario;
mod value;

use std::{fs, time::Duration};

use kernel::{
    scenario::{Client, FaultKind, Scenario, TABLE},
    settings::{KeyInfo, Presence, TableInfo},
};
use proptest::prelude::*;
use tempfile::TempDir;

use client::client;
use scenario::scenario;

/// Returns the client of a scenario that has nothing but this service config in its `[client]`.
fn from_service_config(json: &str) -> Client {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("config.json"), json).unwrap();
    let text = "name = 'a'\nduration = '9s'\nload.rate = 1\nclient.service_config = 'config.json'\n";
    fs::write(folder.path().join("scenario.toml"), text).unwrap();
    let read = Scenario::load(&folder.path().join("scenario.toml"), &[]);
    read.unwrap_or_else(|error| panic!("{json}\n{error}")).client
}

proptest! {
    #[test]
    fn a_random_scenario_is_read_back_as_it_was_written(scenario in scenario()) {
        let text = scenario.to_toml();
        let read = Scenario::parse("written.toml", &text, &[]).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert_eq!(&read, &scenario);
        prop_assert_eq!(read.to_toml(), text, "the second writing differs from the first");
    }

    /// What has a place in a service config is read back as it was, whatever the client; what is read has a place.
    #[test]
    fn a_random_client_is_read_back_from_its_service_config(mut client in client()) {
        // The longest call, of a day, has room for 10 million sweeps of this interval.
        if let Some(detection) = &mut client.policies.outlier_detection {
            detection.interval = detection.interval.max(Duration::from_millis(18));
        }
        let exported = client.to_service_config();
        let read = from_service_config(&exported.json);
        let omitted = |path: &str| exported.omitted.iter().any(|omitted| omitted.contains(path));
        prop_assert_eq!((read.deadline, read.wait_for_ready), (client.deadline, client.wait_for_ready));
        prop_assert_eq!(read.load_balancing != client.load_balancing, omitted("client.load_balancing."));
        prop_assert_eq!(
            read.attempt_timeout != client.attempt_timeout.min(client.deadline), omitted("client.attempt_timeout"),
        );
        prop_assert_eq!(read.retry.max_attempts != client.retry.max_attempts, omitted("client.retry.max_attempts"));
        let detections = [&read, &client].map(|client| &client.policies.outlier_detection);
        prop_assert_eq!(detections[0] != detections[1], omitted("client.outlier_detection."));
        let hedgings = [&read, &client].map(|client| &client.policies.hedging);
        prop_assert_eq!(hedgings[0] != hedgings[1], omitted("client.hedging."));
        prop_assert_eq!(client.policies.circuit_breaker.is_some(), omitted("[client.circuit_breaker]"));

        let again = read.to_service_config();
        prop_assert_eq!(&again.json, &exported.json);
        prop_assert_eq!(&again.omitted, &Vec::<String>::new());
        prop_assert_eq!(from_service_config(&again.json), read);
    }

    #[test]
    fn no_text_and_no_override_makes_the_parser_panic(text in ".*|([a-z]+ = [\\[\"{0-9]*\n?){0,4}", set in ".*") {
        if let Err(error) = Scenario::parse("a.toml", &text, &[set]) {
            prop_assert!(!error.to_string().is_empty());
        }
    }

    #[test]
    fn no_override_of_a_valid_file_makes_the_parser_panic(
        key in "(client|fault|load|servers|workload)(\\.([0-3]|retry|rate|kind|sizes|é)){0,3}",
        value in ".*|[0-9]{1,30}|\\[.*\\]|\\{ ?(a = 1)? ?\\}",
    ) {
        let valid = "name = 'a'\nduration = '9s'\nload.rate = 1\n[[fault]]\nat = '1s'\nkind = 'reset'\ntarget = '*'";
        if let Err(error) = Scenario::parse("a.toml", valid, &[format!("{key}={value}")]) {
            prop_assert!(!error.to_string().is_empty());
        }
    }
}

const EXAMPLE: &str = include_str!("../example.toml");

#[test]
fn the_smallest_scenario_resolves_to_the_documented_defaults() {
    let smallest = "name = 'story'\nduration = '90s'\n[load]\nrate = 5";
    insta::assert_snapshot!("defaults", Scenario::parse("smallest.toml", smallest, &[]).unwrap().to_toml());
}

#[test]
fn the_formats_own_example_resolves_and_reads_back() {
    let scenario = Scenario::parse("example.toml", EXAMPLE, &[]).unwrap();
    let text = scenario.to_toml();
    insta::assert_snapshot!("example", text);
    assert_eq!(Scenario::parse("written.toml", &text, &[]).unwrap(), scenario);
}

#[test]
fn a_crash_restarts_after_its_own_time_or_else_the_servers() {
    let crash = |own: &str| {
        let text = format!(
            "name = 'a'\nduration = '9s'\nload.rate = 1\nservers.restart_after = '2s'\n\
             [[fault]]\nat = '1s'\nkind = 'crash'\ntarget = 'server-1'\n{own}"
        );
        Scenario::parse("a.toml", &text, &[]).unwrap().faults.remove(0).kind
    };
    assert_eq!(crash(""), FaultKind::Crash { restart_after: Some(Duration::from_secs(2)) });
    assert_eq!(crash("restart_after = '5s'"), FaultKind::Crash { restart_after: Some(Duration::from_secs(5)) });
}

#[test]
fn targets_are_a_name_a_list_or_every_link() {
    let targets = |target: &str| {
        let text = format!(
            "name = 'a'\nduration = '9s'\nload.rate = 1\nservers.replicas = 3\n\
             [[fault]]\nat = '9s'\nkind = 'reset'\ntarget = {target}"
        );
        Scenario::parse("a.toml", &text, &[]).unwrap().faults.remove(0).targets
    };
    assert_eq!(targets("'server-1'"), [1]);
    assert_eq!(targets("['server-2', 'server-0']"), [0, 2]);
    assert_eq!(targets("'*'"), [0, 1, 2]);
}

/// Calls `visit` with the path of every key that a file may have, its declaration, and what has to be set beside it.
fn for_each_key(
    table: &TableInfo,
    path: &str,
    beside: &[String],
    visit: &mut impl FnMut(&str, &dyn KeyInfo, &[String]),
) {
    let prefix = if path.is_empty() { String::new() } else { format!("{path}.") };
    for key in table.keys {
        visit(&format!("{prefix}{}", key.name()), *key, beside);
    }
    if let Some(kinds) = table.kinds {
        for (name, kind) in kinds.variants {
            let mut beside = beside.to_vec();
            beside.push(format!("{prefix}{}={name}", kinds.key));
            let required = kind.keys.iter().filter(|key| key.is_required());
            beside.extend(required.map(|key| format!("{prefix}{}={}", key.name(), key.example())));
            kind.keys.iter().for_each(|key| visit(&format!("{prefix}{}", key.name()), *key, &beside));
        }
    }
    for (name, presence, inner) in table.tables {
        let inner_path = format!("{prefix}{name}");
        match presence {
            Presence::List => for_each_key(inner, &format!("{inner_path}.0"), beside, visit),
            Presence::Always | Presence::Optional | Presence::ByProfile => {
                for_each_key(inner, &inner_path, beside, visit)
            }
        }
    }
}

/// A scenario with services, whose first edge is one between them.
const SERVICES: &str = "name = \"keys\"\nduration = \"1m\"\nworkload = { kind = \"app\" }\nload = { rate = 5 }\n[[service]]\nname = \"till\"\n[[service]]\nname = \"stock\"\n[[edge]]\nfrom = \"till\"\nto = \"stock\"\n[[edge]]\nfrom = \"client\"\nto = \"till\"\n";

#[test]
fn every_key_is_read_back_with_its_default_its_example_and_its_samples() {
    let file = "name = \"keys\"\nduration = \"1m\"\n[load]\nrate = 5\n[[load.stage]]\nduration = \"1s\"\n[[load.request]]\nname = \"a\"\n[[fault]]\nat = \"1s\"\nkind = \"reset\"\ntarget = \"server-0\"\n[[change]]\nat = \"1s\"\nsetting = \"client.retry.max_attempts\"\nto = 1\n[[slo]]\nname = \"a\"\nobjective = 0.9\n";
    let mut keys = 0;
    for_each_key(TABLE, "", &[], &mut |path, key, beside| {
        // An expectation's bounds depend on its metric, a service config is a file, and names are those of others; all have tests of their own.
        let inner = path.strip_prefix("edge.0.");
        let is_name = ["service.0.name", "edge.0.from", "edge.0.to"].contains(&path);
        if is_name || path.starts_with("expect") || inner.unwrap_or(path).starts_with("client.service_config") {
            return;
        }
        let file = if path.starts_with("service") || inner.is_some() { SERVICES } else { file };
        let (of_edge, path) = (if inner.is_some() { "edge.0." } else { "" }, inner.unwrap_or(path));
        keys += 1;
        let values = key.samples().iter().map(|sample| (*sample).to_owned());
        for value in values.chain(key.default_text()).chain(Some(key.example()).filter(|text| !text.is_empty())) {
            let mut overrides = beside.to_vec();
            // What single keys need beside them.
            if path.starts_with("client.hedging") || path.starts_with("client.adaptive_hedging") {
                overrides.push(format!("{of_edge}client.retry.max_attempts=1"));
            }
            if path.starts_with("client.adaptive_hedging") {
                overrides.push(format!("{of_edge}client.hedging=on"));
            }
            if path.starts_with("client.adaptive_concurrency") && key.doc().contains("`aimd`:") {
                overrides.push(format!("{of_edge}client.adaptive_concurrency.algorithm=aimd"));
            }
            if path.starts_with("load.think_time") {
                overrides.push("load.users=3".into());
            }
            if path == "client.fallback.kind" {
                overrides.push(format!("{of_edge}client.cache=on"));
            }
            if path == "slo.0.request" {
                overrides.push(format!("load.request.0.name={value}"));
            }
            // A key of a kind of requests is of one workload, whose name is in its documentation.
            if path.starts_with("load.request") {
                let workloads = ["dfs", "backend"].into_iter().find(|name| key.doc().contains(&format!("`{name}`")));
                overrides.extend(workloads.map(|name| format!("workload.kind={name}")));
            }
            overrides.push(format!("{of_edge}{path}={value}"));
            let scenario =
                Scenario::parse("keys.toml", file, &overrides).unwrap_or_else(|error| panic!("{overrides:?}\n{error}"));
            assert_eq!(Scenario::parse("written.toml", &scenario.to_toml(), &[]).unwrap(), scenario, "{overrides:?}");
        }
    });
    assert!(keys > 80, "{keys}");
}
