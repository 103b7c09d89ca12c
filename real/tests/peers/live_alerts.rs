//! Alert rules in a Prometheus that scrapes a run while it goes on, and the same run in `reports alerts`.

#![expect(clippy::disallowed_types, reason = "Prometheus and a run go on outside of any World")]

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    net::{Ipv4Addr, TcpListener},
    path::{Path, PathBuf},
};

use serde_json::Value as Json;
use tempfile::TempDir;

use crate::{
    command::command_of,
    prometheus::{Prometheus, programs},
};

/// A run in which one of two servers fails every call for 12 s, and later delays calls by little. The windows of the rules are, of 4.8 h:
/// `fast` 24 s and 2 s, `slow` 144 s and 12 s, `steady` 28.8 min and 144 s. Half of all calls fail: that is over every rule of an
/// objective of 99 %, of all requests and of one kind; of 90 % only over `steady`. None of the calls that succeed takes 2 s.
const SCENARIO: &str = r#"
name = "live"
duration = "40s"
[servers]
replicas = 2
[workload]
sizes = ["8x8"]
[load]
rate = 40
[[load.request]]
name = "small"
[[load.request]]
name = "large"
sizes = ["16x16"]
[run]
max_lateness = "1h"
[client]
profile = "grpc"
deadline = "10s"
attempt_timeout = "10s"
retry.max_attempts = 1
load_balancing.policy = "round_robin"
[[fault]]
at = "14s"
kind = "errors"
target = "server-0"
rate = 1.0
duration = "12s"
[[fault]]
at = "34s"
kind = "delay"
target = "server-1"
latency = "1ms"
duration = "3s"
[[slo]]
name = "all"
objective = 0.99
window = "17280s"
scrape_interval = "500ms"
evaluation_interval = "500ms"
[[slo]]
name = "small"
objective = 0.99
request = "small"
window = "17280s"
scrape_interval = "500ms"
evaluation_interval = "500ms"
[[slo]]
name = "lenient"
objective = 0.9
window = "17280s"
scrape_interval = "500ms"
evaluation_interval = "500ms"
[[slo]]
name = "quick"
objective = 0.99
kind = "latency"
threshold = "2s"
window = "17280s"
scrape_interval = "500ms"
evaluation_interval = "500ms"
"#;

/// The alerts of a run: objective and rule, and the fault after which it fired first.
type Fired = BTreeMap<(String, String), Option<u64>>;

/// Returns `reports`, which is built beside `real`; `None` if it is not, which is printed.
fn reports() -> Option<PathBuf> {
    let program = Path::new(env!("CARGO_BIN_EXE_real")).with_file_name("reports");
    if program.exists() {
        return Some(program);
    }
    let skipped = "skipped: alerts of a live run beside `reports`, which `cargo build -p reports` builds\n";
    let _ = std::io::stderr().write_all(skipped.as_bytes());
    None
}

/// Returns the alerts that fired in a run by `reports alerts`.
fn of_reports(reports: &Path, run: &Path) -> Fired {
    let output = command_of(reports).arg("alerts").arg(run).arg("--json").output().expect("it starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let report: Json = serde_json::from_slice(&output.stdout).expect("it is JSON");
    let slos = report["slos"].as_array().expect("there are objectives").iter();
    let rules = slos.flat_map(|slo| slo["rules"].as_array().into_iter().flatten().map(move |rule| (slo, rule)));
    rules
        .filter_map(|(slo, rule)| {
            let first = rule["firings"].as_array()?.first()?;
            Some(((text(&slo["slo"]), text(&rule["rule"])), first["fault"].as_u64()))
        })
        .collect()
}

/// Returns the alerts that fired in Prometheus, with the fault that was active then or within the two seconds before.
fn of_prometheus(prometheus: &Prometheus) -> Fired {
    let alerts = prometheus.series("ALERTS{alertstate=\"firing\"}[5m]");
    let faults = prometheus.series("rehearsal_fault_active[5m]");
    alerts
        .iter()
        .map(|alert| {
            let first_s = alert.points.first().expect("a series has points").0;
            let is_active = |points: &[(f64, f64)]| {
                points.iter().any(|(at_s, level)| *level == 1.0 && (first_s - 2.0..=first_s).contains(at_s))
            };
            let active = faults.iter().find(|fault| is_active(&fault.points));
            let fault = active.and_then(|fault| fault.label("fault").parse().ok());
            ((alert.label("slo"), alert.label("rule")), fault)
        })
        .collect()
}

fn text(value: &Json) -> String {
    value.as_str().expect("it is a text").to_owned()
}

#[test]
fn a_prometheus_that_scrapes_a_live_run_fires_the_alerts_that_reports_does() {
    let (Some(programs), Some(reports)) = (programs(), reports()) else { return };
    let folder = TempDir::new().expect("there is room");
    let file = folder.path().join("live.toml");
    fs::write(&file, SCENARIO).expect("there is room");
    let rules = command_of(env!("CARGO_BIN_EXE_real")).arg("alert-rules").arg(&file).output().expect("it starts");
    assert!(rules.status.success(), "{}", String::from_utf8_lossy(&rules.stderr));
    fs::write(folder.path().join("rules.yml"), &rules.stdout).expect("there is room");

    // Prometheus is there before the run is, so that it sees all of it.
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
    let target = free.expect("there is a free port").to_string();
    let configuration = format!(
        "global: {{ scrape_interval: 500ms, scrape_timeout: 500ms, evaluation_interval: 500ms }}\nrule_files: [rules.yml]\n\
         scrape_configs: [{{ job_name: rehearsal, static_configs: [{{ targets: ['{target}'] }}] }}]\n"
    );
    let prometheus = Prometheus::start(&programs, folder.path(), &configuration, &[]);
    let place = folder.path().join("run");
    let mut run = command_of(env!("CARGO_BIN_EXE_real"));
    let run = run.arg(&file).args(["--plain", "--metrics", &target, "--out"]).arg(&place).output().expect("it starts");
    assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));

    let ours = of_reports(&reports, &place);
    let theirs = of_prometheus(&prometheus);
    let all = ["all", "small"].into_iter().flat_map(|slo| ["fast", "slow", "steady"].map(|rule| (slo, rule)));
    let expected = all.chain([("lenient", "steady")]).map(|(slo, rule)| ((slo.to_owned(), rule.to_owned()), Some(0)));
    assert_eq!(ours, expected.collect::<Fired>());
    assert_eq!(theirs, ours);
    println!("live: {} alerts fired after fault 0, in Prometheus as in reports", theirs.len());
}
