//! Computing: it takes the time that the calibration draws.

use std::time::Duration;

use kernel::{
    entropy::{Entropy, RandomStream},
    record::AttemptId,
    tls::{CLIENT_HANDSHAKE, SERVER_HANDSHAKE},
    world::Cost,
};

use crate::{calibration::Calibration, processors::Piece};

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
        let time = self.calibration.service_time(cost.what, cost.units, &mut self.draw(cost));
        time.ok_or(&self.calibration.name)
    }

    /// Draws the same for the machine that all processes share.
    ///
    /// # Errors
    ///
    /// Returns the errors of [`service_time`](Self::service_time).
    pub(crate) fn service_piece(&self, cost: Cost<'_>) -> Result<Piece, &str> {
        if let Some(time) = self.handshake_time(cost) {
            return Ok(Piece { warm: time, cold: time });
        }
        let piece = self.calibration.service_piece(cost.what, cost.units, &mut self.draw(cost));
        piece.ok_or(&self.calibration.name)
    }

    /// Draws the time of a handshake; `None` if it is none, which draws nothing.
    fn handshake_time(&self, cost: Cost<'_>) -> Option<Duration> {
        if !is_handshake(cost.what) {
            return None;
        }
        self.calibration.handshake_time(cost.what, &mut self.draw(cost))
    }

    fn draw(&self, cost: Cost<'_>) -> RandomStream {
        let AttemptId { request, number } = cost.attempt;
        let numbers = [request, u64::from(number), u64::from(cost.nth)];
        // The first computation of an attempt has the name that it had when there was only one.
        let numbers = if cost.nth == 0 { &numbers[..2] } else { &numbers };
        // Handshakes have numbers of their own, which are not those of requests.
        if is_handshake(cost.what) {
            return self.entropy.stream_of(cost.what, numbers);
        }
        self.entropy.stream_of("compute.service_time", numbers)
    }

    /// Returns whether the calibration has a time for `what`.
    pub(crate) fn knows(&self, what: &str) -> bool {
        is_handshake(what) || self.calibration.knows(what)
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
