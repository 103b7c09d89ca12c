//! Health checks of a service config: `healthCheckConfig` (gRPC A17), with replicas whose health services say what a test wants, and
//! which answer all the same.

use serde_json::{Value, json};

use crate::{
    child::wait_until,
    clients::{Clients, Load, WARM_UP},
    environment::{calls, peers},
    figures::{Compared, count},
    servers::GrpcioServer,
    user::User,
};

/// Returns how many of a stretch of calls both clients send to `server`: the stretch begins now.
fn sent_now(clients: &Clients, server: &GrpcioServer, calls: usize) -> [usize; 2] {
    let begun = clients.sent();
    clients.wait_for_more(calls + WARM_UP);
    [0, 1].map(|side| {
        let requests = begun[side] as u64..(begun[side] + calls) as u64;
        server.attempts()[side].iter().filter(|attempt| requests.contains(&attempt.request)).count()
    })
}

/// Checks how many of a stretch of calls both clients send to the first of two replicas, which has these settings of `server.py`.
fn sent_to_it(case: &'static str, settings: &Value, service_config: Value, expected: usize) {
    let Some(peers) = peers() else { return };
    let calls = calls();
    let first = GrpcioServer::start_with(peers, settings);
    let serving = GrpcioServer::start_with(peers, &json!({}));
    let user = User::new();
    let servers = [first.address(), serving.address()];
    let clients = Clients::start(peers, &user, &servers, &Load::with(service_config));
    clients.wait_for(WARM_UP);
    let [ours, theirs] = sent_now(&clients, &first, calls);
    clients.end();
    Compared { case, what: "attempts on it", calls: [calls; 2], ours, theirs }.agree_within(peers, 1);
    assert!(theirs.abs_diff(expected) <= 1, "{theirs} attempts of grpcio, not {expected}");
}

fn config(balancer: &str) -> Value {
    json!({ "loadBalancingConfig": [{ balancer: {} }], "healthCheckConfig": { "serviceName": "rehearsal.v1.Rehearsal" } })
}

fn not_serving() -> Value {
    json!({ "not_serving": true })
}

#[test]
fn round_robin_with_health_checks_leaves_out_a_replica_that_is_not_serving() {
    sent_to_it("m1 healthCheckConfig, round_robin, one NOT_SERVING", &not_serving(), config("round_robin"), 0);
}

#[test]
fn pick_first_does_not_ask_for_health() {
    sent_to_it(
        "m2 healthCheckConfig, pick_first, the first NOT_SERVING",
        &not_serving(),
        config("pick_first"),
        calls(),
    );
}

#[test]
fn round_robin_without_health_checks_uses_a_replica_that_is_not_serving() {
    let service_config = json!({ "loadBalancingConfig": [{ "round_robin": {} }] });
    sent_to_it("m3 no healthCheckConfig, round_robin, one NOT_SERVING", &not_serving(), service_config, calls() / 2);
}

#[test]
fn a_health_check_config_without_a_service_has_no_effect() {
    let service_config = json!({ "loadBalancingConfig": [{ "round_robin": {} }], "healthCheckConfig": {} });
    sent_to_it(
        "m4 healthCheckConfig without serviceName, one NOT_SERVING",
        &not_serving(),
        service_config,
        calls() / 2,
    );
}

#[test]
fn a_replica_without_a_health_service_counts_as_healthy() {
    let no_health = json!({ "no_health": true });
    sent_to_it("m5 healthCheckConfig, one without a health service", &no_health, config("round_robin"), calls() / 2);
}

#[test]
fn a_change_of_health_counts_at_once() {
    let Some(peers) = peers() else { return };
    let calls = calls();
    let first = GrpcioServer::start_with(peers, &not_serving());
    let second = GrpcioServer::start_with(peers, &json!({}));
    let user = User::new();
    let servers = [first.address(), second.address()];
    let clients = Clients::start(peers, &user, &servers, &Load::with(config("round_robin")));
    clients.wait_for(WARM_UP);
    first.switch_health();
    wait_until("both send calls to it", || first.attempts().iter().all(|attempts| !attempts.is_empty()));
    let [ours, theirs] = sent_now(&clients, &first, calls);
    let case = "m6 healthCheckConfig, one SERVING after NOT_SERVING";
    Compared { case, what: "attempts on it", calls: [calls; 2], ours, theirs }.agree_within(peers, 1);
    assert!(theirs.abs_diff(calls / 2) <= 1, "{theirs} attempts of grpcio");
    first.switch_health();
    clients.wait_for_more(WARM_UP);
    let [ours, theirs] = sent_now(&clients, &first, calls);
    let case = "m7 healthCheckConfig, one NOT_SERVING after SERVING";
    Compared { case, what: "attempts on it", calls: [calls; 2], ours, theirs }.agree_within(peers, 0);
    assert_eq!(theirs, 0);
    let statuses = clients.end();
    assert!(statuses.ours.iter().chain(&statuses.theirs).all(|status| status == "OK"), "{statuses:?}");
}

#[test]
fn calls_fail_while_no_replica_knows_the_service() {
    let Some(peers) = peers() else { return };
    let server = GrpcioServer::start_with(peers, &json!({}));
    let service_config = json!({ "loadBalancingConfig": [{ "round_robin": {} }], "healthCheckConfig": { "serviceName": "another.Service" } });
    let user = User::new();
    let clients = Clients::start(peers, &user, &[server.address()], &Load::with(service_config));
    clients.wait_for(WARM_UP);
    let statuses = clients.end();
    let unavailable = |statuses: &[String]| count(&statuses[..WARM_UP], "UNAVAILABLE");
    let (ours, theirs) = (unavailable(&statuses.ours), unavailable(&statuses.theirs));
    let case = "m8 healthCheckConfig, SERVICE_UNKNOWN";
    Compared { case, what: "UNAVAILABLE", calls: [WARM_UP; 2], ours, theirs }.agree_within(peers, 0);
    assert_eq!((theirs, server.attempts().map(|attempts| attempts.len())), (WARM_UP, [0, 0]));
}
