//! Alert rules as Debian's Prometheus evaluates them, and as this project does.

use std::{fs, path::Path, process::Command, sync::atomic::AtomicU64, time::Duration};

use kernel::{
    export::{EPOCH_S, Family, Timeline, Value, family::LATENCY_BOUNDS_US},
    scenario::{Scenario, Slo, SloKind},
    slo::{
        AlertReport, AlertRule,
        prometheus::{condition, description, rules_file, summary},
        report::Firing,
    },
};
use serde_json::{Value as Json, json};
use sim::Plan;
use tempfile::TempDir;

use crate::prometheus::{Prometheus, programs};

/// A run of `scenarios/alerts.toml`, with its metrics and its alerts.
struct Played {
    scenario: Scenario,
    timeline: Timeline,
    report: AlertReport,
    /// The time between two scrapes and the time between two evaluations, in seconds.
    intervals_s: (u64, u64),
}

impl Played {
    fn new(seed: u64, overrides: &[&str]) -> Self {
        let overrides: Vec<String> = overrides.iter().map(|&text| text.to_owned()).collect();
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/alerts.toml");
        let scenario = Scenario::load(&file, &overrides).expect("it is valid");
        let Slo { scrape_interval, evaluation_interval, .. } = scenario.slos[0];
        let plan = Plan::new(scenario.clone(), seed);
        let run = sim::run_measured(&plan, Duration::from_secs(600), &AtomicU64::new(0)).expect("it comes to its end");
        let timeline = run.timeline(&plan, scrape_interval);
        let report = AlertReport::of_run(&scenario.slos, &run.run.run.records, &run.run.summary(&plan));
        Self { scenario, timeline, report, intervals_s: (scrape_interval.as_secs(), evaluation_interval.as_secs()) }
    }

    /// Returns each rule of each objective, with the times during which we say that it fires.
    fn rules(&self) -> impl Iterator<Item = (&Slo, AlertRule, &[Firing])> {
        let slos = self.scenario.slos.iter().zip(&self.report.slos);
        slos.flat_map(|(slo, alerts)| {
            slo.rules().into_iter().zip(&alerts.rules).map(move |(rule, alerts)| (slo, rule, &alerts.firings[..]))
        })
    }

    /// Returns the evaluations of the run, in seconds since its start.
    fn evaluations(&self) -> Vec<u64> {
        let step = usize::try_from(self.intervals_s.1).expect("it is small");
        (0..=self.report.end_us / 1_000_000).step_by(step).collect()
    }
}

fn fires(firings: &[Firing], at_s: u64) -> bool {
    let at_us = at_s * 1_000_000;
    firings.iter().any(|firing| firing.fired_us <= at_us && firing.resolved_us.is_none_or(|end_us| at_us < end_us))
}

/// Returns whether the state changes within an interval of that time.
fn is_at_a_change(firings: &[Firing], at_s: u64, interval_s: u64) -> bool {
    let changes_us = firings.iter().flat_map(|firing| [Some(firing.fired_us), firing.resolved_us]).flatten();
    changes_us.into_iter().any(|change_us| (change_us / 1_000_000).abs_diff(at_s) <= interval_s)
}

fn promtool(programs: &Path, arguments: &[&str]) {
    let output = Command::new(programs.join("promtool")).args(arguments).output().expect("it starts");
    let (said, complained) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "promtool {arguments:?}: {said}{complained}");
}

#[test]
fn the_rules_in_the_repository_are_valid_and_pass_their_tests() {
    let Some(programs) = programs() else { return };
    let deploy = concat!(env!("CARGO_MANIFEST_DIR"), "/deploy/");
    promtool(&programs, &["check", "rules", &format!("{deploy}alerts.yml")]);
    promtool(&programs, &["check", "config", &format!("{deploy}prometheus.yml")]);
    promtool(&programs, &["test", "rules", &format!("{deploy}alerts.test.yml")]);
}

