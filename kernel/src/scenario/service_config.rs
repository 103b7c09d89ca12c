//! gRPC's service config: `client.service_config = "file.json"`, a production client's own file.
//!
//! The file's entry of one method becomes the client's settings, with gRPC's defaults for what it leaves out, not this
//! format's: no retry without a retryPolicy, `pick_first` without a loadBalancingConfig, and, since gRPC has none, no timeout
//! of an attempt but `perAttemptRecvTimeout`. The resolved scenario spells them out and names no file. Whatever the scenario sets
//! too is a contradiction.
//!
//! Types and names are those of `grpc/service_config/service_config.proto` in proto3's JSON; which values are valid is what gRPC's
//! core (`retry_service_config.cc`, `client_channel_service_config.cc`, `service_config_impl.cc`, `outlier_detection.cc`), grpc-java
//! and the proposals A6, A48 and A50 say. A file that gRPC refuses is an error with gRPC's words; one that it reads is read, and
//! what of it has no effect is a note. Where implementations of gRPC differ, a spelling that one of them reads is read, with a
//! note, and a value that gRPC's core or a proposal refuses is refused: `maxTokens` is a whole number up to 1000 (A6), though
//! grpc-java takes a fraction and gRPC's core takes more. `tests/service_configs` has an example of each rule, with gRPC's core's
//! verdict.
//!
//! The rehearsed method stands for the one method of the file, or for that of `client.service_config_method`, looked up as
//! gRPC does: the method's own entry, else its service's, else the one for all.
//!
//! | module | content |
//! | --- | --- |
//! | `json` | proto3's JSON, with places and notes |
//! | `methods` | `methodConfig`: the entry of the method, its retries and hedges |
//! | `balancers` | the balancer and the outlier detection |
//! | `export` | the way back: the settings of a client as a service config |

mod balancers;
mod export;
mod json;
mod methods;

use std::path::Path;

use toml::de::DeTable;

use super::{Balancing, Client, Jitter, Retry};
use crate::{
    client::settings::{HealthCheck, HealthMethod, Profile, SERVICE_CONFIG, SERVICE_CONFIG_METHOD},
    input,
    policy::{OutlierDetection, RetryThrottling},
    settings::{limits, problem::Problem, table::TableReader},
    visible::Visible,
};
use balancers::Balancer;
use json::{Document, Fault, Node, Notes};
use methods::MethodConfig;

pub use export::ServiceConfigExport;

/// Applies the service config that `[client]` names, if it does, and adds to `notes` what gRPC ignores in it. The name is relative
/// to `base`.
pub(super) fn apply(
    table: &TableReader<'_, '_>,
    base: &Path,
    client: &mut Client,
    notes: &mut Vec<String>,
) -> Result<(), Problem> {
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
    let said = config.notes.iter().map(|note| format!("service config {}: {note}", name.visible()));
    notes.extend(said);
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
    method: MethodConfig,
    throttling: Option<RetryThrottling>,
    balancing: Option<Balancing>,
    outlier_detection: Option<OutlierDetection>,
    /// The service whose health the client asks servers for, if it does (A17).
    health_service: Option<String>,
    /// The settings that gRPC ignores, or reads in its own way, a sentence each.
    notes: Vec<String>,
}

impl ServiceConfig {
    /// Reads a file's text, of which `method` is the rehearsed method. An error says what is wrong.
    fn parse(text: &str, method: Option<&str>) -> Result<Self, String> {
        let Document(document) = serde_json::from_str(text).map_err(|error| format!("not JSON: {error}"))?;
        let notes = Notes::default();
        let config = Self::read(&Node::root(&document, &notes), method, &notes).map_err(|Fault(what)| what)?;
        Ok(Self { notes: notes.into_sentences(), ..config })
    }

