//! gRPC's service config: `client.service_config = "file.json"`, a production client's own file.
//!
//! The file's entry of one method becomes the client's settings, with gRPC's defaults for what it leaves out, not this
//! format's: no retry without a retryPolicy, `pick_first` without a loadBalancingConfig, and, since gRPC has none, no timeout
//! of an attempt but the call's. The resolved scenario spells them out and names no file. Whatever the scenario sets too is a
//! contradiction; what is not supported is an error that names it.
//!
//! The rehearsed method stands for the one method of the file, or for that of `client.service_config_method`, looked up as
//! gRPC does: the method's own entry, else its service's, else the one for all.

mod json;

use std::path::Path;

use super::{Balancing, Client, Jitter, Retry};
use crate::{
    client::settings::{SERVICE_CONFIG, SERVICE_CONFIG_METHOD},
    input,
    policy::{FailurePercentage, Hedging, OutlierDetection, RetryThrottling, SuccessRate},
    settings::{limits, problem::Problem, table::TableReader},
    visible::Visible,
};
use json::{Fault, Node};

/// gRPC A6's cap, which a client takes higher values for.
const MAX_ATTEMPTS: usize = 5;

/// Applies the service config that `[client]` names, if it does. The name is relative to `base`.
pub(super) fn apply(table: &TableReader<'_, '_>, base: &Path, client: &mut Client) -> Result<(), Problem> {
    let Some(span) = table.span(SERVICE_CONFIG.name) else {
        return match table.span(SERVICE_CONFIG_METHOD.name) {
            None => Ok(()),
            Some(span) => Err(Problem::at(
                span,
                "`service_config_method` chooses among the methods of a \
                `service_config`, and there is none",
            )
            .help("add service_config = \"file.json\", or leave this out")),
        };
    };
    let name = SERVICE_CONFIG.read(table)?.unwrap_or_default();
    let method = SERVICE_CONFIG_METHOD.read(table)?;
    let wrong = |what: String| Problem::at(span.clone(), format!("service config {name}: {what}"));
    let path = base.join(&name);
    let text = input::read_text_within(&path, limits::FILE_BYTES_MAX).map_err(|error| {
        wrong(format!("cannot be read: {error}")).help(format!("it is looked for at {}", path.visible()))
    })?;
    let config = ServiceConfig::parse(&text, method.as_deref()).map_err(wrong)?;
    refuse_double(table, &config, &name)?;
    config.settle(table, client);
    Ok(())
}

/// Reads a service config for the sake of its errors.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn read_service_config(text: &str, method: Option<&str>) -> Result<(), String> {
    ServiceConfig::parse(text, method).map(drop)
}

/// The settings of the method.
#[derive(Debug, Default, PartialEq)]
struct ServiceConfig {
    retry: Option<Retry>,
    hedging: Option<Hedging>,
    throttling: Option<RetryThrottling>,
    timeout: Option<std::time::Duration>,
    wait_for_ready: Option<bool>,
    balancing: Option<Balancing>,
    outlier_detection: Option<OutlierDetection>,
}

impl ServiceConfig {
    /// Reads a file's text, of which `method` is the rehearsed method. An error says what is wrong.
    fn parse(text: &str, method: Option<&str>) -> Result<Self, String> {
        let document = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        Self::from_json(&Node::root(&document), method).map_err(|fault| fault.0)
    }

