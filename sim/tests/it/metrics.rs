//! The metrics of simulated runs over their virtual time.

use std::{collections::BTreeSet, fs, sync::atomic::AtomicU64, time::Duration};

use kernel::{
    export::{Family, Timeline, Value},
    record::{Name, RequestRow},
    scenario::Scenario,
    status::{Code, Outcome},
};
use sim::{MeasuredRun, Plan};
use tempfile::TempDir;

use crate::{
    command::{Ended, scenario, sim},
    simulated::files,
};

/// The digest of `crash_then_freeze` with seed 42, which `pinned` has, too.
const DIGEST: &str = "1494166b68c5c0e6f378c8101aa8ff3bd332e7fc91aedaa83f7c798ad6e59a11";

fn measured(plan: &Plan) -> (MeasuredRun, Timeline) {
    let measured = sim::run_measured(plan, Duration::from_secs(600), &AtomicU64::new(0)).unwrap();
    let timeline = measured.timeline(plan, Duration::from_secs(1));
    (measured, timeline)
}

#[test]
fn the_same_seed_gives_the_same_bytes_and_the_digest_of_a_run_without_metrics() {
    let folder = TempDir::new().unwrap();
    let play = |out: &str| {
        let mut command = sim(folder.path());
        command.arg(scenario("crash_then_freeze")).args(["--seed", "42", "--out", out, "--metrics"]);
        Ended::after(command.arg(format!("{out}.om")))
    };
    for out in ["one", "two"] {
        let ended = play(out);
        assert_eq!((ended.code, ended.reported("digest")), (Some(0), DIGEST), "{ended:?}");
    }
    let text = |out| fs::read_to_string(folder.path().join(out)).unwrap();
    assert!(text("one.om") == text("two.om"));
    let mut long = sim(folder.path());
    long.arg(scenario("crash_then_freeze")).args([
        "--set",
        "duration=24h",
        "--metrics",
        "x",
        "--metrics-interval",
        "1ms",
    ]);
    let long = Ended::after(&mut long);
    assert_eq!(long.code, Some(2));
    assert!(
        long.stderr.contains("choose a longer --metrics-interval") && !folder.path().join("x").exists(),
        "{long:?}"
    );
    let again = play("one");
    assert_eq!(again.code, Some(2));
    assert!(again.stderr.contains("one.om exists; choose another --metrics, or replace it with --force"), "{again:?}");
}

#[test]
fn a_file_has_each_series_at_once_and_in_order_of_time() {
    let scenario = Scenario::load(&scenario("crash_then_freeze"), &[]).unwrap();
    let (_, timeline) = measured(&Plan::new(scenario, 42));
    let mut text = Vec::new();
    timeline.write(&mut text).unwrap();
    let text = String::from_utf8(text).unwrap();
    assert!(text.ends_with("\n# EOF\n"));
    let mut seen = BTreeSet::new();
    let (mut family, mut present, mut last) = ("", String::new(), 0.0);
    for line in text.lines() {
        if let Some(head) = line.strip_prefix("# TYPE ") {
            family = head.split(' ').next().unwrap();
        }
        if line.starts_with('#') {
            continue;
        }
        assert!(line.starts_with(family), "{line} is not of {family}");
        let words: Vec<_> = line.rsplitn(3, ' ').collect();
        let (at, name) = (words[0].parse::<f64>().unwrap(), words[2]);
        // All buckets of a histogram are of one series: its labels without `le`.
        let series = name.split("le=\"").next().unwrap().trim_end_matches([',', '{', '}']);
        let series = series.replace("_bucket", "").replace("_sum", "").replace("_count", "");
        if series != present {
            assert!(seen.insert(series.clone()), "{line} is apart from others of its series");
            (present, last) = (series, 0.0);
        }
        assert!(at >= last, "{line} is out of order");
        last = at;
    }
}

#[test]
fn a_crash_is_seen_in_every_metric_that_it_concerns() {
    let scenario = Scenario::load(&scenario("crash_then_freeze"), &[]).unwrap();
    let (_, timeline) = measured(&Plan::new(scenario, 42));
    let level = |family, labels: &[&str], at| match timeline.value(family, labels, at) {
        Some(Value::Level(level)) => Some(*level),
        Some(Value::Count(count)) => i64::try_from(*count).ok(),
        _ => None,
    };
    let fault = ["0", "crash", "server-0"];
    // Nothing restarts it, so that the crash as a fault is over at once.
    assert_eq!([24, 26].map(|at| level(Family::FaultsBegun, &fault, at)), [Some(0), Some(1)]);
    assert_eq!([24, 26, 80].map(|at| level(Family::ServerUp, &["server-0"], at)), [Some(1), Some(0), Some(0)]);
    let freeze = ["1", "freeze", "server-1"];
    assert_eq!([44, 50, 60].map(|at| level(Family::FaultActive, &freeze, at)), [None, Some(1), Some(0)]);
    assert_eq!([24, 26].map(|at| level(Family::ServerHealthy, &["server-0"], at)), [Some(1), Some(0)]);
    assert_eq!(level(Family::ServerConnected, &["server-0"], 26), Some(0));
    assert_eq!(level(Family::Workers, &["server-0"], 26), Some(8));
    let target = "rehearsal:///servers";
    assert_eq!(level(Family::Disconnections, &[target, "server-0"], 26), Some(1));
    let killed = ["rehearsal.v1.Rehearsal/ProcessImage", "CANCELLED", "server-0"];
    assert_eq!(timeline.value(Family::ServerCallDuration, &killed, 26), None, "a killed process measures nothing");
}

