//! A process that was stopped makes the run another one than the scenario describes, and the run says so.

use std::{fs, path::Path, time::Duration};

use kernel::measure::{Summary, Verdict};

use crate::child::{Run, stop_for};

/// The reset says that the run is under way; the freeze is the fault that is late. The bound is more than a busy machine is
/// late by, and less than what [`STOPPED`] leads to, whenever the reset is seen before the freeze.
const STORY: &str = r#"
name = "late"
duration = "8s"
[servers]
replicas = 1
[workload]
sizes = ["8x8"]
[load]
rate = 20
[run]
max_lateness = "1s"
[[fault]]
at = "500ms"
kind = "reset"
target = "server-0"
[[fault]]
at = "3s"
kind = "freeze"
target = "server-0"
duration = "100ms"
"#;

/// The time for which a process is stopped, from the reset to after the freeze.
const STOPPED: Duration = Duration::from_secs(4);

/// Plays [`STORY`] with the process that `pick` chooses stopped over the instant of the freeze.
fn summary(pick: impl FnOnce(&Run) -> u32) -> Summary {
    let directory = tempfile::tempdir().expect("there is room for a folder");
    let (scenario, out) = (directory.path().join("late.toml"), directory.path().join("run"));
    fs::write(&scenario, STORY).expect("there is room for a file");
    let mut run = Run::start_with(&scenario, 1, &out, &[]);
    run.wait_until_it_says("nemesis: reset");
    stop_for(pick(&run), STOPPED);
    let (status, said) = run.end();
    assert_eq!(status.code(), Some(3), "{said}");
    let text = fs::read_to_string(out.join("summary.json")).expect("the folder is whole");
    serde_json::from_str(&text).expect("it is a summary")
}

fn is_generator(id: u32) -> bool {
    let line = fs::read(Path::new("/proc").join(id.to_string()).join("cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0).any(|word| word == b"generator")
}

#[test]
fn a_stopped_orchestrator_plays_a_fault_too_late_and_the_run_is_untrusted() {
    let summary = summary(Run::id);
    assert_eq!(summary.verdict(), Verdict::Untrusted);
    assert!(summary.pass, "nothing is expected, so that only lateness speaks against it");
    let faults = &summary.lateness.faults;
    // Its end, which follows its start, is as late.
    assert!(faults.latest.as_ref().is_some_and(|latest| latest.ends_with(" of fault-1 on server-0")), "{faults:?}");
    assert!(faults.too_late >= 1 && faults.max_s.is_some_and(|late| late > 1.0), "{faults:?}");
}

#[test]
fn a_stopped_load_process_sends_too_late_and_the_run_is_untrusted() {
    let summary = summary(|run| run.children().into_iter().find(|id| is_generator(*id)).expect("there is one"));
    assert_eq!(summary.verdict(), Verdict::Untrusted);
    let sends = &summary.lateness.sends;
    assert!(sends.too_late >= 1 && sends.max_s.is_some_and(|late| late > 1.0), "{sends:?}");
}
