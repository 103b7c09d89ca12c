//! The generator of random settings, so that thousands of runs meet policies in combinations that no test author thinks of.
//!
//! Swarm testing (Groce and others, 2012), as of the faults in [`fault`](crate::fault): each run leaves every policy out or
//! draws it, at odds of its own, so that some runs have one policy alone and others nearly all of them. Tables, keys and
//! values come from the declarations ([`TABLE`]): the samples of each key are the values where behavior changes.
//!
//! The result is a list of `KEY=VALUE` as `--set` takes it, so that a reader can take a setting away.

mod adaptive;

use std::time::Duration;

use rand::Rng;

use super::{Balancing, Load, STORE, Scenario, TABLE, Workload};
use crate::{
    client::settings::Profile,
    entropy::{Entropy, unit},
    settings::{
        Presence, TableInfo,
        source::join,
        table::{OFF, Settings},
    },
    workload::settings::SIZES,
};

pub use adaptive::with_adaptive;

/// The largest number of requests of a run, so that many runs can be had.
const REQUESTS_MAX: f64 = 1_500.0;

/// Tables of the client that bound retries and hedges, and contradict a client that makes neither.
const BOUNDS: [&str; 2] = ["retry_throttling", "retry_budget"];

/// Tables of the client that are drawn after the others. The order of draws decides what a seed draws, so it stays.
const DRAWN_LAST: [&str; 2] = ["cache", "fallback"];

/// Settings that came after the others, and are drawn from a stream of their own: what a seed draws of the others stays.
const DRAWN_SEPARATELY: [&str; 6] = [
    "client.server_selection",
    "client.retry.commit",
    "client.retry.transparent",
    "client.retry.past_deadline",
    "client.passive_health.status_codes",
    "client.outlier_detection.all_ejected",
];

/// Settings of breakers that came after those, and are drawn from a stream of their own, too.
const BREAKER_SETTINGS: [&str; 3] = [
    "client.circuit_breaker.sliding_window_duration",
    "client.circuit_breaker.max_wait_duration_in_half_open",
    "client.circuit_breaker.ignored_status_codes",
];

/// Settings of health checks that came after those, and are drawn from a stream of their own, too.
const HEALTH_SETTINGS: [&str; 1] = ["client.health_check.method"];

/// Tables of the client that a run may be without, drawn from the same stream.
const SWITCHED_SEPARATELY: [&str; 2] = ["client.health_check", "client.passive_health"];

/// A table of the client that is drawn as a whole, from the same stream.
const KEEPALIVE: &str = "keepalive";

/// Tables of the client that adapt. They came after what is pinned, and are drawn only by [`with_adaptive`].
const ADAPTIVE: [&str; 4] = ["adaptive_throttling", "adaptive_concurrency", "adaptive_timeout", "adaptive_hedging"];

/// Returns whether the setting at `path` is drawn from another stream than its table.
fn is_separate(path: &str) -> bool {
    [&DRAWN_SEPARATELY[..], &BREAKER_SETTINGS, &HEALTH_SETTINGS].iter().any(|settings| settings.contains(&path))
}

/// A key or an inline table, and the values that it may be drawn with, as TOML.
type Samples = (&'static str, &'static [&'static str]);

/// Returns the keys of the table at `path` that may be drawn together, in the order of its declaration: one list for each set that
/// the table declares.
fn sample_sets(table: &TableInfo, path: &str) -> Vec<Vec<Samples>> {
    let keys = table.keys.iter().filter(|key| !is_separate(&join(path, key.name())));
    let keys = keys.map(|key| (key.name(), key.samples()));
    let all = keys.chain(table.tables.iter().map(|(name, _, inner)| (*name, inner.samples)));
    let drawn: Vec<Samples> = all.filter(|(_, samples)| !samples.is_empty()).collect();
    if table.draw.is_empty() {
        return vec![drawn];
    }
    let sets = table.draw.iter();
    sets.map(|set| drawn.iter().copied().filter(|(key, _)| set.contains(key)).collect()).collect()
}

/// Returns the table at `path`, which is declared.
fn table_at(path: &str) -> &'static TableInfo {
    path.split('.').fold(TABLE, |table, part| {
        let found = table.tables.iter().find(|(name, ..)| *name == part);
        found.map(|(.., inner)| *inner).expect("the table is declared")
    })
}

/// Returns the optional tables of `[client]` as their paths with the keys to draw, a row for each set of keys.
fn client_tables(is_wanted: impl Fn(&str) -> bool) -> Vec<(String, Vec<Samples>)> {
    let tables = table_at("client").tables.iter().filter(|(_, presence, _)| *presence == Presence::Optional);
    let mut tables: Vec<_> =
        tables.filter(|(name, ..)| is_wanted(name) && *name != KEEPALIVE && !ADAPTIVE.contains(name)).collect();
    tables.sort_by_key(|(name, ..)| DRAWN_LAST.iter().position(|last| last == name).map_or(0, |place| place + 1));
    let rows = tables
        .into_iter()
        .map(|(name, _, table)| (format!("client.{name}"), *table))
        .flat_map(|(path, table)| sample_sets(table, &path).into_iter().map(move |set| (path.clone(), set)));
    rows.collect()
}

/// Returns the keys that a run sets or leaves to the file one by one: those of tables that are always there, and of
/// `[nemesis]`. `[client.retry]` is drawn as a whole.
fn single_keys(table: &TableInfo, path: &str, keys: &mut Vec<(String, &'static [&'static str])>) {
    for (name, presence, inner) in table.tables {
        let path = join(path, name);
        if *presence == Presence::List
            || (*presence == Presence::Optional && path != "nemesis")
            || path == "client.retry"
        {
            continue;
        }
        let drawn = inner.keys.iter().filter(|key| !key.samples().is_empty());
        let drawn = drawn.map(|key| (format!("{path}.{}", key.name()), key.samples()));
        keys.extend(drawn.filter(|(path, _)| !is_separate(path)));
        single_keys(inner, &path, keys);
    }
}