#[test]
fn a_condition_holds_when_prometheus_says_so() {
    let Some(programs) = programs() else { return };
    let other = ["slo.0.scrape_interval=3s", "slo.1.scrape_interval=3s", "slo.0.window=48h", "slo.1.window=48h"];
    let other = [&other[..], &["slo.0.evaluation_interval=2s", "slo.1.evaluation_interval=2s"]].concat();
    for (seed, overrides) in [(42, &[][..]), (7, &[]), (42, &other)] {
        let played = Played::new(seed, overrides);
        let folder = TempDir::new().expect("there is room");
        let prometheus = Prometheus::of_timeline(&programs, folder.path(), &played.timeline);
        let evaluations = played.evaluations();
        let range = (EPOCH_S, EPOCH_S + evaluations.last().expect("there are some"));
        let (mut fired, mut differ) = (0, 0);
        for (slo, rule, firings) in played.rules() {
            let times = prometheus.times(&condition(slo, &rule), range, played.intervals_s.1).expect("it answers");
            for at_s in &evaluations {
                let (ours, theirs) = (fires(firings, *at_s), times.contains(&(EPOCH_S + at_s)));
                let is_near = is_at_a_change(firings, *at_s, played.intervals_s.1);
                assert!(
                    ours == theirs || is_near,
                    "{} {} at {at_s} s: {ours}, Prometheus {theirs}",
                    slo.name,
                    rule.name
                );
                (fired, differ) = (fired + usize::from(ours), differ + usize::from(ours != theirs));
            }
        }
        assert!(fired > 100, "{fired}");
        println!(
            "seed {seed}: of {} evaluations, {fired} fire and {differ} differ from Prometheus",
            evaluations.len() * 6
        );
    }
}

/// Returns the series that the rules read, as a test of promtool has them.
fn input_series(played: &Played) -> Vec<Json> {
    let last = played.report.end_us.div_ceil(played.intervals_s.0 * 1_000_000);
    let series = |name: String, value: &dyn Fn(u64) -> Option<u64>| {
        let values: Vec<String> =
            (0..=last).map(|at| value(at).map_or_else(|| "_".to_owned(), |count| count.to_string())).collect();
        json!({ "series": name, "values": values.join(" ") })
    };
    let statuses = ["OK", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL"].into_iter().map(|status| {
        series(format!("rehearsal_requests_total{{status=\"{status}\"}}"), &|at| match played.timeline.value(
            Family::Requests,
            &[status],
            at,
        ) {
            Some(Value::Count(count)) => Some(*count),
            _ => None,
        })
    });
    let bound = LATENCY_BOUNDS_US.iter().position(|bound| *bound == 250_000).expect("it is a bound");
    let buckets = [("_bucket{status=\"OK\",le=\"0.25\"}", bound), ("_count{status=\"OK\"}", LATENCY_BOUNDS_US.len())];
    let buckets = buckets.into_iter().map(|(labels, place)| {
        series(format!("rehearsal_request_duration_seconds{labels}"), &|at| match played.timeline.value(
            Family::RequestDuration,
            &["OK"],
            at,
        ) {
            Some(Value::Distribution(distribution)) => distribution.cumulative().nth(place),
            _ => None,
        })
    });
    statuses.chain(buckets).collect()
}

/// Returns what promtool must find at each evaluation, but for those within an interval of a change.
fn expected(played: &Played) -> Vec<Json> {
    let mut tests = Vec::new();
    for name in ["SloBurnsFast", "SloBurnsSlow", "SloBurnsSteady"] {
        let rules: Vec<_> = played.rules().filter(|(_, rule, _)| rule.alert() == name).collect();
        for at_s in played.evaluations() {
            if rules.iter().any(|(.., firings)| is_at_a_change(firings, at_s, played.intervals_s.1)) {
                continue;
            }
            let firing = rules.iter().filter(|(.., firings)| fires(firings, at_s)).map(|(slo, rule, _)| {
                json!({
                    "exp_labels": { "slo": slo.name, "rule": rule.name, "severity": rule.severity },
                    "exp_annotations": { "summary": summary(slo, rule), "description": description(slo, rule) },
                })
            });
            let firing: Vec<Json> = firing.collect();
            tests.push(json!({ "eval_time": format!("{at_s}s"), "alertname": name, "exp_alerts": firing }));
        }
    }
    tests
}

#[test]
fn the_alerts_of_a_run_fire_in_promtool_when_we_say_so() {
    let Some(programs) = programs() else { return };
    for (seed, overrides) in [(42, &[][..]), (7, &["slo.0.for=4s", "slo.1.for=4s"])] {
        let played = Played::new(seed, overrides);
        assert_eq!(played.scenario.slos[1].kind, SloKind::Latency);
        let folder = TempDir::new().expect("there is room");
        fs::write(folder.path().join("rules.yml"), rules_file(&played.scenario.slos)).expect("there is room");
        let tests = expected(&played);
        assert!(tests.len() > 900, "{}", tests.len());
        let file = json!({
            "rule_files": ["rules.yml"],
            "evaluation_interval": "1s",
            "tests": [{ "interval": "1s", "input_series": input_series(&played), "alert_rule_test": tests }],
        });
        let path = folder.path().join("test.yml");
        // JSON is YAML.
        fs::write(&path, file.to_string()).expect("there is room");
        promtool(&programs, &["test", "rules", path.to_str().expect("it is text")]);
    }
}
