//! Replies that stream: grpcio leaves those of our servers in the middle, and a server of grpcio breaks off those that our client reads.

use std::fs;

use serde_json::{Value, json};

use crate::{
    clients::{Clients, Load},
    environment::peers,
    sequences::{in_turn, previous_of, pushback, retry_policy},
    servers::GrpcioServer,
    user::User,
};

/// Number of tiles of a reply.
const TILES: u64 = 8;

#[test]
fn a_stream_that_grpcio_cancels_or_that_is_late_frees_its_worker() {
    let Some(peers) = peers() else { return };
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0", "--service-time-min", "10s", "--workers", "1"]);
    let target = format!("ipv4:{}", user.address("server-0"));
    let output = peers.python("streams.py", &[&peers.stubs(), &target]).output().expect("the interpreter starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let found: Value = serde_json::from_slice(&output.stdout).expect("it is JSON");
    assert_eq!([&found["cancelled"], &found["late"]], ["CANCELLED", "DEADLINE_EXCEEDED"]);
    assert!(found["tiles"].as_u64().is_some_and(|tiles| (1..100).contains(&tiles)), "{found}");
    assert_eq!(found["order"], true);
    for (received, metrics) in (1..).zip(found["metrics"].as_array().expect("there are two")) {
        // The worker is free, and neither stream came to its end.
        let expected = json!({
            "received": received, "cancelled": received,
            "finished": 0, "refused": 0, "invalid": 0, "skipped": 0, "aborted": 0, "running": 0, "queued": 0,
        });
        assert_eq!(*metrics, expected);
    }
    user.says(&["down"]);
    let log = fs::read_to_string(user.folder().join("server-0.log")).expect("there is a log");
    assert!(log.contains(": 0 requests done, 0 refused, 2 dropped because the client had cancelled"), "{log}");
}

/// The answers to the attempts of one call, and what they lead to.
struct Sequence {
    answers: Value,
    attempts: usize,
    status: &'static str,
    /// The tiles that come; `None` if the reply has no headers.
    tiles: Option<u64>,
}

impl Sequence {
    /// Returns the tiles that are lost: those that do not come of a reply that fails behind its headers.
    fn lost(&self) -> Option<u64> {
        self.tiles.filter(|_| self.status != "OK").map(|tiles| TILES - tiles)
    }
}

fn sequence(answers: Value, attempts: usize, status: &'static str, tiles: Option<u64>) -> Sequence {
    Sequence { answers, attempts, status, tiles }
}

#[test]
fn streams_are_retried_before_their_headers_and_lost_behind_them() {
    let Some(peers) = peers() else { return };
    let after = |tiles: u64| json!({ "status": "UNAVAILABLE", "tiles": tiles });
    let headers = json!({ "status": "UNAVAILABLE", "headers": true });
    let sequences = [
        sequence(json!(["OK"]), 1, "OK", Some(TILES)),
        // Trailers alone.
        sequence(json!(["UNAVAILABLE", "OK"]), 2, "OK", Some(TILES)),
        sequence(json!(["UNAVAILABLE"]), 4, "UNAVAILABLE", None),
        sequence(json!([pushback("20"), "OK"]), 2, "OK", Some(TILES)),
        sequence(json!(["INVALID_ARGUMENT", "OK"]), 1, "INVALID_ARGUMENT", None),
        sequence(json!([headers, "OK"]), 1, "UNAVAILABLE", Some(0)),
        sequence(json!([after(1), "OK"]), 1, "UNAVAILABLE", Some(1)),
        sequence(json!([after(TILES / 2), "OK"]), 1, "UNAVAILABLE", Some(TILES / 2)),
        sequence(json!([after(TILES), "OK"]), 1, "UNAVAILABLE", Some(TILES)),
        sequence(json!(["UNAVAILABLE", after(TILES / 2), "OK"]), 2, "UNAVAILABLE", Some(TILES / 2)),
    ];
    let script = sequences.iter().map(|sequence| sequence.answers.clone()).collect();
    let server = GrpcioServer::start(peers, &script, &json!({}));
    let user = User::new();
    let load = Load { tiles: Some(TILES), ..in_turn(retry_policy(), 3_000) };
    let clients = Clients::start(peers, &user, &[server.address()], &load);
    clients.wait_for(sequences.len());
    let rows = clients.end_with_rows();
    let seen = server.attempts();
    let mut wrong = String::new();
    for (call, sequence) in sequences.iter().enumerate() {
        for ((name, rows), seen) in ["our client", "grpcio"].into_iter().zip(&rows).zip(&seen) {
            let row = &rows[call];
            let attempts = previous_of(seen, call).len();
            // grpcio's client says how many came, and not if there were headers.
            let tiles = row["stream"]["messages"].as_u64().unwrap_or_default();
            if (attempts, &row["status"], tiles)
                != (sequence.attempts, &json!(sequence.status), sequence.tiles.unwrap_or_default())
            {
                wrong += &format!("\n{name} after {}: {attempts} attempts, {row}", sequence.answers);
            }
        }
        let ours = &rows[0][call];
        if ours["stream"]["lost"].as_u64() != sequence.lost() || ours["stream"].is_null() != sequence.tiles.is_none() {
            wrong += &format!("\nour client after {}: not {:?} lost: {ours}", sequence.answers, sequence.lost());
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// Returns the exit code and the summary of 40 calls in a second, 20 of them by each of the two lists of answers.
fn play(answers: &Value) -> Option<(Option<i32>, Value)> {
    let server = GrpcioServer::start(peers()?, answers, &json!({}));
    let user = User::new();
    let load = ["load", "--json", "--duration", "1s", "--rate", "40", "--sizes", "16x16", "--set", "workload.tiles=8"];
    let output = user.real(&[&load[..], &["--servers", &server.address()]].concat());
    let summary = serde_json::from_slice(&output.stdout);
    let summary = summary.unwrap_or_else(|_| panic!("{}", String::from_utf8_lossy(&output.stderr)));
    Some((output.status.code(), summary))
}

/// Returns figures of all requests of a summary, which leaves out what is not there: requests, those that succeeded, retries, messages,
/// messages lost, wrong results.
fn figures(summary: &Value) -> [u64; 6] {
    let names = ["requests", "succeeded", "retries", "messages", "messages_lost", "wrong_results"];
    names.map(|name| summary["overall"][name].as_u64().unwrap_or_default())
}

#[test]
fn streams_of_a_grpcio_server_are_whole_and_right() {
    let Some((code, summary)) = play(&json!([["OK"], ["UNAVAILABLE", "OK"]])) else { return };
    assert_eq!(figures(&summary), [40, 40, 20, 320, 0, 0], "{summary}");
    assert_eq!(code, Some(0));
}

#[test]
fn streams_that_a_grpcio_server_breaks_off_are_counted() {
    let broken = json!({ "status": "UNAVAILABLE", "tiles": TILES / 2 });
    let Some((_, summary)) = play(&json!([["OK"], [broken, "OK"]])) else { return };
    assert_eq!(figures(&summary), [40, 20, 0, 240, 80, 0], "{summary}");
}

#[test]
fn streams_of_a_grpcio_server_that_are_wrong_or_end_early_are_found() {
    let wrong = json!({ "status": "OK", "wrong": true });
    let early = json!({ "status": "OK", "tiles": TILES - 1 });
    let Some((code, summary)) = play(&json!([[wrong], [early]])) else { return };
    assert_eq!(figures(&summary), [40, 40, 0, 300, 0, 40], "{summary}");
    assert_eq!(code, Some(1));
}
