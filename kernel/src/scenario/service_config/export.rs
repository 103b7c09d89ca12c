//! The way back: the settings of a client as a gRPC service config.
//!
//! What has no place in a service config is found by reading the config back: each setting that then has another value.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Map, Value, json};

use super::{
    super::{Balancing, Client},
    ServiceConfig,
    balancers::CHOICE_COUNT_MAX,
    methods::MAX_ATTEMPTS,
};
use crate::{
    client::settings::HealthMethod,
    json::pretty,
    policy::{FailurePercentage, OutlierDetection, RetryThrottling, SuccessRate},
    settings::{
        source::join,
        table::Settings,
        toml_writer::{TomlWriter, string},
    },
    status::Code,
};

/// The shortest backoff of gRPC's core, which counts in milliseconds and refuses 0.
const BACKOFF_MIN: Duration = Duration::from_millis(1);

/// Tables whose further keys depend on one of them: if that one has no place, the others are not named, too.
const DECIDING_KEYS: [(&str, &str); 1] = [("client.load_balancing", "policy")];

/// A client's settings as a service config.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceConfigExport {
    /// The service config, which every gRPC client accepts.
    pub json: String,
    /// A sentence for each setting that has no place in a service config.
    pub omitted: Vec<String>,
    /// A sentence for each part that only some of gRPC's implementations read.
    pub notes: Vec<String>,
}

impl Client {
    /// Returns the settings as a gRPC service config for all methods. Read back, it gives the same settings, but for the
    /// omitted ones.
    ///
    /// ```
    /// use kernel::scenario::Scenario;
    ///
    /// let text = "name = \"short\"\nduration = \"10s\"\nload.rate = 5\nclient.retry.jitter = \"full\"\n";
    /// let export = Scenario::parse("short.toml", text, &[])?.client.to_service_config();
    /// assert!(export.json.contains("\"maxAttempts\": 3"));
    /// assert!(export.omitted.iter().any(|omitted| omitted.starts_with("client.retry.jitter = \"full\"")));
    /// # Ok::<(), kernel::scenario::ScenarioError>(())
    /// ```
    ///
    /// # Panics
    ///
    /// Panics if a setting is beyond its bounds, which no scenario that was read has.
    pub fn to_service_config(&self) -> ServiceConfigExport {
        let mut document = Map::new();
        document.insert("methodConfig".into(), json!([method_config(self)]));
        document.insert("loadBalancingConfig".into(), load_balancing(self));
        if let Some(RetryThrottling { max_tokens, token_ratio }) = self.policies.retry_throttling {
            // gRPC's core reads three digits and refuses 0.
            let ratio = ((token_ratio * 1_000.0).round() / 1_000.0).max(0.001);
            document.insert(
                "retryThrottling".into(),
                json!({ "maxTokens": max_tokens.ceil() as u64, "tokenRatio": ratio }),
            );
        }
        if let Some(check) = &self.health_check {
            let service = check.service.as_deref().unwrap_or_default();
            document.insert("healthCheckConfig".into(), json!({ "serviceName": service }));
        }
        let json = pretty(&Value::from(document));
        let read = ServiceConfig::parse(&json, None).expect("a service config that was written is valid");
        let omitted = omitted(self, &read.alone());
        ServiceConfigExport { json, omitted, notes: notes(self) }
    }
}

fn method_config(client: &Client) -> Value {
    let mut config = Map::new();
    config.insert("name".into(), json!([{}]));
    config.insert("timeout".into(), seconds(client.deadline));
    if client.wait_for_ready {
        config.insert("waitForReady".into(), true.into());
    }
    if let Some(bytes) = client.max_request_message_bytes {
        config.insert("maxRequestMessageBytes".into(), bytes.into());
    }
    if let Some(bytes) = client.max_response_message_bytes {
        config.insert("maxResponseMessageBytes".into(), bytes.into());
    }
    if let Some(hedging) = &client.policies.hedging {
        let policy = json!({
            "maxAttempts": hedging.max_attempts.min(MAX_ATTEMPTS as usize),
            "hedgingDelay": seconds(hedging.hedging_delay),
            "nonFatalStatusCodes": names(&hedging.non_fatal_status_codes),
        });
        config.insert("hedgingPolicy".into(), policy);
    } else if client.retry.max_attempts > 1 {
        let retry = &client.retry;
        let mut codes = retry.retryable_status_codes.clone();
        let mut policy = json!({
            "maxAttempts": retry.max_attempts.min(MAX_ATTEMPTS),
            "initialBackoff": seconds(retry.initial_backoff.max(BACKOFF_MIN)),
            "maxBackoff": seconds(retry.max_backoff.max(BACKOFF_MIN)),
            "backoffMultiplier": retry.backoff_multiplier,
        });
        if client.attempt_timeout < client.deadline {
            policy["perAttemptRecvTimeout"] = seconds(client.attempt_timeout);
            // gRPC retries an attempt that exceeds it whatever the codes are.
            if !codes.contains(&Code::DeadlineExceeded) {
                codes.push(Code::DeadlineExceeded);
            }
        }
        policy["retryableStatusCodes"] = names(&codes);
        config.insert("retryPolicy".into(), policy);
    }
    config.into()
}