#[test]
fn the_bytes_that_one_end_has_sent_are_those_that_the_other_has_received() {
    for (method, workload) in [
        ("ProcessImage", "kind = \"sobel\"\nsizes = [\"40x30\"]"),
        ("ProcessImages", "kind = \"sobel\"\nsizes = [\"40x30\"]\ntiles = 3"),
        ("SearchGraph", "kind = \"dfs\"\nnodes = 900\nedges = 1200"),
        ("GetData", "kind = \"backend\"\nfailure_rate = 0.3"),
    ] {
        let text = format!("name = \"sizes\"\nduration = \"5s\"\nload = {{ rate = 30 }}\n[workload]\n{workload}\n");
        let scenario = Scenario::parse("sizes.toml", &text, &[]).unwrap();
        let (run, timeline) = measured(&Plan::new(scenario, 42));
        let attempts = &run.run.run.records.attempts;
        let method = format!("rehearsal.v1.Rehearsal/{method}");
        let sizes = |family, status: &str, server: &str| {
            let of_client = [&*method, "rehearsal:///servers", status, server];
            let of_server = [&*method, status, server];
            let is_of_client = matches!(family, Family::AttemptSentBytes | Family::AttemptReceivedBytes);
            match timeline.value(family, if is_of_client { &of_client } else { &of_server }, u64::MAX) {
                Some(Value::Distribution(sizes)) => (sizes.count(), sizes.sum()),
                _ => (0, 0),
            }
        };
        let mut all = (0, 0, 0);
        for server in ["server-0", "server-1"] {
            for status in Code::names() {
                let sent = sizes(Family::AttemptSentBytes, status, server);
                let received = sizes(Family::AttemptReceivedBytes, status, server);
                assert_eq!(sizes(Family::ServerCallReceivedBytes, status, server), sent, "{method} {status}");
                assert_eq!(sizes(Family::ServerCallSentBytes, status, server), received, "{method} {status}");
                let ended = attempts.iter().filter(|row| row.server.as_str() == server && row.status.name() == status);
                assert_eq!(sent.0, ended.count() as u64, "{method} {status}");
                assert!(status == "OK" || received.1 == 0, "{method} {status}");
                all = (all.0 + sent.0, all.1 + sent.1, all.2 + received.1);
            }
        }
        // A picture has a byte for each of its pixels, the ids of requests up to 150 take one or two bytes, and the header of a message is none.
        let (count, sent, received) = all;
        assert!(count >= 150 && sent > 0 && received > 0, "{method}: {all:?}");
        if method.contains("Image") {
            assert!((1_200 * count..1_230 * count).contains(&sent), "{method}: {all:?}");
            assert!((1_200 * count..1_260 * count).contains(&received), "{method}: {all:?}");
        }
    }
}

#[test]
fn at_the_end_of_every_scenario_all_requests_are_counted_and_no_level_is_below_zero() {
    for file in files() {
        let Ok(scenario) = Scenario::load(&file, &[]) else { continue };
        // The others take longer, and differ in scale alone.
        if scenario.duration > Duration::from_secs(120) {
            continue;
        }
        let plan = Plan::new(scenario, 3);
        let Ok(run) = sim::run_measured(&plan, Duration::from_secs(600), &AtomicU64::new(0)) else { continue };
        let timeline = run.timeline(&plan, Duration::from_secs(1));
        let rows = &run.run.run.records.requests;
        let end = u64::MAX;
        let kinds = plan.scenario.load.request.iter().map(|kind| Some(kind.name.as_str())).collect::<Vec<_>>();
        for kind in if kinds.is_empty() { vec![None] } else { kinds } {
            for outcome in [Outcome::OK, Outcome::Dropped, Outcome::Degraded] {
                let is_of = |row: &&RequestRow| row.status == outcome && row.kind.as_ref().map(Name::as_str) == kind;
                let counted = Value::Count(rows.iter().filter(is_of).count() as u64);
                let labels: Vec<&str> = [outcome.name()].into_iter().chain(kind).collect();
                assert_eq!(
                    timeline.value(Family::Requests, &labels, end),
                    Some(&counted),
                    "{}: {labels:?}",
                    file.display()
                );
            }
        }
        assert_eq!(timeline.value(Family::RequestsInFlight, &[], end), Some(&Value::Level(0)), "{}", file.display());
        for at in 0..plan.scenario.duration.as_secs() {
            for server in plan.scenario.server_names() {
                for family in [Family::QueueLength, Family::BusyWorkers, Family::AttemptsInFlight] {
                    let value = timeline.value(family, &[&server], at);
                    let is_right = matches!(value, Some(Value::Level(level)) if *level >= 0);
                    assert!(is_right, "{}: {} of {server} at {at}: {value:?}", file.display(), family.name());
                }
            }
        }
    }
}
