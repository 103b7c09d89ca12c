//! Settings that a seed draws, so that thousands of runs meet policies in combinations that nobody thought of.
//!
//! Swarm testing (Groce and others, 2012), as of the faults in [`nemesis`](crate::nemesis): each run leaves every policy out
//! or draws it, at odds of its own, so that some runs have one policy alone and others nearly all of them. Values are those
//! where things change, the bounds among them: a timeout of a millisecond, a cache of one answer, a queue of none.
//!
//! What is drawn is a list of `KEY=VALUE` as `--set` takes it: whoever reads it can take a setting away.

use rand::Rng;

use super::model::{Scenario, Workload};
use crate::entropy::{Entropy, unit};

/// A key of a table, and what it may be.
type Key = (&'static str, &'static [&'static str]);

/// Requests of a run at most, so that many runs can be had.
const REQUESTS_MAX: f64 = 1_500.0;

const CODES: &[&str] = &[
    "[\"UNAVAILABLE\"]",
    "[\"UNAVAILABLE\", \"DEADLINE_EXCEEDED\", \"INTERNAL\"]",
    "[\"UNAVAILABLE\", \"DEADLINE_EXCEEDED\", \"INTERNAL\", \"RESOURCE_EXHAUSTED\"]",
    "[\"RESOURCE_EXHAUSTED\", \"CANCELLED\"]",
];
const WAITS: &[&str] = &["\"0ms\"", "\"1ms\"", "\"30ms\"", "\"300ms\"", "\"5s\""];
const TIMES: &[&str] = &["\"1ms\"", "\"20ms\"", "\"200ms\"", "\"1s\"", "\"5s\"", "\"1m\""];
const PERCENTS: &[&str] = &["0.0", "10.0", "50.0", "100.0"];
const SOME_PERCENTS: &[&str] = &["0.001", "20.0", "50.0", "100.0"];
const FLAGS: &[&str] = &["true", "false"];

/// Keys that each run has or leaves to the file. A value that is there twice is drawn as often: where nothing succeeds, little
/// can go wrong.
const SINGLE: &[Key] = &[
    ("servers.workers", &["1", "2", "8"]),
    ("servers.queue", &["0", "1", "8", "1000"]),
    ("servers.service_time_min", &["0ms", "1ms", "20ms", "200ms"]),
    ("load.arrivals", &["constant", "poisson"]),
    ("load.max_in_flight", &["1", "5", "50", "512"]),
    ("network.latency", &["0ms", "1ms", "40ms"]),
    ("network.jitter", &["0ms", "1ms", "20ms"]),
    ("network.bandwidth", &["200kbit", "10mbit"]),
    ("client.deadline", &["1ms", "50ms", "500ms", "2s", "2s", "5s", "30s"]),
    ("client.attempt_timeout", &["1ms", "30ms", "300ms", "300ms", "1s", "1s", "10s"]),
    ("client.wait_for_ready", FLAGS),
    ("client.health_check.interval", &["50ms", "500ms", "5s", "1h"]),
    ("client.health_check.timeout", &["1ms", "100ms", "1s"]),
    ("nemesis.faults_max", &["1", "6", "20", "64"]),
    ("nemesis.duration_min", &["1ms", "100ms"]),
    ("nemesis.duration_max", &["200ms", "2s", "30s"]),
    ("nemesis.overlap", FLAGS),
];

const RETRY: &[Key] = &[
    ("initial_backoff", &["\"0ms\"", "\"1ms\"", "\"100ms\"", "\"1s\""]),
    ("max_backoff", &["\"0ms\"", "\"1ms\"", "\"500ms\"", "\"1h\""]),
    ("backoff_multiplier", &["1.0", "1.6", "1000.0"]),
    ("jitter", &["\"none\"", "\"proportional\"", "\"full\"", "\"equal\""]),
    ("retryable_status_codes", CODES),
    ("prefer_other_server", FLAGS),
];

const HEDGING: &[Key] = &[
    ("max_attempts", &["2", "3", "5", "100"]),
    ("hedging_delay", &["\"0ms\"", "\"1ms\"", "\"50ms\"", "\"500ms\""]),
    ("non_fatal_status_codes", CODES),
];

const ADMISSION: &[Key] = &[
    ("max_concurrent_requests", &["1", "2", "10"]),
    ("max_queue_time", &["\"1ms\"", "\"50ms\"", "\"1s\""]),
    ("retry_pushback", &["\"0ms\"", "\"1ms\"", "\"300ms\"", "\"10s\""]),
];

/// Budgets that bound retries and hedges, where there are such.
const BUDGETS: &[(&str, &[Key])] = &[
    (
        "client.retry_throttling",
        &[("max_tokens", &["0.001", "1.0", "10.0"]), ("token_ratio", &["0.001", "0.1", "5.0"])],
    ),
    ("client.retry_budget", &[("percent", &["0.0", "20.0", "200.0"]), ("min_retry_concurrency", &["0", "1", "3"])]),
    (
        "client.retry_budget",
        &[("percent", &["0.0", "20.0", "200.0"]), ("ttl", TIMES), ("min_per_second", &["0.0", "0.3", "10.0"])],
    ),
];

/// Tables that each run has, with some of their keys, or switches off.
const POLICIES: &[(&str, &[Key])] = &[
    (
        "client.circuit_breaker",
        &[
            ("scope", &["\"server\"", "\"service\""]),
            ("consecutive_failures", &["1", "2", "5"]),
            ("reset_timeout", TIMES),
            ("permitted_calls_in_half_open", &["1", "2", "10"]),
            ("failure_status_codes", CODES),
        ],
    ),
    (
        "client.circuit_breaker",
        &[
            ("scope", &["\"server\"", "\"service\""]),
            ("failure_rate_threshold", SOME_PERCENTS),
            ("sliding_window_size", &["10", "50"]),
            ("minimum_number_of_calls", &["1", "5", "10"]),
            ("slow_call_duration_threshold", TIMES),
            ("reset_timeout", TIMES),
            ("permitted_calls_in_half_open", &["1", "2", "10"]),
        ],
    ),
    (
        "client.rate_limit",
        &[("limit", &["1", "5", "50"]), ("refresh_period", TIMES), ("burst", &["1", "2", "100"]), ("max_wait", WAITS)],
    ),
    ("client.bulkhead", &[("max_concurrent_calls", &["1", "3", "25"]), ("max_wait", WAITS)]),
    (
        "client.outlier_detection",
        &[
            ("interval", &["\"20ms\"", "\"200ms\"", "\"1s\"", "\"10s\""]),
            ("base_ejection_time", TIMES),
            ("max_ejection_time", TIMES),
            ("max_ejection_percent", PERCENTS),
            ("consecutive_errors", &["0", "1", "3"]),
            (
                "success_rate",
                &[
                    "{ minimum_hosts = 1, request_volume = 1 }",
                    "{ stdev_factor = 0, minimum_hosts = 2, request_volume = 3 }",
                ],
            ),
            (
                "failure_percentage",
                &[
                    "{ threshold = 0.0, minimum_hosts = 1, request_volume = 1 }",
                    "{ threshold = 50.0, enforcement_percentage = 50.0, minimum_hosts = 2, request_volume = 5 }",
                ],
            ),
        ],
    ),
    (
        "client.slow_start",
        &[
            ("slow_start_window", TIMES),
            ("aggression", &["0.01", "1.0", "100.0"]),
            ("min_weight_percent", SOME_PERCENTS),
        ],
    ),
    ("client.cache", &[("size", &["1", "2", "100"]), ("ttl", TIMES), ("stale_while_revalidate", WAITS)]),
    (
        "client.fallback",
        &[("kind", &["\"default\"", "\"stale\""]), ("status_codes", CODES), ("counts_as_success", FLAGS)],
    ),
];

const BALANCING: &[(&str, &[Key])] = &[
    ("pick_first", &[]),
    ("round_robin", &[]),
    ("random", &[]),
    ("least_request", &[("choice_count", &["2", "5", "100"])]),
    ("peak_ewma", &[("decay", TIMES), ("default_rtt", TIMES)]),
];

/// What `seed` draws for a run of `scenario`: settings to override it with, none of which contradict each other.
pub fn settings(scenario: &Scenario, seed: u64) -> Vec<String> {
    let mut rng = Entropy::new(seed).stream("scenario.swarm");
    // Of a policy: from one in ten to nine in ten.
    let odds = 0.1 + 0.8 * unit(&mut rng);
    let mut draw = Draw { rng, odds, settings: Vec::new() };
    draw.run(scenario);
    draw.client();
    draw.settings
}

struct Draw<R> {
    rng: R,
    odds: f64,
    settings: Vec<String>,
}

impl<R: Rng> Draw<R> {
    /// How long, how much, and to how many.
    fn run(&mut self, scenario: &Scenario) {
        let last = scenario.faults.iter().map(|fault| fault.at.as_secs_f64()).fold(0.0, f64::max);
        let more: f64 = self.any(&[0.05, 1.0, 5.0, 10.0, 15.0]);
        let seconds = (last + more).min(scenario.duration.as_secs_f64());
        self.set("duration", &format!("{}ms", (seconds * 1e3).ceil()));
        let rates: Vec<f64> =
            [0.5, 5.0, 20.0, 50.0, 100.0, 500.0].into_iter().filter(|rate| rate * seconds <= REQUESTS_MAX).collect();
        let rate = self.any(&rates);
        self.set("load.rate", &format!("{rate:?}"));
        let least = scenario.faults.iter().flat_map(|fault| &fault.targets).max().map_or(1, |last| last + 1);
        let replicas: Vec<usize> = [1, 2, 3, 5, 20].into_iter().filter(|replicas| *replicas >= least).collect();
        let replicas = self.any(&replicas);
        self.set("servers.replicas", &replicas.to_string());
        if matches!(scenario.workload, Workload::Sobel(_)) {
            let sizes = self.any(&["[\"8x8\"]", "[\"8x8\", \"16x16\", \"64x64\"]", "[\"256x256\"]"]);
            self.set("workload.sizes", sizes);
        }
        for (key, values) in SINGLE {
            if self.is_on() {
                let value = self.any(values);
                self.set(key, value);
            }
        }
        self.either(&[("servers.admission", ADMISSION)]);
        self.off_unless_drawn("servers.admission");
        // It limits something only if there is room for more.
        if self.settings.iter().any(|set| set.contains("max_concurrent_requests")) {
            self.replace("servers.queue", "64");
        }
    }

    fn client(&mut self) {
        let hedges = self.is_on();
        let attempts = if hedges { "1" } else { self.any(&["1", "2", "3", "5", "100"]) };
        let retry = self.table(RETRY, &format!("max_attempts = {attempts}"));
        self.set("client.retry", &retry);
        if hedges {
            let hedging = self.table(HEDGING, "");
            self.set("client.hedging", &hedging);
        } else {
            self.set("client.hedging", "off");
        }
        self.either(if hedges || attempts != "1" { BUDGETS } else { &[] });
        for key in ["client.retry_throttling", "client.retry_budget"] {
            self.off_unless_drawn(key);
        }
        self.either(POLICIES);
        for (key, _) in POLICIES {
            self.off_unless_drawn(key);
        }
        let (balancing, keys) = self.any(BALANCING);
        if balancing == "pick_first" {
            self.replace("client.slow_start", "off");
        }
        let table = self.table(keys, &format!("policy = \"{balancing}\""));
        self.set("client.load_balancing", &table);
        let is_stale = self.settings.iter().any(|set| set.starts_with("client.fallback=") && set.contains("\"stale\""));
        if is_stale && self.settings.iter().any(|set| set == "client.cache=off") {
            self.replace("client.fallback", "off");
        }
    }

    /// Each of these, or not; of those with one name the last.
    fn either(&mut self, tables: &[(&str, &[Key])]) {
        for (key, keys) in tables {
            if self.is_on() {
                let table = self.table(keys, "");
                self.replace(key, &table);
            }
        }
    }

    /// With a random half of its keys, behind `first`.
    fn table(&mut self, keys: &[Key], first: &str) -> String {
        let mut entries = vec![first.to_owned()];
        for (key, values) in keys {
            if unit(&mut self.rng) < 0.5 {
                entries.push(format!("{key} = {}", self.any(values)));
            }
        }
        entries.retain(|entry| !entry.is_empty());
        if entries.is_empty() { "{}".to_owned() } else { format!("{{ {} }}", entries.join(", ")) }
    }

    fn is_on(&mut self) -> bool {
        unit(&mut self.rng) < self.odds
    }

    /// `of` is not empty.
    fn any<T: Copy>(&mut self, of: &[T]) -> T {
        of[(unit(&mut self.rng) * of.len() as f64) as usize]
    }

    fn set(&mut self, key: &str, value: &str) {
        self.settings.push(format!("{key}={value}"));
    }

    fn replace(&mut self, key: &str, value: &str) {
        self.settings.retain(|set| !is_of(set, key));
        self.set(key, value);
    }

    fn off_unless_drawn(&mut self, key: &str) {
        if !self.settings.iter().any(|set| is_of(set, key)) {
            self.set(key, "off");
        }
    }
}

fn is_of(setting: &str, key: &str) -> bool {
    setting.strip_prefix(key).is_some_and(|rest| rest.starts_with('='))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs};

    use super::*;

    /// Every scenario there is, by what is drawn of it.
    fn scenarios() -> Vec<(String, Scenario)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let texts = files.filter(|path| path.is_file()).map(|path| fs::read_to_string(path).unwrap());
        texts.map(|text| (text.clone(), Scenario::parse("story.toml", &text, &[]).unwrap())).collect()
    }

    #[test]
    fn whatever_is_drawn_of_whatever_scenario_is_right_and_the_same_again() {
        for (text, scenario) in scenarios() {
            for seed in 0..40 {
                let mut drawn = settings(&scenario, seed);
                assert_eq!(drawn, settings(&scenario, seed));
                // The phases that it expects something of may be gone.
                drawn.push("expect=[]".to_owned());
                let run =
                    Scenario::parse("story.toml", &text, &drawn).unwrap_or_else(|wrong| panic!("{drawn:#?}\n{wrong}"));
                assert!(run.load.rate * run.duration.as_secs_f64() <= REQUESTS_MAX, "{drawn:?}");
            }
        }
    }

    #[test]
    fn every_two_policies_meet_unless_they_exclude_each_other() {
        let (_, scenario) = scenarios().remove(0);
        let drawn: Vec<BTreeSet<String>> =
            (0..1_000).map(|seed| settings(&scenario, seed).iter().filter_map(|set| name(set)).collect()).collect();
        let all: Vec<&String> = drawn.iter().flatten().collect::<BTreeSet<_>>().into_iter().collect();
        assert!(all.len() > 15, "{all:?}");
        let is_balancing = |name: &str| name.starts_with("client.load_balancing");
        for (at, one) in all.iter().enumerate() {
            for other in &all[at + 1..] {
                let excluded = match (one.as_str(), other.as_str()) {
                    ("client.hedging", "client.retry") | ("client.load_balancing pick_first", "client.slow_start") => {
                        true
                    }
                    (one, other) => is_balancing(one) && is_balancing(other),
                };
                let meet = drawn.iter().any(|on| on.contains(*one) && on.contains(*other));
                assert_eq!(meet, !excluded, "{one} and {other}");
            }
        }
    }

    /// What is on by this setting, if something is.
    fn name(setting: &str) -> Option<String> {
        let (key, value) = setting.split_once('=')?;
        let is_one_try = value.contains("max_attempts = 1,") || value.contains("max_attempts = 1 ");
        if !value.starts_with('{') || (key == "client.retry" && is_one_try) {
            return None;
        }
        let policy = value.split_once("policy = \"").and_then(|(_, rest)| rest.split('"').next());
        Some(policy.map_or_else(|| key.to_owned(), |policy| format!("{key} {policy}")))
    }
}