    fn from_json(root: &Node<'_>, method: Option<&str>) -> Result<Self, Fault> {
        let known =
            ["methodConfig", "retryThrottling", "loadBalancingConfig", "loadBalancingPolicy", "healthCheckConfig"];
        root.keys(&known, &[])?;
        let mut config = Self::default();
        if let Some(methods) = root.get("methodConfig") {
            config = of_method(&choose(&methods.items()?, method)?)?;
        }
        if let Some(throttling) = root.get("retryThrottling") {
            throttling.keys(&["maxTokens", "tokenRatio"], &[])?;
            config.throttling = Some(RetryThrottling {
                max_tokens: throttling.required("maxTokens")?.number(0.001, 1_000.0)?,
                token_ratio: throttling.required("tokenRatio")?.number(0.001, 1_000.0)?,
            });
        }
        if let Some(health) = root.get("healthCheckConfig") {
            // Health is always checked here, that of the one service there is.
            health.keys(&["serviceName"], &[])?;
            health.get("serviceName").map(|name| name.text()).transpose()?;
        }
        if let Some(policy) = root.get("loadBalancingPolicy") {
            config.balancing = Some(match policy.text()?.to_lowercase().as_str() {
                "round_robin" => Balancing::RoundRobin,
                "pick_first" => Balancing::PickFirst,
                other => return Err(policy.fault(format!("the policy `{other}` is not supported"))),
            });
        }
        if let Some(policies) = root.get("loadBalancingConfig") {
            let (balancing, outlier_detection) = balancing(&policies)?;
            (config.balancing, config.outlier_detection) = (Some(balancing), outlier_detection);
        }
        Ok(config)
    }

    /// Returns the client with what the file says, and with gRPC's defaults for what it does not.
    fn settle(self, table: &TableReader<'_, '_>, client: &mut Client) {
        let has_retries = table.table("retry").first_key().is_some();
        client.deadline = self.timeout.unwrap_or(client.deadline);
        if table.span("attempt_timeout").is_none() {
            client.attempt_timeout = client.deadline;
        }
        client.wait_for_ready = self.wait_for_ready.unwrap_or(client.wait_for_ready);
        if table.table("load_balancing").span("policy").is_none() {
            client.load_balancing = self.balancing.unwrap_or(Balancing::PickFirst);
        }
        if let Some(retry) = self.retry {
            // What a service config does not say is what the profile says.
            let Retry { prefer_other_server, commit, transparent, past_deadline, .. } = client.retry;
            client.retry = Retry { prefer_other_server, commit, transparent, past_deadline, ..retry };
        } else if !has_retries {
            client.retry.max_attempts = 1;
        }
        let policies = &mut client.policies;
        policies.hedging = self.hedging.or(policies.hedging.take());
        policies.retry_throttling = self.throttling.or(policies.retry_throttling.take());
        policies.outlier_detection = self.outlier_detection.or(policies.outlier_detection.take());
    }
}

/// Refuses a setting that both the service config and the scenario have.
fn refuse_double(table: &TableReader<'_, '_>, config: &ServiceConfig, name: &str) -> Result<(), Problem> {
    let retries = config.retry.is_some() || config.hedging.is_some();
    let policy = table.table("load_balancing").span("policy");
    let double = [
        ("timeout", "`deadline` in [client]", table.span("deadline").filter(|_| config.timeout.is_some())),
        (
            "waitForReady",
            "`wait_for_ready` in [client]",
            table.span("wait_for_ready").filter(|_| config.wait_for_ready.is_some()),
        ),
        ("loadBalancingConfig", "`policy` in [client.load_balancing]", policy.filter(|_| config.balancing.is_some())),
        ("its retryPolicy or hedgingPolicy", "[client.retry]", table.table("retry").first_key().filter(|_| retries)),
        ("its retryPolicy or hedgingPolicy", "[client.hedging]", table.span("hedging").filter(|_| retries)),
        (
            "retryThrottling",
            "[client.retry_throttling]",
            table.span("retry_throttling").filter(|_| config.throttling.is_some()),
        ),
        (
            "outlier_detection_experimental",
            "[client.outlier_detection]",
            table.span("outlier_detection").filter(|_| config.outlier_detection.is_some()),
        ),
    ];
    for (theirs, ours, span) in double {
        if let Some(span) = span {
            let message = format!("{ours} and {theirs} in the service config {name} say the same thing twice");
            return Err(Problem::at(span, message).help("leave one of them out"));
        }
    }
    Ok(())
}

