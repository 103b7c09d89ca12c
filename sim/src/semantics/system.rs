//! The times of the operating system, of encoding and of decoding: zero unless they are calibrated.

use super::*;

/// Calls one server once a second, on the host of these tests with `more` durations calibrated.
fn records_with(more: &str, scenario: &str) -> Records {
    let calibration = Calibration::parse("calibration.toml", &format!("{CALIBRATION}\n{more}")).unwrap();
    let scenario = format!("duration = '3s'\nload.rate = 1\nservers.replicas = 1\n{scenario}");
    records_on(calibration, &scenario, "64x64")
}

fn latencies_us(records: &Records) -> Vec<u64> {
    records.requests.iter().map(|row| row.latency_us.unwrap()).collect()
}

#[test]
fn calibrated_message_times_replace_the_bare_network() {
    let sizes = [16, 1_000_000].map(|bytes| {
        format!("[[message]]\nbytes = {bytes}\nto_server_us = [[0.0, 300.0]]\nto_client_us = [[0.0, 500.0]]\n")
    });
    let latencies = latencies_us(&records_with(&sizes.concat(), ""));
    assert_eq!(latencies, [100 + 300 + 820 + 500, 300 + 820 + 500, 300 + 820 + 500]);
}

/// Requests and responses both carry the image.
#[test]
fn a_larger_message_takes_longer() {
    let more = "[[message]]\nbytes = 16\nto_server_us = [[0.0, 10.0]]\nto_client_us = [[0.0, 10.0]]\n\
                [[message]]\nbytes = 4096\nto_server_us = [[0.0, 400.0]]\nto_client_us = [[0.0, 10.0]]\n\
                [[message]]\nbytes = 65536\nto_server_us = [[0.0, 400.0]]\nto_client_us = [[0.0, 10.0]]";
    assert_eq!(latencies_us(&records_with(more, ""))[1..], [400 + 820 + 10; 2]);
}

#[test]
fn a_handshake_takes_its_calibrated_time() {
    let records = records_with("link.connect_us = [[0.0, 400.0]]", "");
    assert_eq!(latencies_us(&records), [400 + 920, 920, 920]);
}

#[test]
fn sleeps_end_late_in_either_process() {
    let more = "timer.client_late_us = [[0.0, 30.0]]\ntimer.server_late_us = [[0.0, 40.0]]";
    let records = records_with(more, "servers.service_time_min = '10ms'");
    // The first request is sent at time zero, so no timer is late for it, but it waits for its connection.
    assert_eq!(latencies_us(&records), [200 + 10_040, 30 + 100 + 10_040, 30 + 100 + 10_040]);
    assert_eq!(records.requests[1].sent_us, Some(1_000_030));
}

#[test]
fn a_killed_process_breaks_its_connections_when_it_has_exited() {
    let records = records_with(
        "process.exit_us = [[0.0, 2000.0]]",
        "client.retry.max_attempts = 1\n[[fault]]\nat = '1.0003s'\nkind = 'crash'\ntarget = 'server-0'",
    );
    assert_eq!(records.attempts[1].end_us, 1_002_350);
    assert_eq!(records.attempts[1].cause.as_deref(), Some("connection reset"));
}