/// Draws the settings of a run of `scenario` from `seed`: overrides, none of which contradict each other.
///
/// ```
/// use kernel::scenario::{Scenario, setting_generator};
///
/// let file = "../scenarios/baseline.toml";
/// let scenario = Scenario::load(file.as_ref(), &[])?;
/// let settings = setting_generator::settings(&scenario, 7);
/// assert!(settings.iter().any(|setting| setting.starts_with("load.rate=")));
/// Scenario::load(file.as_ref(), &settings)?;
/// # Ok::<(), kernel::scenario::ScenarioError>(())
/// ```
pub fn settings(scenario: &Scenario, seed: u64) -> Vec<String> {
    let mut rng = Entropy::new(seed).stream("scenario.swarm");
    // The odds of a policy are from one in ten to nine in ten.
    let odds = 0.1 + 0.8 * unit(&mut rng);
    let mut draw = Draw { rng, odds, settings: Vec::new() };
    // What is drawn would contradict it.
    if scenario.notes.has_service_config {
        draw.set("client.service_config", OFF);
    }
    // A change needs its table and its time, and what is drawn may have neither.
    if !scenario.changes.is_empty() {
        draw.set("change", "[]");
    }
    let policies = &scenario.client.policies;
    let are_on = [
        policies.adaptive_throttling.is_some(),
        policies.adaptive_concurrency.is_some(),
        policies.adaptive_timeout.is_some(),
        policies.adaptive_hedging.is_some(),
    ];
    for (name, is_on) in ADAPTIVE.iter().zip(are_on) {
        if is_on {
            draw.set(&format!("client.{name}"), OFF);
        }
    }
    // So do this table and a limit of admission.
    if scenario.servers.adaptive_queue.is_some() {
        draw.set("servers.adaptive_queue", OFF);
    }
    draw.run(scenario);
    draw.client();
    let mut separate = Draw { rng: Entropy::new(seed).stream("scenario.swarm.profile"), ..draw };
    separate.profile();
    let mut breaker = Draw { rng: Entropy::new(seed).stream("scenario.swarm.breaker"), ..separate };
    breaker.separately(&BREAKER_SETTINGS);
    let mut health = Draw { rng: Entropy::new(seed).stream("scenario.swarm.health"), ..breaker };
    health.separately(&HEALTH_SETTINGS);
    // Each service has settings of its own, which stay.
    if scenario.has_services() {
        health.settings.retain(|set| !set.starts_with("servers."));
    }
    // Faults of its link may need the store of a file, so that its cache stays as it is.
    if scenario.store().is_some() {
        health.settings.retain(|set| !sets(set, "client.cache"));
    }
    health.settings
}

struct Draw<R> {
    rng: R,
    odds: f64,
    settings: Vec<String>,
}

