//! The settings that can change in a run, and why the others cannot.

use toml::de::{DeTable, DeValue};

use crate::{
    scenario::{Scenario, reference::reference},
    settings::nearest::{backticked, nearest},
};

/// The tables whose settings can change, and the keys of each. What a change does to the state behind a setting is in the description of
/// the format, by table.
const CHANGEABLE: &[(&str, &[&str])] = &[
    ("load", &["rate", "users"]),
    ("network", &["latency", "jitter", "bandwidth"]),
    ("servers", &["workers", "queue", "service_time_min"]),
    ("servers.admission", &["max_concurrent_requests", "max_queue_time", "retry_pushback"]),
    ("client", &["deadline", "attempt_timeout"]),
    (
        "client.retry",
        &[
            "max_attempts",
            "initial_backoff",
            "max_backoff",
            "backoff_multiplier",
            "jitter",
            "retryable_status_codes",
            "prefer_other_server",
        ],
    ),
    ("client.fallback", &["kind", "status_codes"]),
    ("client.retry_throttling", &["max_tokens", "token_ratio"]),
    ("client.retry_budget", &["percent", "min_retry_concurrency", "min_per_second"]),
    ("client.hedging", &["max_attempts", "hedging_delay", "non_fatal_status_codes"]),
    ("client.adaptive_hedging", &["percentile", "min", "minimum_samples"]),
    (
        "client.circuit_breaker",
        &[
            "consecutive_failures",
            "failure_rate_threshold",
            "minimum_number_of_calls",
            "slow_call_duration_threshold",
            "slow_call_rate_threshold",
            "reset_timeout",
            "permitted_calls_in_half_open",
            "failure_status_codes",
        ],
    ),
    ("client.adaptive_throttling", &["multiplier", "rejected_status_codes"]),
    ("client.adaptive_concurrency", &["min_limit", "max_limit"]),
    ("client.adaptive_timeout", &["percentile", "factor", "min", "minimum_samples"]),
    ("client.rate_limit", &["limit", "refresh_period", "burst", "max_wait"]),
    ("client.bulkhead", &["max_concurrent_calls", "max_wait"]),
    ("client.slow_start", &["slow_start_window", "aggression", "min_weight_percent"]),
];

/// The part of a run that a setting that can change belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeTarget {
    /// The schedule of the load.
    Load,
    /// The client: calls, attempts and policies.
    Client,
    /// Every server.
    Servers,
    /// Every link.
    Network,
}

impl ChangeTarget {
    /// Returns what the setting belongs to.
    pub(super) fn for_setting(setting: &str) -> Self {
        match setting.split('.').next() {
            Some("load") => Self::Load,
            Some("servers") => Self::Servers,
            Some("network") => Self::Network,
            _ => Self::Client,
        }
    }
}

/// Returns the keys of the settings that can change in a run, as `--set` takes them.
///
/// ```
/// assert!(kernel::scenario::changeable().any(|setting| setting == "client.bulkhead.max_concurrent_calls"));
/// ```
pub fn changeable() -> impl Iterator<Item = String> {
    CHANGEABLE.iter().flat_map(|(table, keys)| keys.iter().map(move |key| format!("{table}.{key}")))
}

/// Checks that the setting can change in a run.
///
/// # Errors
///
/// Returns what is wrong, and the remedy.
pub(super) fn check(setting: &str) -> Result<(), (String, String)> {
    if changeable().any(|name| name == setting) {
        return Ok(());
    }
    // Items of lists are `N` in the reference.
    let named: Vec<&str> =
        setting.split('.').map(|part| if part.parse::<usize>().is_ok() { "N" } else { part }).collect();
    let named = named.join(".");
    let keys = reference();
    if let Some((_, keys)) = CHANGEABLE.iter().find(|(table, _)| *table == setting) {
        let message =
            format!("`{setting}` is a table, and a change is of one key: nothing is switched on or off in a run");
        let examples: Vec<String> = keys.iter().map(|key| format!("{setting}.{key}")).collect();
        let help = "write the table, with limits that are never reached, and change one of";
        return Err((message, format!("{help} {}", listed(&examples))));
    }
    let is_key = keys.iter().any(|key| key.path == named || key.path.starts_with(&format!("{named}.")));
    if is_key {
        let message = format!("`{setting}` cannot change in a run: {}", reason(setting));
        return Err((message, format!("{}; these can change: {}", remedy(setting), listed_by_table())));
    }
    let can: Vec<String> = changeable().collect();
    let guess = nearest(setting, can.iter().map(String::as_str)).map(|name| format!("; did you mean `{name}`?"));
    let message = format!("there is no setting `{setting}`{}", guess.unwrap_or_default());
    Err((message, format!("these can change: {}", listed_by_table())))
}

/// Returns all settings that can change. Each table is named once: a message with the path of every key would be cut.
fn listed_by_table() -> String {
    let tables = CHANGEABLE.iter().map(|(table, keys)| format!("[{table}] {}", keys.join(", ")));
    tables.collect::<Vec<_>>().join("; ")
}

fn listed(names: &[String]) -> String {
    backticked(&names.iter().map(String::as_str).collect::<Vec<_>>())
}