fn load_balancing(client: &Client) -> Value {
    let balancer = match client.load_balancing {
        Balancing::PickFirst => json!([{ "pick_first": {} }]),
        // gRPC's core has no least_request, and takes the one behind it.
        Balancing::LeastRequest { choice_count } => json!([
            { "least_request_experimental": { "choiceCount": choice_count.min(CHOICE_COUNT_MAX) } },
            { "round_robin": {} },
        ]),
        // The nearest that there is: each server gets the same share.
        Balancing::RoundRobin | Balancing::Random | Balancing::PeakEwma { .. } => json!([{ "round_robin": {} }]),
    };
    match &client.policies.outlier_detection {
        None => balancer,
        Some(detection) => json!([{ "outlier_detection_experimental": outlier_detection(detection, balancer) }]),
    }
}

fn outlier_detection(detection: &OutlierDetection, child: Value) -> Value {
    let mut config = json!({
        "interval": seconds(detection.interval),
        "baseEjectionTime": seconds(detection.base_ejection_time),
        "maxEjectionTime": seconds(detection.max_ejection_time),
        "maxEjectionPercent": percent(detection.max_ejection_percent),
        "childPolicy": child,
    });
    if let Some(SuccessRate { stdev_factor, enforcement_percentage, minimum_hosts, request_volume }) =
        detection.success_rate
    {
        config["successRateEjection"] = json!({
            "stdevFactor": stdev_factor,
            "enforcementPercentage": percent(enforcement_percentage),
            "minimumHosts": minimum_hosts,
            "requestVolume": request_volume,
        });
    }
    if let Some(FailurePercentage { threshold, enforcement_percentage, minimum_hosts, request_volume }) =
        detection.failure_percentage
    {
        config["failurePercentageEjection"] = json!({
            "threshold": percent(threshold),
            "enforcementPercentage": percent(enforcement_percentage),
            "minimumHosts": minimum_hosts,
            "requestVolume": request_volume,
        });
    }
    config
}

/// Returns proto3's JSON form of a duration, such as `"0.5s"`.
fn seconds(duration: Duration) -> Value {
    let nanos = format!("{:09}", duration.subsec_nanos());
    let fraction = nanos.trim_end_matches('0');
    let point = if fraction.is_empty() { "" } else { "." };
    format!("{}{point}{fraction}s", duration.as_secs()).into()
}

/// Returns a percentage as gRPC has them: whole.
fn percent(percent: f64) -> Value {
    (percent.round() as u64).into()
}

fn names(codes: &[Code]) -> Value {
    codes.iter().map(|code| code.name()).collect::<Vec<_>>().into()
}

/// Describes what only some of gRPC's implementations read.
fn notes(client: &Client) -> Vec<String> {
    let hedges = client.policies.hedging.is_some();
    let times_out = !hedges && client.retry.max_attempts > 1 && client.attempt_timeout < client.deadline;
    let by_load = matches!(client.load_balancing, Balancing::LeastRequest { .. });
    let parts = [
        (hedges, "grpc-java reads hedgingPolicy; gRPC's core and grpc-go ignore it"),
        (
            times_out,
            "gRPC's core reads perAttemptRecvTimeout with the option `grpc.experimental.enable_hedging`; others ignore it",
        ),
        (by_load, "grpc-java and grpc-go have least_request_experimental; gRPC's core takes round_robin"),
    ];
    parts.into_iter().filter(|(is_there, _)| *is_there).map(|(_, note)| note.to_owned()).collect()
}

/// Describes each setting of `client` that is another one in `read`.
fn omitted(client: &Client, read: &Client) -> Vec<String> {
    let ours = settings(client);
    let theirs = settings(read);
    let decided =
        DECIDING_KEYS.map(|(table, key)| (table, ours.get(&join(table, key)) != theirs.get(&join(table, key))));
    let mut omitted = Vec::new();
    for (path, value) in &ours {
        let table = path.rsplit_once('.').map_or("", |(table, _)| table);
        let key = path.rsplit_once('.').map_or("", |(_, key)| key);
        // Without retries their other settings have no effect.
        let has_no_effect = table == "client.retry" && key != "max_attempts" && client.retry.max_attempts == 1;
        let is_decided = decided.contains(&(table, true)) && !DECIDING_KEYS.contains(&(table, key));
        if theirs.get(path) == Some(value) || has_no_effect || is_decided {
            continue;
        }
        if !theirs.keys().any(|path| path.rsplit_once('.').is_some_and(|(other, _)| other == table)) {
            let sentence = format!("[{table}] has no place in a service config");
            if omitted.last() != Some(&sentence) {
                omitted.push(sentence);
            }
            continue;
        }
        // An attempt that may last as long as its call has no limit of its own, in either.
        if path == "client.attempt_timeout" && client.attempt_timeout >= client.deadline {
            continue;
        }
        omitted.push(match theirs.get(path) {
            Some(other) => format!("{path} = {value} has no place in a service config, where it is {other}"),
            None => format!("{path} = {value} has no place in a service config"),
        });
    }
    omitted
}

/// Returns every setting of a client by its path, as TOML.
fn settings(client: &Client) -> BTreeMap<String, String> {
    let mut writer = TomlWriter::default();
    client.write(&mut writer, "client");
    let mut settings = BTreeMap::new();
    let mut table = String::new();
    for line in writer.into_text().lines() {
        if let Some(path) = line.strip_prefix('[').and_then(|line| line.strip_suffix(']')) {
            path.clone_into(&mut table);
        } else if let Some((key, value)) = line.split_once(" = ") {
            settings.insert(join(&table, key), value.to_owned());
        }
    }
    // Left out for its default.
    if client.health_check.as_ref().is_some_and(|check| check.method.is_none()) {
        settings.insert("client.health_check.method".to_owned(), string(HealthMethod::Check.name()));
    }
    settings
}
