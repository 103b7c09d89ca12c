//! `sim service-config`, and what a run says of the service config that it reads.

use std::fs;

use serde_json::Value;
use tempfile::TempDir;

use crate::command::{Ended, sim};

const SCENARIO: &str = "name = \"small\"\nduration = \"2s\"\n[load]\nrate = 5\n";

fn folder(files: &[(&str, &str)]) -> TempDir {
    let folder = TempDir::new().unwrap();
    files.iter().for_each(|(name, text)| fs::write(folder.path().join(name), text).unwrap());
    folder
}

#[test]
fn what_is_printed_is_a_service_config_and_what_has_no_place_in_it_is_said_beside() {
    let folder = folder(&[("small.toml", SCENARIO)]);
    let set = ["--set", "client.retry.max_attempts=4", "--set", "client.bulkhead=on"];
    let printed = Ended::after(sim(folder.path()).args(["service-config", "small.toml"]).args(set));
    assert_eq!(printed.code, Some(0), "{printed:?}");
    let config: Value = serde_json::from_str(&printed.stdout).unwrap();
    assert_eq!(config["methodConfig"][0]["retryPolicy"]["maxAttempts"], 4);
    assert!(
        printed.stderr.contains("note: [client.bulkhead] has no place in a service config\n"),
        "{}",
        printed.stderr
    );

    fs::write(folder.path().join("config.json"), &printed.stdout).unwrap();
    let read = ["--set", "client.service_config=config.json"];
    let again = Ended::after(sim(folder.path()).args(["service-config", "small.toml"]).args(read));
    assert_eq!((again.code, again.stdout), (Some(0), printed.stdout));
    assert!(!again.stderr.contains("no place"), "{}", again.stderr);
}

#[test]
fn a_field_that_grpc_ignores_is_a_warning_and_one_that_it_refuses_is_an_error_with_its_place() {
    let scenario = format!("{SCENARIO}[client]\nservice_config = \"config.json\"\n");
    let folder = folder(&[("small.toml", &scenario), ("config.json", r#"{ "comment": 1 }"#)]);
    let run = Ended::after(sim(folder.path()).args(["check", "small.toml"]));
    assert_eq!(run.code, Some(0));
    let warning = "\nwarning: service config config.json: comment: gRPC does not know this field and ignores it";
    assert!(run.stdout.contains(warning), "{}", run.stdout);
    let config = r#"{ "retryThrottling": { "maxTokens": 0.5, "tokenRatio": 0.1 } }"#;
    fs::write(folder.path().join("config.json"), config).unwrap();
    let run = Ended::after(sim(folder.path()).args(["service-config", "small.toml"]));
    assert_eq!((run.code, run.stdout.as_str()), (Some(2), ""));
    let message = "service config config.json: retryThrottling.maxTokens: 0.5 is refused by gRPC: failed to parse non-negative number";
    assert!(run.stderr.contains(message), "{}", run.stderr);
}
