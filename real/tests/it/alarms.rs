//! Alarms of detectors while a run goes on.

use std::{
    fs,
    io::{BufRead, BufReader},
    process::Stdio,
    thread,
};

use crate::{
    command::command_of,
    metrics::{value, wait},
    user::Foreground,
};

/// A second of learning in which nothing happens takes ten steps of 100 ms; all calls of three seconds fail. A call takes at least 20 ms, so
/// that one is not slow because the machine is busy.
const SCENARIO: &str = r#"
name = "alarming"
duration = "14s"
[run]
max_lateness = "1h"
[servers]
replicas = 2
workers = 8
service_time_min = "20ms"
[workload]
sizes = ["8x8"]
[load]
rate = 50
[client.retry]
max_attempts = 1
[[fault]]
at = "6s"
kind = "errors"
rate = 1.0
status = "UNAVAILABLE"
target = ["server-0", "server-1"]
duration = "3s"
"#;

/// Returns the place of the first line from `from` on that has all `words`.
fn place(lines: &[String], from: usize, words: &[&str]) -> usize {
    let found = lines[from..].iter().position(|line| words.iter().all(|word| line.contains(word)));
    from + found.unwrap_or_else(|| panic!("no line from {from} on has {words:?}:\n{}", lines.join("\n")))
}

#[test]
fn an_alarm_is_raised_after_a_fault_and_ends_after_it_on_the_terminal_and_in_the_metrics() {
    const DETECTOR: &str = "cusum";
    let folder = tempfile::tempdir().expect("there is room");
    let scenario = folder.path().join("alarming.toml");
    fs::write(&scenario, SCENARIO).expect("there is room");
    let mut command = command_of(env!("CARGO_BIN_EXE_real"));
    command.arg(&scenario).args(["--plain", "--detect", "100ms", "--metrics", "127.0.0.1:0", "--out"]);
    command.arg(folder.path().join("run")).stdout(Stdio::null()).stderr(Stdio::piped());
    let mut run = Foreground(command.spawn().expect("it starts"));
    let mut said = BufReader::new(run.0.stderr.take().expect("it is a pipe"));
    let mut line = String::new();
    said.read_line(&mut line).expect("it is text");
    let address = line.trim().strip_prefix("metrics are at http://").and_then(|rest| rest.strip_suffix("/metrics"));
    let address = address.and_then(|address| address.parse().ok()).unwrap_or_else(|| panic!("it says {line}"));
    #[expect(clippy::disallowed_methods, reason = "the test reads what the program says, outside of any World")]
    let lines = thread::spawn(move || said.lines().map(|line| line.expect("it is text")).collect::<Vec<_>>());

    let active = format!(r#"rehearsal_detector_alarm_active{{detector="{DETECTOR}"}}"#);
    let failing = |target: &str| format!(r#"rehearsal_fault_active{{fault="0",kind="errors",target="{target}"}}"#);
    wait(address, &failing("server-1"), |level| level == 1.0);
    wait(address, &active, |level| level == 1.0);
    let text = wait(address, &active, |level| level == 0.0);
    let raised = value(&text, &format!(r#"rehearsal_detector_alarms_total{{detector="{DETECTOR}"}}"#));
    assert!(raised.is_some_and(|alarms| alarms >= 1.0), "{text}");
    assert_eq!(value(&text, &failing("server-1")), Some(0.0), "it ends after the fault:\n{text}");

    assert!(run.0.wait().expect("it is our child").success());
    let lines = lines.join().expect("it is text");
    let begins = place(&lines, 0, &["nemesis: errors server-0"]);
    let raised = place(&lines, begins, &["detector cusum: alarm, ", " times its threshold"]);
    let lifted = place(&lines, begins, &["nemesis: errors server-0 is over"]);
    let ended = place(&lines, raised, &["detector cusum: the alarm is over"]);
    assert!(raised < lifted && lifted < ended, "{}", lines.join("\n"));
}
