//! Encrypted connections in the simulation: certificates, their faults, and what handshakes cost.

use std::{fs, sync::atomic::AtomicU64};

use kernel::{
    record::{Event, EventRow, Records},
    scenario::Scenario,
    status::{Code, Outcome},
};
use sim::{Plan, calibration::Calibration};

/// One replica, so that every call depends on it.
const SCENARIO: &str = r#"
name = "tls"
duration = "8s"
[servers]
replicas = 1
[workload]
sizes = ["64x64"]
[load]
rate = 10
[client]
profile = "grpc"
"#;

fn scenario(more: &str, settings: &[&str]) -> Scenario {
    let settings: Vec<_> = settings.iter().map(ToString::to_string).collect();
    Scenario::parse("tls.toml", &format!("{SCENARIO}{more}"), &settings).unwrap_or_else(|error| panic!("{error}"))
}

/// Plays it twice, and checks that both runs are the same and keep every invariant.
fn play(plan: &Plan) -> Records {
    let run = sim::run(plan, &AtomicU64::new(0)).unwrap();
    assert_eq!(run.violations(plan), []);
    assert_eq!(run, sim::run(plan, &AtomicU64::new(0)).unwrap(), "equal plans give equal runs");
    run.records
}

fn records(more: &str, settings: &[&str]) -> Records {
    play(&Plan::new(scenario(more, settings), 7))
}

fn events(records: &Records, event: Event) -> Vec<&EventRow> {
    records.events.iter().filter(|row| row.event == event).collect()
}

#[test]
fn encryption_changes_times_and_no_outcome() {
    let outcomes = |settings: &[&str]| {
        let records = records("", settings);
        let outcomes: Vec<_> = records.requests.iter().map(|row| (row.id, row.status, row.attempts)).collect();
        (outcomes, records.digest())
    };
    let (plain, digest) = outcomes(&[]);
    for mode in ["server", "mutual"] {
        let (encrypted, other) = outcomes(&[&format!("tls.mode={mode}")]);
        assert_eq!(encrypted, plain, "{mode}");
        assert_ne!(other, digest, "{mode}");
    }
}

/// The certificate is wrong from 2 s to 5 s, and the connection is reset at 3 s.
fn wrong_certificate(kind: &str) -> Records {
    let fault = |at: &str, kind: &str, more: &str| {
        format!("[[fault]]\nat = \"{at}\"\nkind = \"{kind}\"\ntarget = \"server-0\"\n{more}\n")
    };
    let faults = fault("2s", kind, "duration = \"3s\"") + &fault("3050ms", "reset", "");
    records(&faults, &["tls=on"])
}

#[test]
fn a_wrong_certificate_fails_handshakes_and_leaves_open_connections() {
    for (kind, reason) in [
        ("certificate_expired", "TLS failed: the certificate has expired"),
        ("certificate_untrusted", "TLS failed: the certificate's issuer is unknown"),
    ] {
        let records = wrong_certificate(kind);
        let failures = events(&records, Event::TransientFailure);
        assert!(failures.len() >= 2, "the client tries again: {failures:?}");
        assert!(failures.iter().all(|row| row.cause.as_deref() == Some(reason)), "{failures:?}");
        assert!(failures.iter().all(|row| (3_050_000..5_000_000).contains(&row.at_us)), "{failures:?}");
        assert_eq!(events(&records, Event::Ready).len(), 2, "at first, and with the certificate that is right again");
        let failed: Vec<_> = records.requests.iter().filter(|row| !row.status.is_success()).collect();
        let first = failed.first().map(|row| row.intended_us);
        assert!(first.is_some_and(|first| first > 3_000_000), "calls go on over the open connection: {first:?}");
        assert!(failed.iter().all(|row| row.status == Outcome::Status(Code::Unavailable)), "{failed:?}");
        assert!(records.requests.last().is_some_and(|row| row.status.is_success()), "{kind}");
    }
}

#[test]
fn a_process_that_is_started_again_has_the_right_certificate() {
    let faults = "[[fault]]\nat = \"2s\"\nkind = \"certificate_expired\"\ntarget = \"server-0\"\n\
                  [[fault]]\nat = \"3s\"\nkind = \"crash\"\ntarget = \"server-0\"\nrestart_after = \"500ms\"\n";
    let records = records(faults, &["tls=on"]);
    let tls = |row: &&&EventRow| row.cause.as_deref().is_some_and(|cause| cause.starts_with("TLS failed"));
    assert_eq!(events(&records, Event::TransientFailure).iter().filter(tls).count(), 0);
    assert_eq!(events(&records, Event::Ready).len(), 2);
}

#[test]
fn a_connection_is_ready_when_both_ends_have_computed_their_handshake() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("calibration.toml");
    let tls = "[tls]\nclient_us = [[0.0, 50000.0], [1.0, 50000.0]]\nserver_us = [[0.0, 30000.0], [1.0, 30000.0]]\n";
    fs::write(&file, format!("{}\n{tls}", include_str!("../../calibration.toml"))).unwrap();
    let calibration = Calibration::load(&file).unwrap();
    let records = play(&Plan { calibration, ..Plan::new(scenario("", &["tls=on"]), 7) });
    let ready = events(&records, Event::Ready)[0].at_us;
    assert!((80_000..81_000).contains(&ready), "{ready} µs");
}

#[test]
fn a_frozen_server_has_no_encrypted_connection() {
    let freeze = "[[fault]]\nat = \"0s\"\nkind = \"freeze\"\ntarget = \"server-0\"\nduration = \"2s\"\n";
    let records = records(freeze, &["tls=on"]);
    let ready = events(&records, Event::Ready)[0].at_us;
    assert!(ready > 2_000_000, "{ready} µs");
}
