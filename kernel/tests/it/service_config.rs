//! A client's service config as a scenario reads it: what it comes to, and what is said of a wrong one.

use std::{fs, path::Path, time::Duration};

use kernel::{
    client::settings::{Commit, HealthMethod, PastDeadline},
    policy::{AllEjected, Hedging, OutlierDetection, RetryThrottling, SuccessRate},
    scenario::{Balancing, HealthCheck, Jitter, Retry, Scenario, ScenarioError},
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
    let watched = HealthCheck {
        method: Some(HealthMethod::Watch),
        service: Some("shop.Cart".to_owned()),
        ..HealthCheck::default()
    };
    assert_eq!(client.health_check, Some(watched));
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
        all_ejected: AllEjected::Fail,
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

/// Returns the files of a folder of the corpus: their names and texts, in order of the names.
fn corpus(folder: &str) -> Vec<(String, String)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/service_configs").join(folder);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            (path.file_stem().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(&path).unwrap())
        })
        .collect();
    files.sort();
    files
}

/// The specification: `grpc/service_config/service_config.proto`, gRPC A6, A48 and A50. `real/tests/peers/service_configs.py`
/// compares the verdicts with gRPC's core.
#[test]
fn every_valid_config_of_the_corpus_is_read_and_needs_no_file_then() {
    let files = corpus("valid");
    assert!(files.len() >= 40, "{}", files.len());
    let mut notes = String::new();
    for (name, config) in files {
        let method = if name == "several_names" { "client.service_config_method = '/shop.Stock/Get'" } else { "" };
        let scenario = load(&config, method).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(Scenario::parse("resolved.toml", &scenario.to_toml(), &[]).unwrap(), scenario, "{name}");
        notes += &format!("{name}\n");
        scenario.warnings().iter().for_each(|warning| notes += &format!("    {warning}\n"));
    }
    insta::assert_snapshot!("service_config_notes", notes);
}

#[test]
fn every_config_of_the_corpus_that_grpc_refuses_is_refused_with_its_place_and_with_grpcs_words() {
    let files = corpus("refused");
    assert!(files.len() >= 20, "{}", files.len());
    let messages: Vec<_> = files
        .iter()
        .map(|(name, config)| format!("{name}\n    {}", message(config, "").lines().next().unwrap_or_default()))
        .collect();
    insta::assert_snapshot!("service_config_refused", messages.join("\n"));
}

#[test]
fn a_config_of_several_methods_needs_to_know_which_is_rehearsed() {
    let several =
        r#"{ "methodConfig": [{ "name": [{ "service": "a" }] }, { "name": [{ "service": "b", "method": "C" }] }] }"#;
    insta::assert_snapshot!("service_config", message(several, ""));
    let other = load(several, "client.service_config_method = 'c.Other/Get'").unwrap();
    assert_eq!(other.client.retry.max_attempts, 1);
    let expected = "service config config.json: methodConfig has no entry for `c.Other/Get`, so that gRPC's defaults apply: no \
                    retries, no timeout; it has `a`, `b/C`";
    assert_eq!(other.warnings(), [expected]);
}

/// gRPC's core: "We support up to 3 decimal digits".
#[test]
fn the_ratio_of_tokens_is_cut_after_three_digits() {
    let config = r#"{ "methodConfig": [{ "name": [{}], "hedgingPolicy": { "maxAttempts": 2 } }],
        "retryThrottling": { "maxTokens": 10, "tokenRatio": 0.1239 } }"#;
    let throttling = load(config, "").unwrap().client.policies.retry_throttling;
    assert_eq!(throttling, Some(RetryThrottling { max_tokens: 10.0, token_ratio: 0.123 }));
}

#[test]
fn a_timeout_of_an_attempt_is_the_attempts_limit_and_is_retried() {
    let config = r#"{ "methodConfig": [{ "name": [{}], "timeout": "2s", "retryPolicy": { "maxAttempts": 3, "initialBackoff": "0.1s",
        "maxBackoff": "1s", "backoffMultiplier": 0.5, "perAttemptRecvTimeout": "0.5s",
        "retryableStatusCodes": ["UNAVAILABLE"] } }] }"#;
    let client = load(config, "").unwrap().client;
    assert_eq!((client.deadline, client.attempt_timeout), (Duration::from_secs(2), Duration::from_millis(500)));
    assert_eq!(client.retry.retryable_status_codes, [Code::Unavailable, Code::DeadlineExceeded]);
    assert_eq!(client.retry.backoff_multiplier, 0.5);
}

/// A48: "choice_count … capped at 10".
#[test]
fn the_choices_of_least_request_are_ten_at_most() {
    let config = r#"{ "loadBalancingConfig": [{ "least_request_experimental": { "choiceCount": 100 } }] }"#;
    assert_eq!(load(config, "").unwrap().client.load_balancing, Balancing::LeastRequest { choice_count: 10 });
}

/// Without a balancer gRPC takes pick_first, with which no server has anything to warm up for.
#[test]
fn a_policy_of_the_scenario_that_the_config_contradicts_is_refused() {
    let error = load("{}", "client.slow_start = 'on'").unwrap_err().to_string();
    assert!(error.contains("exclude each other"), "{error}");
    let error = load("{}", "client.retry_budget = 'on'").unwrap_err().to_string();
    assert!(error.contains("nothing to bound"), "{error}");
}

#[test]
fn what_has_no_place_in_a_service_config_is_named() {
    let text = "name = 'a'\nduration = '9s'\nload.rate = 1\n[client]\nattempt_timeout = '1s'\n\
        load_balancing = { policy = 'peak_ewma' }\ncircuit_breaker = 'on'\n\
        outlier_detection = { failure_percentage = { threshold = 85.5 } }\nretry = { max_attempts = 7 }\n";
    let exported = Scenario::parse("a.toml", text, &[]).unwrap().client.to_service_config();
    let said = [exported.omitted.join("\n"), exported.notes.join("\n")].join("\n\n");
    insta::assert_snapshot!("service_config_export", format!("{}\n{said}", exported.json));
}

#[test]
fn health_checks_of_a_service_config_are_settings_that_a_scenario_can_change() {
    let health_check = |config, more| load(config, more).unwrap().client.health_check;
    let watched = health_check(RETRY, "").unwrap();
    assert_eq!(health_check(RETRY, "client.health_check = 'off'"), None);
    let on = health_check(RETRY, "client.health_check = 'on'");
    assert_eq!(on.as_ref(), Some(&watched));
    let checked = health_check(RETRY, "client.health_check = { method = 'check', interval = '2s' }").unwrap();
    assert_eq!(checked, HealthCheck { method: Some(HealthMethod::Check), interval: Duration::from_secs(2), ..watched });
    // As gRPC's core: without a service nothing is asked.
    assert_eq!(health_check(r#"{ "healthCheckConfig": {} }"#, ""), None);
    let exported = load(RETRY, "").unwrap().client.to_service_config().json;
    assert_eq!(health_check(&exported, ""), Some(HealthCheck { service: Some("shop.Cart".to_owned()), ..on.unwrap() }));
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
        "client.health_check.service = 'shop.Stock'",
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
