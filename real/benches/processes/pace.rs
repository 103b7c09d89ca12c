//! How exactly the open loop follows its schedule: sent less intended, of a run's load process at 1,000 requests/s.

use std::{
    fs,
    process::{Command, Stdio},
};

use kernel::{measure::Latencies, record::RequestRow};

/// Small images, so that servers and load do not take each other's time.
const SCENARIO: &str = "name = \"pace\"\nduration = \"10s\"\n[workload]\nsizes = [\"16x16\"]\n[load]\nrate = 1000\n[run]\nmax_lateness = \"24h\"\n";

/// Prints by how much requests are late.
pub(crate) fn accuracy() {
    let folder = tempfile::tempdir().expect("a temporary folder can be made");
    let (scenario, run) = (folder.path().join("pace.toml"), folder.path().join("run"));
    fs::write(&scenario, SCENARIO).expect("a file can be written");
    let mut command = Command::new(env!("CARGO_BIN_EXE_real"));
    command.arg(&scenario).arg("--out").arg(&run).arg("--plain").stdout(Stdio::null()).stderr(Stdio::null());
    let ended = command.status().expect("the run can be started");
    assert!(ended.success(), "the run ended with {ended}");
    let text = fs::read_to_string(run.join("requests.jsonl")).expect("a run leaves its requests");
    let rows = text.lines().map(|line| serde_json::from_str::<RequestRow>(line).expect("every line is a request"));
    let late = Latencies::new(rows.map(|row| row.sent_us.expect("it was sent") - row.intended_us));
    let us = |per_mille| late.percentile(per_mille).expect("there are requests");
    println!("sent later than intended, at 1,000 requests/s of 16x16");
    println!("  p50 {} µs, p99 {} µs, at most {} µs\n", us(500), us(990), us(1000));
}
