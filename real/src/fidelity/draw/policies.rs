//! The settings of servers, network and client. Values follow from the rate and from the time that a call takes, so that a limit
//! is near what the load needs, and a window has calls in it.

use kernel::{
    dice::{Dice, two_digits},
    scenario::FaultName,
    workload::pictures::VARIANTS,
};

use super::{
    dice_of,
    strata::{Policy, Strata, Work},
    work::Load,
};

/// A table of a scenario file, with its keys as TOML.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Table {
    /// Its path, such as `client.retry`.
    pub(super) path: &'static str,
    /// Its keys, a line each.
    pub(super) keys: Vec<String>,
}

/// Tables that are written in their order; a table without a key is written, too, as it is on.
#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct Tables(pub(super) Vec<Table>);

impl Tables {
    fn add<const N: usize>(&mut self, path: &'static str, keys: [String; N]) {
        let keys = keys.into_iter().filter(|key| !key.is_empty()).collect();
        self.0.push(Table { path, keys });
    }
}

/// Draws the tables of a scenario.
pub(super) fn draw(strata: &Strata, load: &Load, seed: u64) -> Tables {
    let mut tables = Tables::default();
    let drawn = Drawn { strata, load, seed };
    drawn.servers(&mut tables);
    drawn.client(&mut tables);
    drawn.attempts(&mut tables);
    drawn.health(&mut tables);
    drawn.limits(&mut tables);
    drawn.ejection(&mut tables);
    tables
}

struct Drawn<'a> {
    strata: &'a Strata,
    load: &'a Load,
    seed: u64,
}

