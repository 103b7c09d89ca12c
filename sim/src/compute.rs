//! Computing: it takes the time that the calibration draws.

use std::time::Duration;

use kernel::{
    entropy::{Entropy, RandomStream, unit},
    record::AttemptId,
    store,
    tls::{CLIENT_HANDSHAKE, SERVER_HANDSHAKE},
    world::Cost,
};

use crate::{calibration::Calibration, processors::Piece};

/// Time that a command of the store takes, unless the calibration has a service time for `store_command`. A Redis carries out about a
/// hundred thousand commands per second, one after the other.
const STORE_COMMAND: Duration = Duration::from_micros(10);

/// The processors of all hosts.
#[derive(Debug)]
pub(crate) struct Compute {
    calibration: Calibration,
    entropy: Entropy,
}

impl Compute {
    pub(crate) fn new(calibration: Calibration, entropy: Entropy) -> Self {
        Self { calibration, entropy }
    }

    /// Draws how long it takes to compute at this cost. The draw depends on the seed, the request and the attempt only, so it
    /// is the same in every variant of a scenario and on every server.
    ///
    /// # Errors
    ///
    /// Returns the name of the calibration if that has no time for it.
    pub(crate) fn service_time(&self, cost: Cost<'_>) -> Result<Duration, &str> {
        if let Some(time) = self.handshake_time(cost) {
            return Ok(time);
        }
        if let Some(time) = self.default_time(cost.what) {
            return Ok(time);
        }
        let time = self.calibration.service_time(cost.what, cost.units, &mut self.draw(cost));
        time.ok_or(&self.calibration.name)
    }

    /// Draws the same for the machine that all processes share. `varied` returns the probability of what is computed now, by that which was
    /// drawn for it.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`service_time`](Self::service_time).
    pub(crate) fn service_piece(&self, cost: Cost<'_>, varied: impl FnOnce(f64) -> f64) -> Result<Piece, &str> {
        if let Some(time) = self.handshake_time(cost) {
            return Ok(Piece::new(time, time));
        }
        if let Some(time) = self.default_time(cost.what) {
            return Ok(Piece::new(time, time));
        }
        let probability = varied(unit(&mut self.draw(cost)));
        let piece = self.calibration.service_piece(cost.what, cost.units, probability);
        piece.ok_or(&self.calibration.name)
    }

    /// Returns the time of what the calibration need not have.
    fn default_time(&self, what: &str) -> Option<Duration> {
        (what == store::COMMAND && !self.calibration.knows(what)).then_some(STORE_COMMAND)
    }

    /// Draws the time of a handshake; `None` if it is none, which draws nothing.
    fn handshake_time(&self, cost: Cost<'_>) -> Option<Duration> {
        if !is_handshake(cost.what) {
            return None;
        }
        self.calibration.handshake_time(cost.what, &mut self.draw(cost))
    }

    fn draw(&self, cost: Cost<'_>) -> RandomStream {
        let AttemptId { call, number } = cost.attempt;
        // The first computation of an attempt has the name that it had when there was only one.
        let more = [u64::from(number), u64::from(cost.nth)];
        let numbers = &call.numbers(if cost.nth == 0 { &more[..1] } else { &more });
        // Handshakes have numbers of their own, which are not those of requests.
        if is_handshake(cost.what) || cost.what == store::COMMAND {
            return self.entropy.stream_of(cost.what, numbers);
        }
        self.entropy.stream_of("compute.service_time", numbers)
    }

    /// Returns whether the calibration has a time for `what`.
    pub(crate) fn knows(&self, what: &str) -> bool {
        is_handshake(what) || what == store::COMMAND || self.calibration.knows(what)
    }

    /// Draws how long the `start`-th process of `server` takes until it listens.
    pub(crate) fn exec_to_listen(&self, server: usize, start: u64) -> Duration {
        let mut rng = self.entropy.stream_of("process.exec_to_listen", &[server as u64, start]);
        self.calibration.process.exec_to_listen_us.sample(&mut rng)
    }
}

fn is_handshake(what: &str) -> bool {
    matches!(what, CLIENT_HANDSHAKE | SERVER_HANDSHAKE)
}