impl<R: Rng> Draw<R> {
    /// Draws the run's length, load, servers and single keys.
    fn run(&mut self, scenario: &Scenario) {
        let last = scenario.faults.iter().map(|fault| fault.at.as_secs_f64()).fold(0.0, f64::max);
        let more: f64 = self.any(&[0.05, 1.0, 5.0, 10.0, 15.0]);
        let seconds = (last + more).min(scenario.duration.as_secs_f64());
        self.set("duration", &format!("{}ms", (seconds * 1e3).ceil()));
        self.load(&scenario.load, seconds);
        let hit = scenario.faults.iter().flat_map(|fault| &fault.targets).filter(|target| **target != STORE);
        let least = hit.max().map_or(1, |last| last + 1);
        let replicas: Vec<usize> = [1, 2, 3, 5, 20].into_iter().filter(|replicas| *replicas >= least).collect();
        let replicas = self.any(&replicas);
        self.set("servers.replicas", &replicas.to_string());
        if matches!(scenario.workload, Workload::Sobel(_)) {
            let sizes = self.any(SIZES.samples);
            self.set("workload.sizes", sizes);
        }
        let mut keys = Vec::new();
        single_keys(TABLE, "", &mut keys);
        let replays = scenario.load.trace_us.is_some() && !self.settings.iter().any(|set| sets(set, "load.arrivals"));
        keys.retain(|(key, _)| !replays || key != "load.arrivals");
        for (key, values) in keys {
            if self.is_on() {
                let value = self.any(values).trim_matches('"');
                self.set(&key, value);
            }
        }
        for set in sample_sets(table_at("servers.admission"), "servers.admission") {
            self.maybe("servers.admission", &set);
        }
        self.off_unless_drawn("servers.admission");
        // A limit of admission has an effect only if there is room for more.
        if self.settings.iter().any(|set| set.contains("max_concurrent_requests")) {
            self.replace("servers.queue", "64");
        }
    }

    /// Draws the rate of the load. Stages, users and a trace stay as they are, unless they make too many requests.
    fn load(&mut self, load: &Load, seconds: f64) {
        if !load.is_plain() {
            if load.requests(Duration::from_secs_f64(seconds)) <= REQUESTS_MAX {
                return;
            }
            self.set("load.stage", "[]");
            self.set("load.users", "0");
            self.set("load.arrivals", "constant");
        }
        let rates: Vec<f64> =
            [0.5, 5.0, 20.0, 50.0, 100.0, 500.0].into_iter().filter(|rate| rate * seconds <= REQUESTS_MAX).collect();
        let rate = self.any(&rates);
        self.set("load.rate", &format!("{rate:?}"));
    }

    fn client(&mut self) {
        let hedges = self.is_on();
        let attempts = if hedges { "1" } else { self.any(&["1", "2", "3", "5", "100"]) };
        for set in sample_sets(table_at("client.retry"), "client.retry") {
            let retry = self.table(&set, &format!("max_attempts = {attempts}"));
            self.set("client.retry", &retry);
        }
        for (key, set) in client_tables(|name| name == "hedging") {
            let hedging = if hedges { self.table(&set, "") } else { "off".to_owned() };
            self.set(&key, &hedging);
        }
        let bounds = client_tables(|name| BOUNDS.contains(&name));
        if hedges || attempts != "1" {
            bounds.iter().for_each(|(key, set)| self.maybe(key, set));
        }
        bounds.iter().for_each(|(key, _)| self.off_unless_drawn(key));
        let others = client_tables(|name| name != "hedging" && !BOUNDS.contains(&name));
        others.iter().for_each(|(key, set)| self.maybe(key, set));
        others.iter().for_each(|(key, _)| self.off_unless_drawn(key));
        self.balancing();
        let is_stale = self.settings.iter().any(|set| set.starts_with("client.fallback=") && set.contains("\"stale\""));
        if is_stale && self.settings.iter().any(|set| set == "client.cache=off") {
            self.replace("client.fallback", "off");
        }
    }

    fn balancing(&mut self) {
        let policies = Balancing::TABLE.kinds.map_or(&[][..], |kinds| kinds.variants);
        let (policy, table) = self.any(policies);
        // A client that sends everything to one server has no server to warm up.
        if policy == "pick_first" {
            self.replace("client.slow_start", "off");
        }
        for set in sample_sets(table, "client.load_balancing") {
            let table = self.table(&set, &format!("policy = \"{policy}\""));
            self.set("client.load_balancing", &table);
        }
    }

    /// Draws the profile, and the settings in which the profiles differ.
    fn profile(&mut self) {
        if unit(&mut self.rng) < 0.3 {
            self.set("client.profile", Profile::Grpc.name());
        }
        self.separately(&DRAWN_SEPARATELY);
        for table in SWITCHED_SEPARATELY {
            if unit(&mut self.rng) < 0.15 {
                self.replace(table, "off");
            }
        }
        let keepalive = if unit(&mut self.rng) < 0.2 {
            let path = format!("client.{KEEPALIVE}");
            let set = sample_sets(table_at(&path), &path).into_iter().next().unwrap_or_default();
            self.table(&set, "")
        } else {
            "off".to_owned()
        };
        self.set("client.keepalive", &keepalive);
    }

