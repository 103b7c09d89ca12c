//! The waits between two attempts at the same thing, by gRPC's connection-backoff document.

use std::time::Duration;

use crate::entropy::{RandomStream, unit};

// The defaults of the document.
const INITIAL: Duration = Duration::from_secs(1);
const MULTIPLIER: f64 = 1.6;
const JITTER: f64 = 0.2;
const MAX: Duration = Duration::from_secs(120);

/// Waits that grow. Each counts from the start of an attempt, as in the document: a slow failure is not punished twice.
pub(super) struct Backoff {
    rng: RandomStream,
    /// The present wait, before jitter.
    wait: Duration,
}

impl Backoff {
    /// Returns waits whose jitter is drawn from `rng`.
    pub(super) fn new(rng: RandomStream) -> Self {
        Self { rng, wait: INITIAL }
    }

    /// Starts again, and returns the first wait, which has no jitter.
    pub(super) fn restart(&mut self) -> Duration {
        self.wait = INITIAL;
        self.wait
    }

    /// Returns the next wait.
    pub(super) fn grow(&mut self) -> Duration {
        self.wait = self.wait.mul_f64(MULTIPLIER).min(MAX);
        self.wait.mul_f64(1.0 + JITTER * (2.0 * unit(&mut self.rng) - 1.0))
    }
}