impl Drawn<'_> {
    /// Returns the numbers for a table, which do not depend on whether the others are there.
    fn dice(&self, purpose: &str) -> Dice {
        dice_of(self.seed, purpose, &[self.strata.index])
    }

    fn has(&self, policy: Policy) -> bool {
        self.strata.has(policy)
    }

    /// Returns true if servers can be chosen among.
    fn chooses(&self) -> bool {
        self.strata.replicas > 1
    }

    fn servers(&self, tables: &mut Tables) {
        let mut dice = self.dice("servers");
        let mut servers =
            vec![format!("replicas = {}", self.strata.replicas), format!("workers = {}", self.load.workers)];
        // A backend has a time of its own.
        if self.strata.is_held && self.strata.work != Work::Backend {
            servers.push(format!("service_time_min = {}", time(self.load.held)));
        }
        if self.has(Policy::ConnectionAge) {
            servers.push(format!("max_connection_age = {}", time(dice.between(6.0, 10.0))));
            servers.push("max_connection_age_grace = \"1s\"".to_owned());
        }
        tables.0.push(Table { path: "servers", keys: servers });
        if self.has(Policy::Admission) {
            let bound = match dice.odds(0.5) {
                true => format!("max_concurrent_requests = {}", self.load.workers * dice.any(&[2, 3, 4])),
                false => format!("max_queue_time = {}", time(dice.spread(0.02, 0.2))),
            };
            let pushback = if dice.odds(0.5) { "retry_pushback = \"50ms\"" } else { "" };
            tables.add("servers.admission", [bound, pushback.to_owned()]);
        }
        if self.has(Policy::Network) {
            let latency = dice.spread(0.001, 0.02);
            let jitter = latency * dice.between(0.0, 0.25);
            tables.add("network", [format!("latency = {}", time(latency)), format!("jitter = {}", time(jitter))]);
        }
    }

    fn client(&self, tables: &mut Tables) {
        let mut dice = self.dice("client");
        let timeout = self.load.attempt_timeout;
        let deadline = (timeout * dice.between(1.5, 4.0) / 0.1).round() * 0.1;
        let profile = if self.has(Policy::Grpc) { "profile = \"grpc\"" } else { "" };
        let times = [format!("deadline = {}", time(deadline)), format!("attempt_timeout = {}", time(timeout))];
        let [deadline, timeout] = times;
        tables.add("client", [profile.to_owned(), deadline, timeout]);
        let (policy, more) = self.strata.balancing();
        tables.add("client.load_balancing", [format!("policy = \"{policy}\""), more.to_owned()]);
        if self.has(Policy::SlowStart) && self.chooses() && policy != "pick_first" {
            let window = format!("slow_start_window = {}", time(dice.between(2.0, 5.0)));
            tables.add("client.slow_start", [window]);
        }
    }

    /// Draws what a call does when an attempt fails, or is late.
    fn attempts(&self, tables: &mut Tables) {
        let mut dice = self.dice("attempts");
        let hold = self.load.hold();
        let retries = self.load.max_attempts > 1;
        if self.has(Policy::Hedging) {
            let delay = (hold * dice.between(3.0, 10.0)).max(0.01).min(self.load.attempt_timeout / 2.0);
            tables.add("client.hedging", ["max_attempts = 2".to_owned(), format!("hedging_delay = {}", time(delay))]);
        } else {
            let backoff = format!("initial_backoff = {}", time(dice.spread(0.01, 0.2)));
            let jitter = format!("jitter = \"{}\"", dice.any(&["none", "proportional", "full", "equal"]));
            let attempts = format!("max_attempts = {}", self.load.max_attempts);
            let [backoff, jitter] = if retries { [backoff, jitter] } else { [String::new(), String::new()] };
            tables.add("client.retry", [attempts, backoff, jitter]);
        }
        let bounded = retries || self.has(Policy::Hedging);
        if self.has(Policy::RetryBudget) && bounded {
            let least = match dice.odds(0.5) {
                true => "min_retry_concurrency = 3".to_owned(),
                false => format!("ttl = \"5s\"\nmin_per_second = {:?}", two_digits(0.05 * self.load.rate).max(1.0)),
            };
            tables.add("client.retry_budget", ["percent = 20.0".to_owned(), least]);
        }
        if self.has(Policy::RetryThrottling) && bounded {
            tables.add("client.retry_throttling", ["max_tokens = 10.0".to_owned(), "token_ratio = 0.1".to_owned()]);
        }
        if self.has(Policy::Cache) && self.strata.busy.is_none() {
            let hits = dice.between(0.1, 0.4);
            let inputs = if self.strata.work == Work::Backend { 1 } else { VARIANTS };
            let ttl = inputs as f64 * hits / (1.0 - hits) / self.load.rate;
            tables.add("client.cache", [format!("ttl = {}", time(ttl.max(0.001)))]);
        }
        if self.has(Policy::Fallback) {
            let is_stale = self.has(Policy::Cache) && self.strata.busy.is_none();
            let kind = if is_stale { "kind = \"stale\"" } else { "kind = \"default\"" };
            tables.add("client.fallback", [kind.to_owned()]);
        }
    }

    /// Draws how servers are found to be away.
    fn health(&self, tables: &mut Tables) {
        let mut dice = self.dice("health");
        let checks = [
            format!("interval = {}", time(dice.spread(0.5, 2.0))),
            format!("timeout = {}", time(dice.spread(0.3, 1.0))),
        ];
        // A channel of gRPC has no health check unless its service config asks for one.
        if !self.has(Policy::Grpc) {
            tables.add("client.health_check", checks);
        } else if dice.odds(0.5) {
            tables.add("client.health_check", ["method = \"watch\"".to_owned()]);
        }
        // Nothing else notices a half-open connection, which is a scenario, too.
        let is_half_open = self.strata.faults.contains(&FaultName::HalfOpen) && dice.odds(0.7);
        if self.has(Policy::Keepalive) || is_half_open {
            let pings = format!("time = {}", time(dice.spread(1.0, 3.0)));
            tables.add("client.keepalive", [pings, format!("timeout = {}", time(dice.spread(0.5, 1.0)))]);
        }
    }

    /// Draws limits of the client, somewhat above what the load needs.
    fn limits(&self, tables: &mut Tables) {
        let mut dice = self.dice("limits");
        let rate = self.load.rate;
        if self.has(Policy::CircuitBreaker) {
            let scope = format!("scope = \"{}\"", dice.any(&["server", "service"]));
            let opens = match dice.odds(0.5) {
                true => format!("consecutive_failures = {}", if rate < 5.0 { 3 } else { dice.any(&[5, 10]) }),
                false => {
                    let window = (2.0 * rate).clamp(10.0, 100.0) as u32;
                    let least = window / 2;
                    format!(
                        "failure_rate_threshold = 50.0\nsliding_window_size = {window}\nminimum_number_of_calls = {least}"
                    )
                }
            };
            let reset = format!("reset_timeout = {}", time(dice.spread(1.0, 3.0)));
            tables.add("client.circuit_breaker", [scope, opens, reset, "permitted_calls_in_half_open = 3".to_owned()]);
        }
        if self.has(Policy::RateLimit) {
            let limit = (rate * self.load.attempts(false) * dice.between(1.05, 1.5)).ceil().max(2.0);
            let wait = dice.any(&["0s", "100ms", "500ms"]);
            tables.add("client.rate_limit", [format!("limit = {limit}"), format!("max_wait = \"{wait}\"")]);
        }
        if self.has(Policy::Bulkhead) {
            let calls = (rate * (self.load.hold() + 0.001) * dice.between(2.0, 5.0)).ceil() + 4.0;
            let wait = dice.any(&["0s", "20ms"]);
            tables
                .add("client.bulkhead", [format!("max_concurrent_calls = {calls}"), format!("max_wait = \"{wait}\"")]);
        }
    }

    fn ejection(&self, tables: &mut Tables) {
        if !self.has(Policy::OutlierDetection) || !self.chooses() {
            return;
        }
        let mut dice = self.dice("ejection");
        let time = format!("base_ejection_time = {}", time(dice.between(2.0, 4.0)));
        let [interval, most] = ["interval = \"1s\"", "max_ejection_percent = 50.0"].map(str::to_owned);
        tables.add("client.outlier_detection", [interval, "consecutive_errors = 5".to_owned(), time, most]);
        if dice.odds(0.5) {
            let volume = two_digits(self.load.rate / self.strata.replicas as f64 / 4.0).clamp(1.0, 50.0);
            let keys = ["threshold = 50.0".to_owned(), "minimum_hosts = 2".to_owned()];
            let [threshold, hosts] = keys;
            let volume = format!("request_volume = {volume:.0}");
            tables.add("client.outlier_detection.failure_percentage", [threshold, hosts, volume]);
        }
    }
}

/// Writes a time of `seconds` in whole milliseconds, or in tenths of them below 100 ms, as TOML.
pub(super) fn time(seconds: f64) -> String {
    let tenths = (seconds * 1e4).round();
    let millis = if tenths >= 1_000.0 { (tenths / 10.0).round() } else { tenths / 10.0 };
    if millis >= 1_000.0 { format!("\"{}s\"", millis / 1e3) } else { format!("\"{millis}ms\"") }
}
