//! A client's service config as a scenario reads it: what it comes to, and what is said of a wrong one.

use std::{fs, time::Duration};

use kernel::{
    client::settings::{Commit, PastDeadline},
    policy::{Hedging, OutlierDetection, RetryThrottling, SuccessRate},
    scenario::{Balancing, Jitter, Retry, Scenario, ScenarioError},
    status::Code,
};
use tempfile::TempDir;

/// A scenario beside a file `config.json`, with `more` in it.
fn load(config: &str, more: &str) -> Result<Scenario, ScenarioError> {
    let folder = TempDir::new().unwrap();
    let text = format!("name = 'a'\nduration = '9s'\nload.rate = 1\nclient.service_config = 'config.json'\n{more}\n");
    fs::write(folder.path().join("config.json"), config).unwrap();
    fs::write(folder.path().join("scenario.toml"), text).unwrap();
    Scenario::load(&folder.path().join("scenario.toml"), &[])
}

/// The message, without the folder's name.
fn message(config: &str, more: &str) -> String {
    let text = load(config, more).expect_err(config).to_string();
    text.lines().filter(|line| !line.contains("-->")).collect::<Vec<_>>().join("\n")
}

/// The examples of gRPC A6.
const RETRY: &str = r#"{ "methodConfig": [{ "name": [{ "service": "shop.Cart" }], "waitForReady": true, "timeout": "7.5s",
    "retryPolicy": { "maxAttempts": 4, "initialBackoff": ".1s", "maxBackoff": "1s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE"] } }],
    "retryThrottling": { "maxTokens": 10, "tokenRatio": 0.1 },
    "healthCheckConfig": { "serviceName": "shop.Cart" },
    "loadBalancingConfig": [{ "xds_wrr_locality": {} }, { "round_robin": {} }] }"#;

#[test]
fn the_retry_example_of_the_specification_becomes_the_clients_settings() {
    let client = load(RETRY, "").unwrap().client;
    let retry = Retry {
        max_attempts: 4,
        initial_backoff: Duration::from_millis(100),
        max_backoff: Duration::from_secs(1),
        backoff_multiplier: 2.0,
        jitter: Jitter::Proportional,
        retryable_status_codes: vec![Code::Unavailable],
        prefer_other_server: false,
        commit: Commit::Headers,
        transparent: true,
        past_deadline: PastDeadline::DeadlineExceeded,
    };
    assert_eq!((client.retry, client.load_balancing, client.wait_for_ready), (retry, Balancing::RoundRobin, true));
    assert_eq!(client.policies.retry_throttling, Some(RetryThrottling { max_tokens: 10.0, token_ratio: 0.1 }));
    // gRPC has no timeout of an attempt.
    assert_eq!((client.deadline, client.attempt_timeout), (Duration::from_millis(7_500), Duration::from_millis(7_500)));
}

#[test]
fn the_hedging_example_of_the_specification_becomes_the_clients_settings() {
    let hedged = r#"{ "methodConfig": [{ "name": [{}], "hedgingPolicy": { "maxAttempts": 9, "hedgingDelay": "0.5s",
        "nonFatalStatusCodes": ["UNAVAILABLE", 13, "aborted"] } }] }"#;
    let client = load(hedged, "").unwrap().client;
    let hedging = Hedging {
        max_attempts: 5,
        hedging_delay: Duration::from_millis(500),
        non_fatal_status_codes: vec![Code::Unavailable, Code::Internal, Code::Aborted],
    };
    assert_eq!((client.policies.hedging, client.retry.max_attempts), (Some(hedging), 1));
}

#[test]
fn an_empty_config_is_grpcs_defaults() {
    let client = load("{}", "").unwrap().client;
    assert_eq!((client.retry.max_attempts, client.load_balancing), (1, Balancing::PickFirst));
    assert_eq!(client.attempt_timeout, client.deadline);
}

