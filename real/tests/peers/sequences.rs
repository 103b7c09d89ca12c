//! Retries, server pushback, throttling and hedging, attempt by attempt: both clients against the same scripted answers.
//!
//! What is expected is gRPC's proposal A6 and its grpc-retry-pushback-ms. Where C-core does something else, the sequence says so.

use serde_json::{Value, json};

use crate::{
    clients::{Clients, Load, Statuses},
    environment::{Peers, calls, peers},
    figures::{Compared, count},
    servers::{GrpcioServer, SeenAttempt},
    user::User,
};

/// The answers to the attempts of one call, and what they lead to.
struct Sequence {
    answers: Value,
    /// What A6 says.
    expected: Ending,
    /// What C-core does instead.
    with_grpcio: Option<Ending>,
}

/// The number of attempts of a call, and its status.
type Ending = (usize, &'static str);

fn sequence(answers: Value, attempts: usize, status: &'static str) -> Sequence {
    Sequence { answers, expected: (attempts, status), with_grpcio: None }
}

/// A failure that asks for this wait before the next attempt.
pub(crate) fn pushback(wait: &str) -> Value {
    json!({ "status": "UNAVAILABLE", "pushback": wait })
}

pub(crate) fn retry_policy() -> Value {
    json!({ "methodConfig": [{ "name": [{}], "retryPolicy": {
        "maxAttempts": 4, "initialBackoff": "0.01s", "maxBackoff": "0.02s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "ABORTED"],
    } }] })
}

/// Makes one call after the other with both clients, and returns the first `calls` statuses of each and the attempts that the
/// server saw.
fn one_by_one(peers: &Peers, load: &Load, script: &Value, calls: usize) -> (Statuses, [Vec<SeenAttempt>; 2]) {
    let server = GrpcioServer::start(peers, script, &json!({}));
    let user = User::new();
    let clients = Clients::start(peers, &user, &[server.address()], load);
    clients.wait_for(calls);
    let Statuses { mut ours, mut theirs } = clients.end();
    ours.truncate(calls);
    theirs.truncate(calls);
    let attempts = server.attempts().map(|attempts| {
        let of_these = attempts.into_iter().filter(|attempt| attempt.request < calls as u64);
        of_these.collect()
    });
    (Statuses { ours, theirs }, attempts)
}

/// One call after the other.
pub(crate) fn in_turn(service_config: Value, deadline_ms: u64) -> Load {
    Load { rate: None, deadline_ms, ..Load::with(service_config) }
}

/// Checks every sequence with both clients, and says all that is not as expected.
fn check(peers: &Peers, service_config: Value, sequences: &[Sequence]) {
    let script = sequences.iter().map(|sequence| sequence.answers.clone()).collect();
    let (statuses, attempts) = one_by_one(peers, &in_turn(service_config, 3_000), &script, sequences.len());
    let mut wrong = String::new();
    for (call, sequence) in sequences.iter().enumerate() {
        let sides = [
            ("our client", &statuses.ours, sequence.expected),
            ("grpcio", &statuses.theirs, sequence.with_grpcio.unwrap_or(sequence.expected)),
        ];
        for ((name, statuses, (expected, status)), seen) in sides.into_iter().zip(&attempts) {
            let previous: Vec<_> = previous_of(seen, call);
            // The header counts the attempts before, and the first attempt has none.
            let numbers: Vec<_> = (0..expected).map(|number| (number > 0).then(|| number.to_string())).collect();
            if previous != numbers || statuses[call] != status {
                let answers = &sequence.answers;
                wrong +=
                    &format!("\n{name} after {answers}: {} {previous:?}, not {status} {numbers:?}", statuses[call]);
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
}

/// The values of grpc-previous-rpc-attempts in the attempts of a call.
pub(crate) fn previous_of(seen: &[SeenAttempt], call: usize) -> Vec<Option<String>> {
    let of_call = seen.iter().filter(|attempt| attempt.request == call as u64);
    of_call.map(|attempt| attempt.previous.clone()).collect()
}

#[test]
fn retries_are_those_of_grpc_attempt_by_attempt() {
    let Some(peers) = peers() else { return };
    let failed_after_headers = json!({ "status": "UNAVAILABLE", "headers": true });
    let sequences = [
        sequence(json!(["OK"]), 1, "OK"),
        sequence(json!(["UNAVAILABLE", "OK"]), 2, "OK"),
        sequence(json!(["UNAVAILABLE", "UNAVAILABLE", "UNAVAILABLE", "OK"]), 4, "OK"),
        sequence(json!(["UNAVAILABLE"]), 4, "UNAVAILABLE"),
        sequence(json!(["ABORTED", "UNAVAILABLE", "OK"]), 3, "OK"),
        // Codes that the policy does not list.
        sequence(json!(["INVALID_ARGUMENT"]), 1, "INVALID_ARGUMENT"),
        sequence(json!(["UNAVAILABLE", "INTERNAL"]), 2, "INTERNAL"),
        sequence(json!(["UNAVAILABLE", "RESOURCE_EXHAUSTED", "OK"]), 2, "RESOURCE_EXHAUSTED"),
        // Response headers commit the call.
        sequence(json!([failed_after_headers, "OK"]), 1, "UNAVAILABLE"),
        sequence(json!(["UNAVAILABLE", failed_after_headers, "OK"]), 2, "UNAVAILABLE"),
        // Pushback.
        sequence(json!([pushback("20"), "OK"]), 2, "OK"),
        sequence(json!([pushback("20"), "UNAVAILABLE", pushback("20"), "OK"]), 4, "OK"),
        sequence(json!([pushback("20"), "UNAVAILABLE", pushback("20"), pushback("20"), "OK"]), 4, "UNAVAILABLE"),
        sequence(json!([pushback("-1"), "OK"]), 1, "UNAVAILABLE"),
        sequence(json!(["UNAVAILABLE", pushback("-1"), "OK"]), 2, "UNAVAILABLE"),
        sequence(json!([pushback("soon"), "OK"]), 1, "UNAVAILABLE"),
        sequence(json!([pushback(""), "OK"]), 1, "UNAVAILABLE"),
        sequence(json!([pushback("1.5"), "OK"]), 1, "UNAVAILABLE"),
        // Pushback does not make a code retryable.
        sequence(json!([{ "status": "INVALID_ARGUMENT", "pushback": "20" }, "OK"]), 1, "INVALID_ARGUMENT"),
        // Beyond the deadline: the call waits for it.
        sequence(json!([pushback("60000"), "OK"]), 1, "DEADLINE_EXCEEDED"),
        // A6: at once. C-core 1.85 never sends the next attempt, as its timer does not say that a wait of nothing is over.
        Sequence { with_grpcio: Some((1, "DEADLINE_EXCEEDED")), ..sequence(json!([pushback("0"), "OK"]), 2, "OK") },
    ];
    check(peers, retry_policy(), &sequences);
}

#[test]
fn hedges_are_those_of_a6_and_grpcio_sends_none() {
    let Some(peers) = peers() else { return };
    let service_config = json!({ "methodConfig": [{ "name": [{}], "hedgingPolicy": {
        "maxAttempts": 3, "hedgingDelay": "2s", "nonFatalStatusCodes": ["UNAVAILABLE"],
    } }] });
    let slow = json!({ "status": "OK", "delay_ms": 10_000 });
    // C-core 1.85 does not know hedgingPolicy: the call is its first attempt.
    let hedged = |answers, attempts, status, first| Sequence {
        with_grpcio: Some((1, first)),
        ..sequence(answers, attempts, status)
    };
    let sequences = [
        sequence(json!(["OK"]), 1, "OK"),
        hedged(json!([slow, "OK"]), 2, "OK", "DEADLINE_EXCEEDED"),
        // A failure that is not fatal brings the next attempt forward.
        hedged(json!(["UNAVAILABLE", "OK"]), 2, "OK", "UNAVAILABLE"),
        hedged(json!(["UNAVAILABLE"]), 3, "UNAVAILABLE", "UNAVAILABLE"),
        sequence(json!(["INVALID_ARGUMENT", "OK"]), 1, "INVALID_ARGUMENT"),
        hedged(json!(["UNAVAILABLE", "INTERNAL", "OK"]), 2, "INTERNAL", "UNAVAILABLE"),
        hedged(json!([pushback("20"), "OK"]), 2, "OK", "UNAVAILABLE"),
        sequence(json!([pushback("-1"), "OK"]), 1, "UNAVAILABLE"),
    ];
    check(peers, service_config, &sequences);
}

/// Checks that both clients have made as many attempts, and that as many calls are OK: exactly, as calls follow one another.
fn equal(peers: &Peers, case: &'static str, service_config: Value, script: &Value, calls: usize) -> [usize; 2] {
    let (statuses, attempts) = one_by_one(peers, &in_turn(service_config, 5_000), script, calls);
    let [ours, theirs] = attempts.map(|seen| seen.len());
    Compared { case, what: "attempts", calls: [calls; 2], ours, theirs }.agree_within(peers, 0);
    assert_eq!(statuses.ours, statuses.theirs);
    [count(&statuses.theirs, "OK"), theirs]
}

#[test]
fn pushback_is_followed_or_ends_the_call() {
    let Some(peers) = peers() else { return };
    let calls = calls() / 2 * 2;
    let script = json!([[pushback("20"), "OK"], [pushback("-1"), "OK"]]);
    let case = "i pushback, of every other call -1";
    let counted = equal(peers, case, retry_policy(), &script, calls);
    assert_eq!(counted, [calls / 2, calls / 2 * 3]);
}

#[test]
fn throttling_stops_retries_and_permits_them_again() {
    let Some(peers) = peers() else { return };
    let calls = calls();
    let mut service_config = retry_policy();
    service_config["retryThrottling"] = json!({ "maxTokens": 10, "tokenRatio": 2.5 });
    // Of ten calls five fail and five succeed. The first failures use up the tokens for retries, and the successes add as many.
    let failing = json!(["UNAVAILABLE"]);
    let well = json!(["OK"]);
    let script = json!([failing, failing, failing, failing, failing, well, well, well, well, well]);
    let [_, attempts] = equal(peers, "j throttling", service_config, &script, calls);
    assert!(attempts > calls && attempts < 2 * calls, "{attempts} attempts of {calls} calls with grpcio");
}

#[test]
fn hedging_is_that_of_a6_beside_a_client_without() {
    let Some(peers) = peers() else { return };
    let calls = calls();
    let service_config = json!({ "methodConfig": [{ "name": [{}], "hedgingPolicy": {
        "maxAttempts": 2, "hedgingDelay": "10s", "nonFatalStatusCodes": ["UNAVAILABLE"],
    } }] });
    let script = json!([["UNAVAILABLE", "OK"], ["OK"]]);
    let (statuses, attempts) = one_by_one(peers, &in_turn(service_config, 5_000), &script, calls);
    let [ours, theirs] = attempts.map(|seen| seen.len());
    let case = "k hedging, which C-core does not do";
    // By A6 the failure brings the hedge forward; C-core sends the first attempt only.
    Compared { case, what: "attempts", calls: [calls; 2], ours, theirs }.agree_within(peers, calls.div_ceil(2));
    assert_eq!((ours, count(&statuses.ours, "OK")), (calls + calls.div_ceil(2), calls));
    assert_eq!((theirs, count(&statuses.theirs, "OK")), (calls, calls / 2));
}