    /// Draws each of these settings whose table is on, or leaves it as it is.
    fn separately(&mut self, paths: &[&str]) {
        for path in paths {
            let (table, key) = path.rsplit_once('.').unwrap_or_default();
            let declared = table_at(table).keys.iter().find(|declared| declared.name() == key);
            let value = declared.map(|key| self.any(key.samples())).unwrap_or_default();
            // An optional table is off unless it was drawn.
            let is_off = self.settings.iter().any(|set| *set == format!("{table}=off"));
            // A window is of calls or of time.
            let is_excluded = key == "sliding_window_duration"
                && self.settings.iter().any(|set| sets(set, table) && set.contains("sliding_window_size"));
            if self.is_on() && !is_off && !is_excluded {
                self.set(path, value.trim_matches('"'));
            }
        }
    }

    /// Draws the table, or not. It replaces one of the same name.
    fn maybe(&mut self, key: &str, keys: &[Samples]) {
        if self.is_on() {
            let table = self.table(keys, "");
            self.replace(key, &table);
        }
    }

    /// Draws an inline table with a random half of its keys, after `first`.
    fn table(&mut self, keys: &[Samples], first: &str) -> String {
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

    /// Draws one of `values`, which is not empty.
    fn any<T: Copy>(&mut self, values: &[T]) -> T {
        values[(unit(&mut self.rng) * values.len() as f64) as usize]
    }

    fn set(&mut self, key: &str, value: &str) {
        self.settings.push(format!("{key}={value}"));
    }

    fn replace(&mut self, key: &str, value: &str) {
        self.settings.retain(|set| !sets(set, key));
        self.set(key, value);
    }

    fn off_unless_drawn(&mut self, key: &str) {
        if !self.settings.iter().any(|set| sets(set, key)) {
            self.set(key, "off");
        }
    }
}

/// Returns whether the setting is of `key`.
fn sets(setting: &str, key: &str) -> bool {
    setting.strip_prefix(key).is_some_and(|rest| rest.starts_with('='))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeSet, fs, path::PathBuf};

    use super::*;

    /// Returns every scenario there is, with its file.
    pub(super) fn scenarios() -> Vec<(PathBuf, Scenario)> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../scenarios");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let files = files.filter(|path| path.extension().is_some_and(|ending| ending == "toml"));
        files.map(|path| (path.clone(), Scenario::load(&path, &[]).unwrap())).collect()
    }

    #[test]
    fn whatever_is_drawn_of_whatever_scenario_is_right_and_the_same_again() {
        for (path, scenario) in scenarios() {
            for seed in 0..40 {
                let mut drawn = settings(&scenario, seed);
                assert_eq!(drawn, settings(&scenario, seed));
                // The phases that it expects something of may be gone.
                drawn.push("expect=[]".to_owned());
                let run = Scenario::load(&path, &drawn).unwrap_or_else(|wrong| panic!("{drawn:#?}\n{wrong}"));
                assert!(run.load.requests(run.duration) <= REQUESTS_MAX, "{drawn:?}");
            }
        }
    }

    #[test]
    fn every_table_with_a_role_of_its_own_is_declared() {
        let optional = client_tables(|_| true);
        for name in BOUNDS.iter().chain(&DRAWN_LAST).chain(&["hedging", "slow_start"]) {
            assert!(optional.iter().any(|(path, _)| *path == format!("client.{name}")), "{name}");
        }
    }

    #[test]
    fn every_optional_table_and_every_key_with_samples_can_be_drawn() {
        fn assert_drawn(table: &TableInfo, path: &str) {
            let drawn: BTreeSet<&str> = sample_sets(table, path).into_iter().flatten().map(|(key, _)| key).collect();
            let separate = |key: &str| is_separate(&join(path, key));
            let sampled = table.keys.iter().filter(|key| !key.samples().is_empty() && !separate(key.name()));
            sampled.for_each(|key| assert!(drawn.contains(key.name()), "{path}.{} is in no set", key.name()));
            for set in table.draw.iter().flat_map(|set| set.iter()) {
                assert!(table.names().contains(set), "{path} has no {set}");
            }
            // The tables of services and edges have the keys of others, and stay as they are.
            let inner = table.tables.iter().filter(|(name, ..)| !["service", "edge"].contains(name));
            inner.for_each(|(name, _, inner)| assert_drawn(inner, &join(path, name)));
        }
        assert_drawn(TABLE, "");
        client_tables(|_| true).iter().for_each(|(path, set)| assert!(!set.is_empty(), "{path} is never drawn"));
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

    /// Returns the policy that this setting switches on, if it does.
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