/// Returns the entry of `methodConfig` for `method`, written `package.Service/Method` or `package.Service`; the only one
/// without.
fn choose<'a>(entries: &[Node<'a>], method: Option<&str>) -> Result<Node<'a>, Fault> {
    let mut names = Vec::new();
    for entry in entries {
        for name in entry.required("name")?.items()? {
            name.keys(&["service", "method"], &[])?;
            let part = |key| name.get(key).map(|part| part.text()).transpose();
            let service = part("service")?.unwrap_or_default();
            let method = part("method")?.unwrap_or_default();
            names.push((if method.is_empty() { service } else { format!("{service}/{method}") }, entry));
        }
    }
    let found = |wanted: &str| names.iter().find(|(name, _)| name == wanted).map(|(_, entry)| (*entry).clone());
    match (method, entries) {
        (Some(method), _) => {
            let service = method.split_once('/').map_or(method, |(service, _)| service);
            found(method)
                .or_else(|| found(service))
                .or_else(|| found(""))
                .ok_or_else(|| Fault(format!("methodConfig has no entry for `{method}`; it has {}", listed(&names))))
        }
        (None, [only]) => Ok(only.clone()),
        (None, _) => Err(Fault(format!(
            "methodConfig has {} entries; say which is rehearsed with service_config_method, one of {}",
            entries.len(),
            listed(&names)
        ))),
    }
}

