//! Calls of grpcio to our servers: Sobel, whole and in tiles, and searches against an independent implementation, health, and what goes
//! wrong.
//!
//! The same calls go to a server of grpcio, and have to end the same way. Both read the same service configs, and refuse the same.

use std::collections::BTreeMap;

use serde_json::json;

use crate::{
    clients::{Clients, Load},
    environment::{Peers, peers},
    servers::GrpcioServer,
    user::User,
};

type Outcomes = BTreeMap<String, String>;

/// What our servers do otherwise, and grpcio's servers.
const DIFFERENT: [(&str, &str, &str); 4] = [
    // Ours is what gRPC's list of status codes says of a wrong number of requests.
    ("two messages", "UNIMPLEMENTED", "OK"),
    ("two messages that ask for tiles", "UNIMPLEMENTED", "4 tiles"),
    // Both are gRPC's: a server that does not know a compression says so, and clients send without.
    ("compression Gzip", "UNIMPLEMENTED", "right"),
    ("compression Deflate", "UNIMPLEMENTED", "right"),
];

fn outcomes(peers: &Peers, server: &str) -> Outcomes {
    let output = peers.python("checks.py", &[&peers.stubs(), &format!("ipv4:{server}")]).output();
    let output = output.expect("the interpreter starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("it is JSON")
}

#[test]
fn grpcio_has_the_same_outcomes_from_our_servers_as_from_its_own() {
    let Some(peers) = peers() else { return };
    let user = User::new();
    let slow = ["--service-time-min", "300ms", "--workers", "100", "--failure-rate", "0", "--hang-rate", "0"];
    user.says(&[&["up", "1", "--start-port", "0"][..], &slow].concat());
    let mut ours = outcomes(peers, &user.address("server-0").to_string());

    let script = json!([[{ "status": "OK", "delay_ms": 300 }]]);
    let message_bytes_max = 16 * 1024 * 1024 + 64 * 1024;
    let channel = json!({ "grpc.max_receive_message_length": message_bytes_max });
    let mut theirs = outcomes(peers, &GrpcioServer::start(peers, &script, &channel).address());
    for (check, our_outcome, their_outcome) in DIFFERENT {
        assert_eq!(ours.remove(check).as_deref(), Some(our_outcome), "{check}");
        assert_eq!(theirs.remove(check).as_deref(), Some(their_outcome), "{check}");
    }
    let differences: Vec<_> = ours.iter().filter(|(check, outcome)| theirs.get(*check) != Some(*outcome)).collect();
    assert!(differences.is_empty(), "ours: {differences:?}; theirs: {theirs:?}");
    assert_eq!(ours.len(), theirs.len());
    assert!(theirs.values().filter(|outcome| *outcome == "right").count() >= 10, "{theirs:?}");
}

#[test]
fn grpcio_sees_the_user_agent_of_both_clients() {
    let Some(peers) = peers() else { return };
    let server = GrpcioServer::start_with(peers, &json!({}));
    let user = User::new();
    let clients = Clients::start(peers, &user, &[server.address()], &Load::with(json!({})));
    clients.wait_for(1);
    clients.end();
    let [ours, theirs] = server.attempts().map(|attempts| attempts[0].user_agent.clone().unwrap_or_default());
    assert_eq!(ours, concat!("grpc-rust-rehearsal/", env!("CARGO_PKG_VERSION")));
    assert!(theirs.starts_with("grpc-python/"), "{theirs}");
}

#[test]
fn grpcio_accepts_and_refuses_the_service_configs_that_we_do() {
    let Some(peers) = peers() else { return };
    let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../kernel/tests/service_configs");
    let output = peers.python("service_configs.py", &["--agree", corpus]).output().expect("the interpreter starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    // The last line has the number of files.
    let count = said.lines().last().and_then(|line| line.split(' ').next()?.parse::<usize>().ok());
    assert!(count.is_some_and(|count| count >= 60), "{said}");
}
