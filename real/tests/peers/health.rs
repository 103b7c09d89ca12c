//! Health checks of a service config: `healthCheckConfig` (gRPC A17), with a replica that says NOT_SERVING and answers all the same.

use serde_json::{Value, json};

use crate::{
    clients::{Clients, Load, WARM_UP},
    environment::{calls, peers},
    figures::Compared,
    servers::GrpcioServer,
    user::User,
};

/// Checks how many of a stretch of calls both clients send to the first of two replicas, which says NOT_SERVING.
fn sent_to_it(case: &'static str, service_config: Value, expected: usize) {
    let Some(peers) = peers() else { return };
    let calls = calls();
    let not_serving = GrpcioServer::start_with(peers, &json!({ "not_serving": true }));
    let serving = GrpcioServer::start_with(peers, &json!({}));
    let user = User::new();
    let servers = [not_serving.address(), serving.address()];
    let clients = Clients::start(peers, &user, &servers, &Load::with(service_config));
    clients.wait_for(WARM_UP);
    let begun = clients.sent();
    clients.wait_for_more(calls + WARM_UP);
    clients.end();
    let of_these = |side: usize| {
        let requests = begun[side] as u64..(begun[side] + calls) as u64;
        not_serving.attempts()[side].iter().filter(|attempt| requests.contains(&attempt.request)).count()
    };
    let (ours, theirs) = (of_these(0), of_these(1));
    Compared { case, what: "attempts on it", calls: [calls; 2], ours, theirs }.agree_within(peers, 1);
    assert!(theirs.abs_diff(expected) <= 1, "{theirs} attempts of grpcio, not {expected}");
}

fn config(balancer: &str) -> Value {
    json!({ "loadBalancingConfig": [{ balancer: {} }], "healthCheckConfig": { "serviceName": "rehearsal.v1.Rehearsal" } })
}

#[test]
fn round_robin_with_health_checks_leaves_out_a_replica_that_is_not_serving() {
    sent_to_it("m1 healthCheckConfig, round_robin, one NOT_SERVING", config("round_robin"), 0);
}

#[test]
fn pick_first_does_not_ask_for_health() {
    sent_to_it("m2 healthCheckConfig, pick_first, the first NOT_SERVING", config("pick_first"), calls());
}

#[test]
fn round_robin_without_health_checks_uses_a_replica_that_is_not_serving() {
    let service_config = json!({ "loadBalancingConfig": [{ "round_robin": {} }] });
    sent_to_it("m3 no healthCheckConfig, round_robin, one NOT_SERVING", service_config, calls() / 2);
}