fn listed(names: &[(String, &Node<'_>)]) -> String {
    let quoted =
        names.iter().map(|(name, _)| if name.is_empty() { "the one for all".into() } else { format!("`{name}`") });
    quoted.collect::<Vec<_>>().join(", ")
}

fn of_method(entry: &Node<'_>) -> Result<ServiceConfig, Fault> {
    let unsupported = ["maxRequestMessageBytes", "maxResponseMessageBytes"];
    entry.keys(&["name", "waitForReady", "timeout", "retryPolicy", "hedgingPolicy"], &unsupported)?;
    if let (Some(_), Some(hedging)) = (entry.get("retryPolicy"), entry.get("hedgingPolicy")) {
        return Err(hedging.fault("`hedgingPolicy` and `retryPolicy` exclude each other (gRPC A6); leave one out"));
    }
    Ok(ServiceConfig {
        retry: entry.get("retryPolicy").map(|policy| retry(&policy)).transpose()?,
        hedging: entry.get("hedgingPolicy").map(|policy| hedging(&policy)).transpose()?,
        timeout: entry.get("timeout").map(|timeout| timeout.duration(false)).transpose()?,
        wait_for_ready: entry.get("waitForReady").map(|value| value.boolean()).transpose()?,
        ..ServiceConfig::default()
    })
}

fn retry(policy: &Node<'_>) -> Result<Retry, Fault> {
    let known = ["maxAttempts", "initialBackoff", "maxBackoff", "backoffMultiplier", "retryableStatusCodes"];
    policy.keys(&known, &["perAttemptRecvTimeout"])?;
    Ok(Retry {
        max_attempts: policy.required("maxAttempts")?.count(2, 1_000_000)?.min(MAX_ATTEMPTS) as u32,
        initial_backoff: policy.required("initialBackoff")?.duration(false)?,
        max_backoff: policy.required("maxBackoff")?.duration(false)?,
        backoff_multiplier: policy.required("backoffMultiplier")?.number(1.0, 1_000.0)?,
        jitter: Jitter::Proportional,
        retryable_status_codes: policy.required("retryableStatusCodes")?.codes()?,
        ..Retry::default()
    })
}

fn hedging(policy: &Node<'_>) -> Result<Hedging, Fault> {
    policy.keys(&["maxAttempts", "hedgingDelay", "nonFatalStatusCodes"], &[])?;
    let delay = policy.get("hedgingDelay").map(|delay| delay.duration(true)).transpose()?;
    Ok(Hedging {
        max_attempts: policy.required("maxAttempts")?.count(2, 1_000_000)?.min(MAX_ATTEMPTS),
        hedging_delay: delay.unwrap_or_default(),
        non_fatal_status_codes: policy.required("nonFatalStatusCodes")?.codes()?,
    })
}

/// Returns the first policy of the list that is supported, as gRPC takes it.
fn balancing(policies: &Node<'_>) -> Result<(Balancing, Option<OutlierDetection>), Fault> {
    let mut unsupported = Vec::new();
    for entry in policies.items()? {
        let (name, config) = entry.only_key()?;
        match name {
            "round_robin" => {
                config.keys(&[], &[])?;
                return Ok((Balancing::RoundRobin, None));
            }
            "pick_first" => {
                config.keys(&["shuffleAddressList"], &[])?;
                if let Some(shuffle) = config.get("shuffleAddressList")
                    && shuffle.boolean()?
                {
                    return Err(shuffle.fault("shuffling is not supported; the servers are asked in their order"));
                }
                return Ok((Balancing::PickFirst, None));
            }
            "outlier_detection_experimental" => {
                let (child, below) = balancing(&config.required("childPolicy")?)?;
                if below.is_some() {
                    return Err(config.fault("an outlier detection within another is not supported"));
                }
                return Ok((child, Some(outlier_detection(&config)?)));
            }
            other => unsupported.push(format!("`{other}`")),
        }
    }
    Err(policies.fault(format!(
        "none of its policies is supported: {}; supported are `round_robin`, `pick_first` and \
         `outlier_detection_experimental`",
        unsupported.join(", ")
    )))
}

fn outlier_detection(config: &Node<'_>) -> Result<OutlierDetection, Fault> {
    let known = [
        "interval",
        "baseEjectionTime",
        "maxEjectionTime",
        "maxEjectionPercent",
        "successRateEjection",
        "failurePercentageEjection",
        "childPolicy",
    ];
    config.keys(&known, &[])?;
    // gRPC has no ejection for errors in a row.
    let default = OutlierDetection { consecutive_errors: 0, ..OutlierDetection::default() };
    let time = |key, default| config.get(key).map_or(Ok(default), |node| node.duration(false));
    Ok(OutlierDetection {
        interval: time("interval", default.interval)?,
        base_ejection_time: time("baseEjectionTime", default.base_ejection_time)?,
        max_ejection_time: time("maxEjectionTime", default.max_ejection_time)?,
        max_ejection_percent: config.percent_or("maxEjectionPercent", default.max_ejection_percent)?,
        success_rate: config.get("successRateEjection").map(|node| success_rate(&node)).transpose()?,
        failure_percentage: config.get("failurePercentageEjection").map(|node| failures(&node)).transpose()?,
        ..default
    })
}

fn success_rate(node: &Node<'_>) -> Result<SuccessRate, Fault> {
    node.keys(&["stdevFactor", "enforcementPercentage", "minimumHosts", "requestVolume"], &[])?;
    let default = SuccessRate::default();
    Ok(SuccessRate {
        stdev_factor: node.count_or("stdevFactor", default.stdev_factor)?,
        enforcement_percentage: node.percent_or("enforcementPercentage", default.enforcement_percentage)?,
        minimum_hosts: node.count_or("minimumHosts", default.minimum_hosts)?,
        request_volume: node.count_or("requestVolume", default.request_volume)?,
    })
}

fn failures(node: &Node<'_>) -> Result<FailurePercentage, Fault> {
    node.keys(&["threshold", "enforcementPercentage", "minimumHosts", "requestVolume"], &[])?;
    let default = FailurePercentage::default();
    Ok(FailurePercentage {
        threshold: node.percent_or("threshold", default.threshold)?,
        enforcement_percentage: node.percent_or("enforcementPercentage", default.enforcement_percentage)?,
        minimum_hosts: node.count_or("minimumHosts", default.minimum_hosts)?,
        request_volume: node.count_or("requestVolume", default.request_volume)?,
    })
}
