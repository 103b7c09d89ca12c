//! What a service config gives under faulty servers: the rows in which a resilient client and a gRPC channel differ.
//!
//! After the fault, each client's calls are counted from the first one that failed. From there on the outcome is determined, whatever the
//! time between the fault and the next call: `round_robin` alternates, so that every other call fails; `pick_first` stays, so
//! that all do. A call at the edge of the stretch may count or not.

use serde_json::{Value, json};

use crate::{
    clients::{Clients, Load, Statuses, WARM_UP},
    environment::{Peers, calls, peers},
    figures::{Compared, chance, count},
    servers::GrpcioServer,
    user::User,
};

/// The calls at both ends of a stretch.
const EDGES: usize = 2;

fn balancer(name: &str) -> Value {
    json!({ "loadBalancingConfig": [{ name: {} }] })
}

/// A user with two servers of ours, and their addresses.
fn two_servers() -> (User, Vec<String>) {
    let user = User::new();
    user.says(&["up", "2", "--start-port", "0", "--service-time-min", "1ms", "--workers", "8"]);
    let addresses = ["server-0", "server-1"].map(|id| user.address(id).to_string());
    (user, addresses.into())
}

/// Plays a load on two servers, of more calls than fit into one deadline, so that a client which learns from a timeout differs;
/// injects a fault, and returns the next `calls` calls of each client from its first failure on; the
/// last ones of a client that had none.
fn from_the_first_failure(peers: &Peers, service_config: Value, fault: &[&str], calls: usize) -> Statuses {
    let (user, servers) = two_servers();
    let load = Load { rate: Some(20), deadline_ms: 1_000, ..Load::with(service_config) };
    let clients = Clients::start(peers, &user, &servers, &load);
    clients.wait_for(WARM_UP);
    user.says(&[&["inject"], fault].concat());
    clients.wait_for_more(calls + WARM_UP);
    let Statuses { ours, theirs } = clients.end();
    let stretch = |statuses: Vec<String>| {
        let last = statuses.len() - calls;
        let first = statuses.iter().position(|status| status != "OK").unwrap_or(last).min(last);
        statuses[first..first + calls].to_vec()
    };
    Statuses { ours: stretch(ours), theirs: stretch(theirs) }
}

/// Checks that this many calls, of those from the first failure on, are OK with both clients.
fn answered(case: &'static str, service_config: Value, fault: &[&str], expected: usize) {
    let Some(peers) = peers() else { return };
    let calls = calls();
    let statuses = from_the_first_failure(peers, service_config, fault, calls);
    let ours = count(&statuses.ours, "OK");
    let theirs = count(&statuses.theirs, "OK");
    Compared { case, what: "OK", calls: [calls; 2], ours, theirs }.agree_within(peers, EDGES);
    assert!(theirs.abs_diff(expected) <= EDGES, "{theirs} of {calls} OK with grpcio, not {expected}: {statuses:?}");
}

#[test]
fn round_robin_over_a_replica_that_is_always_internal_fails_every_other_call() {
    let fault = ["errors", "server-1", "--rate", "1", "--status", "INTERNAL"];
    answered("a1 round_robin, one of two INTERNAL", balancer("round_robin"), &fault, calls() / 2);
}

#[test]
fn round_robin_over_a_replica_that_is_always_unavailable_fails_every_other_call() {
    let fault = ["errors", "server-1", "--rate", "1", "--status", "UNAVAILABLE"];
    answered("a2 round_robin, one of two UNAVAILABLE", balancer("round_robin"), &fault, calls() / 2);
}

#[test]
fn pick_first_stays_on_a_replica_that_is_always_internal() {
    let fault = ["errors", "server-0", "--rate", "1", "--status", "INTERNAL"];
    answered("b pick_first, the first INTERNAL", balancer("pick_first"), &fault, 0);
}

#[test]
fn pick_first_stays_on_a_replica_that_stands_still() {
    answered("c pick_first, the first frozen", balancer("pick_first"), &["freeze", "server-0"], 0);
}

#[test]
fn round_robin_over_a_frozen_replica_loses_every_other_call() {
    answered("d round_robin, one of two frozen", balancer("round_robin"), &["freeze", "server-1"], calls() / 2);
}

#[test]
fn retries_under_round_robin_come_back_to_the_replica_that_fails() {
    let Some(peers) = peers() else { return };
    let calls = calls();
    let user = User::new();
    let well = GrpcioServer::start(peers, &Value::Null, &json!({}));
    let bad = GrpcioServer::start(peers, &json!([["UNAVAILABLE"]]), &json!({}));
    let mut service_config = balancer("round_robin");
    service_config["methodConfig"] = json!([{ "name": [{}], "retryPolicy": {
        "maxAttempts": 3, "initialBackoff": "0.01s", "maxBackoff": "0.01s", "backoffMultiplier": 1,
        "retryableStatusCodes": ["UNAVAILABLE"],
    } }]);
    let load = Load::with(service_config);
    let clients = Clients::start(peers, &user, &[well.address(), bad.address()], &load);
    clients.wait_for(WARM_UP);
    let begun = clients.sent();
    clients.wait_for_more(calls + WARM_UP);
    clients.end();
    let on_the_bad_one = |side: usize| {
        let requests = begun[side] as u64..(begun[side] + calls) as u64;
        bad.attempts()[side].iter().filter(|attempt| requests.contains(&attempt.request)).count()
    };
    let (ours, theirs) = (on_the_bad_one(0), on_the_bad_one(1));
    let case = "e round_robin, retry 3, one of two UNAVAILABLE";
    let allowed = chance(calls, 0.5);
    Compared { case, what: "attempts on it", calls: [calls; 2], ours, theirs }.agree_within(peers, allowed);
    assert!(theirs >= calls / 4, "grpcio made {theirs} attempts on it in {calls} calls");
}

#[test]
fn calls_fail_while_outlier_detection_has_ejected_every_replica() {
    const RATE: u32 = 20;
    let Some(peers) = peers() else { return };
    let (user, servers) = two_servers();
    // A sweep a second: the ejection ends at the fourth sweep after the one that began it.
    let service_config = json!({ "loadBalancingConfig": [{ "outlier_detection_experimental": {
        "interval": "1s", "baseEjectionTime": "3.5s", "maxEjectionPercent": 100,
        "failurePercentageEjection": { "threshold": 50, "minimumHosts": 2, "requestVolume": 5 },
        "childPolicy": [{ "round_robin": {} }],
    } }] });
    let clients = Clients::start(peers, &user, &servers, &Load { rate: Some(RATE), ..Load::with(service_config) });
    clients.wait_for(WARM_UP);
    user.says(&["inject", "errors", "server-0", "server-1", "--rate", "1", "--duration", "2s"]);
    // The servers are well again, and out of use for some seconds more.
    clients.wait_until_well(WARM_UP);
    let Statuses { ours, theirs } = clients.end();
    let calls = [ours.len(), theirs.len()];
    let [ours, theirs] = [&ours, &theirs].map(|statuses| statuses.iter().filter(|status| *status != "OK").count());
    let case = "f outlier detection, both of two ejected";
    // The sweeps of the two clients are not at the same times.
    let interval = RATE as usize;
    Compared { case, what: "failed", calls, ours, theirs }.agree_within(peers, interval + EDGES);
    // Of half a second at least until the sweep and four seconds of ejection; the fault itself is 2 s.
    assert!(theirs >= 4 * interval, "{theirs} calls failed with grpcio");
}