    fn read(root: &Node<'_>, method: Option<&str>, notes: &Notes) -> Result<Self, Fault> {
        let fields = root.fields(&[
            "methodConfig",
            "retryThrottling",
            "loadBalancingConfig",
            "loadBalancingPolicy",
            "healthCheckConfig",
        ])?;
        let mut config = Self::default();
        let methods = fields.get("methodConfig").map_or(Ok(Vec::new()), Node::items)?;
        config.method = methods::choose(&methods, method, notes)?;
        if let Some(node) = fields.get("retryThrottling") {
            config.throttling = Some(throttling(node)?);
            if config.method.retry.is_none() && config.method.hedging.is_none() {
                node.note("has no effect: the rehearsed method neither retries nor hedges");
                config.throttling = None;
            }
        }
        if let Some(health) = fields.get("healthCheckConfig") {
            let service = health.fields(&["serviceName"])?.get("serviceName").map(Node::text).transpose()?;
            if service.is_none() {
                health.note("has no effect: it has no serviceName");
            }
            config.health_service = service.map(str::to_owned);
        }
        if let Some(policy) = fields.get("loadBalancingPolicy") {
            config.balancing = balancers::named(policy)?;
        }
        if let Some(policies) = fields.get("loadBalancingConfig") {
            let Balancer { balancing, outlier_detection } = balancers::first(policies)?;
            config.balancing = Some(balancing);
            config.outlier_detection = outlier_detection;
        }
        Ok(config)
    }

    /// Returns the client with what the file says, and with gRPC's defaults for what it does not.
    fn settle(self, table: &TableReader<'_, '_>, client: &mut Client) {
        let MethodConfig {
            retry,
            attempt_timeout,
            hedging,
            timeout,
            wait_for_ready,
            max_request_message_bytes,
            max_response_message_bytes,
        } = self.method;
        client.max_request_message_bytes = max_request_message_bytes.or(client.max_request_message_bytes);
        client.max_response_message_bytes = max_response_message_bytes.or(client.max_response_message_bytes);
        let has_retries = table.table("retry").first_of(&RETRY_KEYS).is_some();
        client.deadline = timeout.unwrap_or(client.deadline);
        if table.span("attempt_timeout").is_none() {
            client.attempt_timeout = attempt_timeout.unwrap_or(client.deadline);
        }
        client.wait_for_ready = wait_for_ready.unwrap_or(client.wait_for_ready);
        if table.table("load_balancing").span("policy").is_none() {
            client.load_balancing = self.balancing.unwrap_or(Balancing::PickFirst);
        }
        if let Some(retry) = retry {
            // What a service config does not say is what the profile says.
            let Retry { prefer_other_server, commit, transparent, past_deadline, .. } = client.retry;
            client.retry = Retry { prefer_other_server, commit, transparent, past_deadline, ..retry };
        } else if !has_retries {
            client.retry.max_attempts = 1;
        }
        let policies = &mut client.policies;
        policies.hedging = hedging.or(policies.hedging.take());
        policies.retry_throttling = self.throttling.or(policies.retry_throttling.take());
        policies.outlier_detection = match (self.outlier_detection, policies.outlier_detection.take()) {
            // What a service config does not say is what the scenario says, or else the profile.
            (Some(theirs), Some(ours)) => Some(OutlierDetection { all_ejected: ours.all_ejected, ..theirs }),
            (Some(theirs), None) => Some(OutlierDetection { all_ejected: client.profile.all_ejected(), ..theirs }),
            (None, ours) => ours,
        };
        let Some(service) = self.health_service else { return };
        if table.span("health_check").is_none() {
            client.health_check = Some(HealthCheck::default());
        }
        if let Some(check) = &mut client.health_check {
            if table.table("health_check").span("method").is_none() {
                check.method = Some(HealthMethod::Watch);
            }
            check.service = Some(service);
        }
    }

    /// Returns the client of a scenario that has nothing but this service config in its `[client]`.
    fn alone(self) -> Client {
        let mut client = Profile::Grpc.client();
        self.settle(&TableReader::file(&DeTable::new()), &mut client);
        client
    }
}

