//! The time that handshakes of TLS keep both ends busy, in memory.

use std::io;

use kernel::{scenario::Scenario, tls::timed_handshake};

use super::samples::Samples;
use crate::{clock::machine_ns, tls::RunTls};

/// Number of handshakes.
const HANDSHAKES: usize = 400;

/// Number of the first ones that are not counted, as caches are cold.
const WARM_UP: usize = 40;

/// The certificates of a run whose client shows none.
const SCENARIO: &str = "name = \"calibration\"\nduration = \"1s\"\n[load]\nrate = 1\n[tls]\n";

/// The measured times.
#[derive(Debug, Default, PartialEq)]
pub(super) struct HandshakeTimes {
    /// At the client.
    pub(super) client: Samples,
    /// At the server.
    pub(super) server: Samples,
}

/// Plays handshakes one after another.
pub(super) fn measure() -> io::Result<HandshakeTimes> {
    let scenario = Scenario::parse("calibration", SCENARIO, &[]).map_err(io::Error::other)?;
    let run = RunTls::for_scenario(&scenario)?.ok_or_else(|| io::Error::other("the scenario has [tls]"))?;
    let client = run.client.client()?;
    let server = run.servers[0].server()?;
    let mut times = [Vec::new(), Vec::new()];
    for number in 0..HANDSHAKES {
        let busy = timed_handshake(&client, &server, "server-0", machine_ns)?;
        if number >= WARM_UP {
            times.iter_mut().zip(busy).for_each(|(times, busy)| times.push(busy.as_secs_f64() * 1e6));
        }
    }
    let [client, server] = times.map(Samples::from_round);
    Ok(HandshakeTimes { client, server })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_handshake_that_counts_has_a_time_at_both_ends() {
        let HandshakeTimes { client, server } = measure().unwrap();
        assert_eq!([client.count(), server.count()], [HANDSHAKES - WARM_UP; 2]);
        assert!([client, server].iter().all(|times| times.quantile(0.0).is_some_and(|least| least > 0.0)));
    }
}