/// Returns why a setting cannot change.
fn reason(setting: &str) -> &'static str {
    let mut parts = setting.split('.');
    match (parts.next().unwrap_or_default(), parts.next().unwrap_or_default()) {
        ("fault" | "nemesis" | "change" | "expect" | "slo" | "run", _) => {
            "it is a part of the script, and no setting of what runs"
        }
        ("service" | "edge", _) => "services and the edges between them keep what they begin with",
        ("workload", _) => "what requests ask for is decided before the run",
        ("servers", "replicas") => "servers are there from the start",
        ("servers", "restart_after") => "faults get it before the run",
        ("servers", _) => "a connection keeps what it began with",
        ("load", _) => "the schedule of the load follows from it as a whole",
        ("client", _) => "it is a part of how the client is built",
        _ => "it is of the run as a whole",
    }
}

/// Returns what to write instead of a change.
fn remedy(setting: &str) -> &'static str {
    match setting {
        "servers.replicas" => "start with the most servers, and let a `drain` or `crash` fault take some away",
        "servers.restart_after" => "write `restart_after` in the [[fault]]",
        _ if setting.starts_with("load.") => "write a [[load.stage]] or change the rate",
        _ => "play two scenarios and compare them, such as with --vary",
    }
}

/// Returns what is wrong, and the remedy, if the table of the setting is off in `scenario`, which reads `text`, or if something else
/// has the setting.
pub(super) fn absent(scenario: &Scenario, setting: &str, text: &str) -> Option<(String, String)> {
    let has_stages = !scenario.load.stage.is_empty();
    match setting {
        "load.rate" | "load.users" if has_stages => {
            let message = format!("`{setting}` changes by [[load.stage]] in this scenario");
            return Some((message, "write this change as a stage, too".to_owned()));
        }
        "load.rate" if scenario.load.trace_us.is_some() => {
            return Some((
                "`load.rate` is that of the trace in this scenario".to_owned(),
                "leave one of them out".to_owned(),
            ));
        }
        "load.users" if scenario.load.users.is_none() => {
            let help = "write users = 0 in [load], or as many as there are at the start";
            return Some(("there are no `users` in [load]".to_owned(), help.to_owned()));
        }
        _ => {}
    }
    let (table, _) = setting.rsplit_once('.')?;
    if lookup(text, table, |_| ()).is_some() {
        return None;
    }
    let message = format!("[{table}] is off in this scenario, and nothing is switched on in a run");
    Some((message, format!("add the table [{table}], with limits that are never reached until then")))
}

/// Returns the TOML of the value at the dotted `path` of `text`.
pub(super) fn value_of(text: &str, path: &str) -> Option<String> {
    lookup(text, path, |item| text[item.span()].to_owned())
}

/// Returns what `take` makes of the value at the dotted `path` of `text`.
fn lookup<T>(text: &str, path: &str, take: impl FnOnce(&crate::settings::value::Item<'_>) -> T) -> Option<T> {
    let document = DeTable::parse(text).ok()?;
    let mut table = document.get_ref();
    let (tables, key) = path.rsplit_once('.').unwrap_or(("", path));
    for name in tables.split('.').filter(|name| !name.is_empty()) {
        match table.get(name)?.get_ref() {
            DeValue::Table(inner) => table = inner,
            _ => return None,
        }
    }
    table.get(key).map(take)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{scenario::TABLE, settings::TableInfo};

    #[test]
    fn every_setting_that_can_change_is_one_of_the_format() {
        let keys: Vec<String> = reference().into_iter().map(|key| key.path).collect();
        changeable().for_each(|setting| assert!(keys.contains(&setting), "{setting}"));
    }

    /// A key that is new in a table of which others change has to be there, or to be an exception here.
    #[test]
    fn what_cannot_change_in_these_tables_is_known() {
        let mut others = Vec::new();
        for (path, keys) in CHANGEABLE.iter().filter(|(path, _)| path.contains('.')) {
            let mut table: &TableInfo = TABLE;
            for name in path.split('.') {
                table = table.tables.iter().find(|(inner, ..)| *inner == name).expect("it is a table").2;
            }
            let left = table.names().into_iter().filter(|name| !keys.contains(name));
            others.extend(left.map(|name| format!("{path}.{name}")));
        }
        assert_eq!(
            others,
            [
                "client.retry.commit",
                "client.retry.transparent",
                "client.retry.past_deadline",
                "client.fallback.counts_as_success",
                "client.retry_budget.ttl",
                "client.retry_budget.deposit",
                "client.adaptive_hedging.window",
                "client.circuit_breaker.scope",
                "client.circuit_breaker.sliding_window_size",
                "client.circuit_breaker.sliding_window_duration",
                "client.circuit_breaker.max_wait_duration_in_half_open",
                "client.circuit_breaker.ignored_status_codes",
                "client.adaptive_throttling.window",
                "client.adaptive_concurrency.algorithm",
                "client.adaptive_concurrency.initial_limit",
                "client.adaptive_concurrency.smoothing",
                "client.adaptive_concurrency.queue_size",
                "client.adaptive_concurrency.long_window",
                "client.adaptive_concurrency.tolerance",
                "client.adaptive_concurrency.backoff_ratio",
                "client.adaptive_concurrency.timeout",
                "client.adaptive_concurrency.drop_status_codes",
                "client.adaptive_timeout.window",
            ]
        );
    }
}
