//! Connections that end under load, or seem to go on: no call is lost where the protocol can save it.

use serde_json::{Value, json};

use crate::{
    clients::{Clients, Load, Statuses, WARM_UP},
    environment::{Peers, calls, peers},
    figures::{Compared, count},
    servers::GrpcioServer,
    user::User,
};

fn round_robin() -> Value {
    json!({ "loadBalancingConfig": [{ "round_robin": {} }] })
}

/// Checks that no call of either client is lost.
fn none_is_lost(peers: &Peers, case: &'static str, statuses: &Statuses) {
    let lost = |statuses: &[String]| statuses.len() - count(statuses, "OK");
    let Statuses { ours, theirs } = statuses;
    Compared { case, what: "lost", calls: [ours.len(), theirs.len()], ours: lost(ours), theirs: lost(theirs) }
        .agree_within(peers, 0);
    assert_eq!(lost(theirs), 0, "grpcio loses none: {theirs:?}");
}

#[test]
fn a_server_that_closes_connections_by_age_costs_no_call() {
    let Some(peers) = peers() else { return };
    let server = GrpcioServer::start(peers, &Value::Null, &json!({ "grpc.max_connection_age_ms": 500 }));
    let user = User::new();
    let load = Load { rate: Some(100), ..Load::with(round_robin()) };
    let clients = Clients::start(peers, &user, &[server.address()], &load);
    // In 4 s about eight connections end.
    clients.wait_for(400);
    none_is_lost(peers, "g1 maximum connection age of a grpcio server", &clients.end());
}

#[test]
fn a_server_of_ours_that_closes_connections_by_age_costs_no_call() {
    let Some(peers) = peers() else { return };
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0", "--service-time-min", "1ms", "--max-connection-age", "500ms"]);
    let load = Load { rate: Some(100), ..Load::with(round_robin()) };
    let clients = Clients::start(peers, &user, &[user.address("server-0").to_string()], &load);
    clients.wait_for(400);
    none_is_lost(peers, "g2 maximum connection age of a server of ours", &clients.end());
}

#[test]
fn a_server_that_drains_costs_no_call() {
    let Some(peers) = peers() else { return };
    let stays = GrpcioServer::start(peers, &Value::Null, &json!({}));
    let mut ends = GrpcioServer::start(peers, &Value::Null, &json!({}));
    let servers = [stays.address(), ends.address()];
    let user = User::new();
    let clients = Clients::start(peers, &user, &servers, &Load::with(round_robin()));
    clients.wait_for(WARM_UP);
    ends.drain();
    clients.wait_for_more(calls());
    none_is_lost(peers, "h1 drain of a grpcio server", &clients.end());
    assert!(ends.attempts().iter().all(|attempts| attempts.len() >= WARM_UP / 4), "both clients had used it");
}

#[test]
fn a_server_of_ours_that_drains_costs_no_call() {
    let Some(peers) = peers() else { return };
    let user = User::new();
    user.says(&["up", "2", "--start-port", "0", "--service-time-min", "1ms"]);
    let servers = ["server-0", "server-1"].map(|id| user.address(id).to_string());
    let clients = Clients::start(peers, &user, &servers, &Load::with(round_robin()));
    clients.wait_for(WARM_UP);
    user.says(&["inject", "drain", "server-1", "--grace", "10s"]);
    clients.wait_for_more(calls());
    none_is_lost(peers, "h2 drain of a server of ours", &clients.end());
}

#[test]
fn a_server_that_is_killed_costs_the_calls_that_it_has() {
    let Some(peers) = peers() else { return };
    for (case, balancer) in [("n1 kill under round_robin", "round_robin"), ("n2 kill under pick_first", "pick_first")] {
        let killed = GrpcioServer::start(peers, &Value::Null, &json!({}));
        let stays = GrpcioServer::start(peers, &Value::Null, &json!({}));
        let user = User::new();
        let servers = [killed.address(), stays.address()];
        let service_config = json!({ "loadBalancingConfig": [{ balancer: {} }] });
        let clients = Clients::start(peers, &user, &servers, &Load::with(service_config));
        clients.wait_for(WARM_UP);
        drop(killed);
        clients.wait_for_more(calls());
        let Statuses { ours, theirs } = clients.end();
        let calls = [ours.len(), theirs.len()];
        let [ours, theirs] = [&ours, &theirs].map(|statuses| statuses.len() - count(statuses, "OK"));
        // What is sent until the client has seen the end of the connection.
        let in_flight = WARM_UP / 4;
        Compared { case, what: "lost", calls, ours, theirs }.agree_within(peers, in_flight);
        assert!(theirs <= in_flight, "grpcio lost {theirs} calls");
    }
}

#[test]
fn keepalive_finds_a_half_open_connection_after_its_interval_and_its_timeout() {
    const RATE: u32 = 20;
    let Some(peers) = peers() else { return };
    let server = GrpcioServer::start(
        peers,
        &Value::Null,
        &json!({
            "grpc.http2.min_ping_interval_without_data_ms": 100,
            "grpc.http2.min_recv_ping_interval_without_data_ms": 100,
            "grpc.http2.max_ping_strikes": 0,
        }),
    );
    let mut proxy = peers.listener("proxy.py", &[server.address().rsplit(':').next().expect("it has a port")]);
    // What ends a connection in C-core 1.85 is the timeout of pings, for which that of keepalive is not enough; and pings that
    // probe the bandwidth would find it, too.
    let channel = json!({
        "grpc.keepalive_time_ms": 2_000,
        "grpc.keepalive_timeout_ms": 1_000,
        "grpc.http2.ping_timeout_ms": 1_000,
        "grpc.http2.bdp_probe": 0,
    });
    let settings = vec!["client.keepalive.time=2s", "client.keepalive.timeout=1s"];
    let load = Load { rate: Some(RATE), deadline_ms: 500, channel, settings, ..Load::with(round_robin()) };
    let user = User::new();
    let clients = Clients::start(peers, &user, &[proxy.address()], &load);
    clients.wait_for(WARM_UP);
    assert_eq!(proxy.command("hole")["holes"], 2);
    clients.wait_for_more(WARM_UP / 2);
    clients.wait_until_well(WARM_UP);
    let Statuses { ours, theirs } = clients.end();
    let calls = [ours.len(), theirs.len()];
    let [ours, theirs] = [&ours, &theirs].map(|statuses| statuses.len() - count(statuses, "OK"));
    // Three seconds of calls; an interval of keepalive is two.
    let interval = 2 * RATE as usize;
    let case = "l half-open, keepalive 2 s and 1 s";
    Compared { case, what: "lost", calls, ours, theirs }.agree_within(peers, interval);
    assert!(theirs >= interval, "grpcio lost {theirs} calls");
}