#[test]
fn outlier_detection_has_the_policy_below_it() {
    let config = r#"{ "loadBalancingConfig": [{ "outlier_detection_experimental": { "interval": "1s",
        "maxEjectionPercent": 50, "successRateEjection": { "stdevFactor": 1000 },
        "childPolicy": [{ "round_robin": {} }] } }] }"#;
    let client = load(config, "").unwrap().client;
    let detection = OutlierDetection {
        interval: Duration::from_secs(1),
        max_ejection_percent: 50.0,
        consecutive_errors: 0,
        success_rate: Some(SuccessRate { stdev_factor: 1_000, ..SuccessRate::default() }),
        ..OutlierDetection::default()
    };
    assert_eq!((client.load_balancing, client.policies.outlier_detection), (Balancing::RoundRobin, Some(detection)));
}

#[test]
fn the_resolved_scenario_needs_no_file() {
    let scenario = load(RETRY, "").unwrap();
    assert_eq!(Scenario::parse("resolved.toml", &scenario.to_toml(), &[]).unwrap(), scenario);
}

#[test]
fn a_method_is_looked_up_as_grpc_does() {
    let config = r#"{ "methodConfig": [
        { "name": [{ "service": "shop.Cart", "method": "Add" }], "timeout": "1s" },
        { "name": [{ "service": "shop.Cart" }], "timeout": "2s" },
        { "name": [{}], "timeout": "3s" }] }"#;
    let deadline = |method: &str| {
        load(config, &format!("client.service_config_method = '{method}'")).unwrap().client.deadline.as_secs()
    };
    assert_eq!(["shop.Cart/Add", "shop.Cart/Clear", "shop.Cart", "shop.Stock/Get"].map(deadline), [1, 2, 2, 3]);
}

#[test]
fn the_error_of_a_wrong_config_has_a_mistake_a_place_and_a_remedy() {
    let method = |inside: &str| format!(r#"{{ "methodConfig": [{{ "name": [{{}}], {inside} }}] }}"#);
    let retry = |inside: &str| {
        let rest = r#""initialBackoff": "1s", "maxBackoff": "1s", "retryableStatusCodes": [14]"#;
        method(&format!(r#""retryPolicy": {{ {inside}, {rest} }}"#))
    };
    let wrong = [
        "{".to_owned(),
        "[]".to_owned(),
        r#"{ "methodConfigs": [] }"#.to_owned(),
        method(r#""timeout": "5""#),
        method(r#""timeout": 5"#),
        method(r#""maxRequestMessageBytes": 5"#),
        method(r#""waitForReady": "yes""#),
        method(r#""retryPolicy": {}, "hedgingPolicy": {}"#),
        method(r#""hedgingPolicy": { "maxAttempts": 2, "nonFatalStatusCodes": ["BROKEN"] }"#),
        retry(r#""maxAttempts": 1, "backoffMultiplier": 2"#),
        retry(r#""maxAttempts": "4", "backoffMultiplier": 2"#),
        retry(r#""maxAttempts": 4"#),
        r#"{ "retryThrottling": { "maxTokens": 0, "tokenRatio": 0.1 } }"#.to_owned(),
        r#"{ "loadBalancingConfig": [{ "grpclb": {} }, { "ring_hash_experimental": {} }] }"#.to_owned(),
        r#"{ "loadBalancingConfig": [{ "pick_first": { "shuffleAddressList": true } }] }"#.to_owned(),
        r#"{ "methodConfig": [{ "name": [{ "service": "a" }] }, { "name": [{ "service": "b", "method": "C" }] }] }"#
            .to_owned(),
    ];
    let messages: Vec<_> = wrong.iter().map(|config| message(config, "")).collect();
    insta::assert_snapshot!("service_config", messages.join("\n\n"));
}

#[test]
fn what_the_scenario_says_too_is_a_contradiction_that_names_both() {
    let double = [
        "client.deadline = '5s'",
        "client.wait_for_ready = true",
        "client.load_balancing.policy = 'random'",
        "client.retry.max_attempts = 2",
        "client.hedging.max_attempts = 2",
        "client.retry_throttling.max_tokens = 5",
    ];
    let messages: Vec<_> = double.iter().map(|more| message(RETRY, more)).collect();
    insta::assert_snapshot!("service_config_contradictions", messages.join("\n\n"));
    let no_file = Scenario::parse(
        "a.toml",
        "name = 'a'\nduration = '9s'\nload.rate = 1\nclient.service_config = 'nowhere.json'",
        &[],
    );
    assert!(no_file.unwrap_err().to_string().contains("it is looked for at nowhere.json"));
}
