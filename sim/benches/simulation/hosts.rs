//! What replicas cost that have nothing to do, and what a request costs at a high rate.

use crate::{micros_each, millis, plan, rounds::compare, run_now};

/// Rounds of each pair. They take turns, and the fastest ones are compared.
const ROUNDS: usize = 7;

/// A request computes a picture of 64x64, and takes as long as that does.
const COMPUTING: [&str; 2] = ["workload.sizes=[\"64x64\"]", "servers.service_time_min=\"0ms\""];

/// The interval of health checks of which a run has none.
const NO_CHECKS: &str = "client.health_check.interval=\"24h\"";

/// Compares many replicas to two, and a high rate to a low one.
pub(crate) fn hosts() {
    println!("runs of requests of 64x64, 120 s             first      second     ratio");
    replicas("50 replicas over 2, 50 requests/s", 50, &[]);
    replicas("1000 over 2, without health checks", 1_000, &[NO_CHECKS]);
    rate();
    long_wait();
    println!();
}

/// Compares `count` replicas to two.
fn replicas(name: &str, count: usize, more: &[&str]) {
    let run = |replicas: usize| {
        let replicas = format!("servers.replicas={replicas}");
        let settings = ["duration=\"120s\"", "load.rate=50", &replicas];
        let plan = plan("baseline.toml", &[&settings[..], &COMPUTING, more].concat());
        move || drop(run_now(&plan))
    };
    let (many, two) = compare(ROUNDS, run(count), run(2));
    println!(
        "  {name:<36}  {:8.1} ms   {:8.1} ms  {:7.2} x",
        millis(many),
        millis(two),
        many.as_secs_f64() / two.as_secs_f64()
    );
}

/// Compares a request at 5,000 a second to one at 100 a second, with as many requests in all.
fn rate() {
    const REQUESTS: u64 = 12_000;
    let run = |rate: u64| {
        let duration = format!("duration=\"{}ms\"", REQUESTS * 1_000 / rate);
        let rate = format!("load.rate={rate}");
        let plan = plan("baseline.toml", &[&[&*duration, &rate][..], &COMPUTING].concat());
        move || drop(run_now(&plan))
    };
    let (high, low) = compare(ROUNDS, run(5_000), run(100));
    let [high, low] = [high, low].map(|time| micros_each(time.as_secs_f64(), REQUESTS));
    println!("  {:<36}  {high:8.1} µs   {low:8.1} µs  {:7.2} x", "5000 requests/s over 100, each", high / low);
}

/// Measures a client that waits for a day until 64 replicas have computed.
fn long_wait() {
    let settings = [
        "duration=\"250ms\"",
        "load.rate=20",
        "workload.sizes=[\"1x1\"]",
        "servers.replicas=64",
        "servers.service_time_min=\"24h\"",
        "client.deadline=\"24h\"",
        "client.attempt_timeout=\"24h\"",
    ];
    let plan = plan("baseline.toml", &settings);
    let events = run_now(&plan).records.events.len();
    let wall = crate::rounds::fastest(ROUNDS, || drop(run_now(&plan)));
    println!("  {:<36}  {:8.1} ms   {events} events", "24 h of waiting for 64 replicas", millis(wall));
}