fn throttling(node: &Node<'_>) -> Result<RetryThrottling, Fault> {
    let fields = node.fields(&["maxTokens", "tokenRatio"])?;
    let max = fields.required("maxTokens")?;
    let ratio = fields.required("tokenRatio")?;
    let max_tokens = f64::from(max.whole()?);
    if max_tokens == 0.0 {
        return Err(max.refused("must be greater than 0"));
    }
    if !limits::TOKENS.contains(&max_tokens) {
        return Err(max.fault(format!("{max_tokens} is more than the 1000 that gRPC A6 allows")));
    }
    // More than there can be adds no more than that.
    let token_ratio = (ratio.thousandths()? as f64 / 1_000.0).min(*limits::TOKEN_RATIO.end());
    Ok(RetryThrottling { max_tokens, token_ratio })
}

/// The keys of `[client.retry]` and `[client.outlier_detection]` that a service config has, too. The others may stand beside it.
const RETRY_KEYS: [&str; 6] =
    ["max_attempts", "initial_backoff", "max_backoff", "backoff_multiplier", "jitter", "retryable_status_codes"];
const OUTLIER_KEYS: [&str; 7] = [
    "interval",
    "base_ejection_time",
    "max_ejection_time",
    "max_ejection_percent",
    "consecutive_errors",
    "success_rate",
    "failure_percentage",
];

/// Refuses a setting that both the service config and the scenario have.
fn refuse_double(table: &TableReader<'_, '_>, config: &ServiceConfig, name: &str) -> Result<(), Problem> {
    let method = &config.method;
    let retries = method.retry.is_some() || method.hedging.is_some();
    let policy = table.table("load_balancing").span("policy");
    let of_client = [
        ("timeout", "deadline", method.timeout.is_some()),
        ("perAttemptRecvTimeout", "attempt_timeout", method.attempt_timeout.is_some()),
        ("waitForReady", "wait_for_ready", method.wait_for_ready.is_some()),
        ("maxRequestMessageBytes", "max_request_message_bytes", method.max_request_message_bytes.is_some()),
        ("maxResponseMessageBytes", "max_response_message_bytes", method.max_response_message_bytes.is_some()),
    ];
    let of_client = of_client
        .map(|(theirs, key, is_set)| (theirs, format!("`{key}` in [client]"), table.span(key).filter(|_| is_set)));
    let of_tables = [
        ("loadBalancingConfig", "`policy` in [client.load_balancing]", policy.filter(|_| config.balancing.is_some())),
        (
            "its retryPolicy or hedgingPolicy",
            "[client.retry]",
            table.table("retry").first_of(&RETRY_KEYS).map(|(_, span)| span).filter(|_| retries),
        ),
        ("its retryPolicy or hedgingPolicy", "[client.hedging]", table.span("hedging").filter(|_| retries)),
        (
            "healthCheckConfig",
            "`service` in [client.health_check]",
            table.table("health_check").span("service").filter(|_| config.health_service.is_some()),
        ),
        (
            "retryThrottling",
            "[client.retry_throttling]",
            table.span("retry_throttling").filter(|_| config.throttling.is_some()),
        ),
        (
            "outlier_detection_experimental",
            "[client.outlier_detection]",
            table
                .table("outlier_detection")
                .first_of(&OUTLIER_KEYS)
                .map(|(_, span)| span)
                .filter(|_| config.outlier_detection.is_some()),
        ),
    ];
    let of_tables = of_tables.map(|(theirs, ours, span)| (theirs, ours.to_owned(), span));
    for (theirs, ours, span) in of_client.into_iter().chain(of_tables) {
        if let Some(span) = span {
            let message = format!("{ours} and {theirs} in the service config {name} say the same thing twice");
            return Err(Problem::at(span, message).help("leave one of them out"));
        }
    }
    Ok(())
}
