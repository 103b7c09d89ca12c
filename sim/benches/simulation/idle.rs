//! The baseline of time: unmodified turmoil, with hosts that do nothing on its ticks of 1 ms.

use std::time::Duration;

/// Lets a client and `servers` idle for `time`.
pub(crate) fn tick_for(time: Duration, servers: usize) {
    let mut sim = turmoil::Builder::new()
        .tick_duration(Duration::from_millis(1))
        .simulation_duration(Duration::MAX)
        .rng_seed(42)
        .build();
    for server in 0..servers {
        sim.host(format!("server-{server}"), std::future::pending::<turmoil::Result>);
    }
    sim.client("client", std::future::pending());
    for _ in 0..time.as_millis() {
        sim.step().expect("idle hosts do not fail");
    }
}
