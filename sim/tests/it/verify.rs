//! `sim verify` passes runs that repeat, and catches leaks.

use std::fs;

use tempfile::TempDir;

use crate::command::{Ended, sim};

const SCENARIO: &str = r#"name = "story"
duration = "3s"

[servers]
service_time_min = "20ms"

[workload]
sizes = ["8x8", "16x16"]

[load]
rate = 40.0
arrivals = "poisson"

[client]
attempt_timeout = "300ms"

[[fault]]
at = "1s"
kind = "freeze"
target = "server-1"
duration = "1s"

[[fault]]
at = "2500ms"
kind = "crash"
target = "server-0"
"#;

fn verify(arguments: &[&str]) -> Ended {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("story.toml"), SCENARIO).unwrap();
    Ended::after(sim(folder.path()).arg("verify").args(arguments))
}

#[test]
fn runs_that_repeat_are_the_same() {
    let ended = verify(&["story.toml", "--seeds", "0..9"]);
    assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.starts_with("SAME  9 pairs of runs, each in two processes (seeds 0..9)"), "{ended:?}");
    let line = ended.stdout.lines().last().unwrap();
    let cells: Vec<_> = line.split_whitespace().collect();
    let events: u64 = cells[2].parse().unwrap();
    assert_eq!((cells[0], cells[1], cells[3]), ("story", "9", "9"));
    assert!(events > 9 * 1_000, "there is little to compare: {events}");
}

#[test]
fn a_scenario_that_cannot_be_run_is_wrong_input() {
    for arguments in [
        &["missing.toml"][..],
        &["story.toml", "--seeds", "4..4"],
        &["story.toml", "--set", "load.rat=1"],
        &["story.toml", "--calibration", "missing.toml"],
        &["story.toml", "--set", "workload={images=\"*.png\"}"],
        &[],
    ] {
        let ended = verify(arguments);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{arguments:?}: {ended:?}");
        assert!(ended.stderr.starts_with("error: ") && !ended.stderr.contains("error: error"), "{ended:?}");
    }
}

/// Tests that the check can fail.
#[cfg(feature = "canaries")]
mod canaries {
    use clap::ValueEnum;
    use sim::canary::Canary;

    use super::verify;

    /// The leaks that end a run when they are used, and what the message names in their place.
    const REFUSED: [(Canary, &str); 5] = [
        (Canary::EscapedTask, "use `host.spawn` (`World::spawn`) in place of `tokio::spawn`"),
        (Canary::TokioClock, "use `host.sleep` (`World::sleep_until`, `timeout_at`) in place of `tokio::time`"),
        (Canary::SpawnBlocking, "use `host.compute` (`World::compute`) in place of `spawn_blocking`"),
        (Canary::ForeignThread, "the code starts a thread (`pthread_create`)"),
        (Canary::ForeignSocket, "the code opens a socket of the operating system (`socket`)"),
    ];

    /// Prints the README's table, with `--nocapture`.
    #[test]
    fn every_leak_is_caught() {
        for canary in
            Canary::value_variants().iter().filter(|canary| !REFUSED.iter().any(|(refused, _)| refused == *canary))
        {
            let name = canary.to_possible_value().unwrap().get_name().to_owned();
            let mut arguments = vec!["story.toml", "--seeds", "0..10", "--canary", &name];
            // There is a key exchange only where connections are encrypted.
            if *canary == Canary::RingGroup {
                arguments.extend(["--set", "tls=on"]);
            }
            let ended = verify(&arguments);
            assert_eq!(ended.code, Some(1), "{name} was not caught: {ended:?}");
            let shown: Vec<_> =
                ended.stdout.lines().skip_while(|line| !line.contains(" differs, at ")).take(3).collect();
            assert!(shown[0].starts_with("  story with seed ") && shown[0].contains(" on "), "{ended:?}");
            assert!(shown[1].starts_with("    first ") && shown[2].starts_with("    second"), "{ended:?}");
            let same = ended.stdout.lines().find(|line| line.starts_with("  story ")).unwrap();
            println!("{name:16} {same}\n{}\n", shown.join("\n"));
        }
    }

    #[test]
    fn what_goes_past_the_world_ends_the_run_with_the_remedy() {
        for (canary, remedy) in REFUSED {
            let name = canary.to_possible_value().unwrap().get_name().to_owned();
            let ended = verify(&["story.toml", "--seeds", "0..1", "--canary", &name]);
            assert_eq!((ended.code, ended.stdout.as_str()), (Some(3), ""), "{ended:?}");
            assert!(ended.stderr.contains(remedy), "{ended:?}");
        }
    }
}
