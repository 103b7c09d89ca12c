//! What a replica does wrong because a fault says so: gRPC A33's fault injection, on the server's side.
//!
//! * errors: a share of the calls is answered with a status as they arrive. They take no place in the queue and no worker.
//! * slow: whatever a worker does takes several times as long.
//!
//! Health checks are not calls: they are answered as ever. What is injected ends with the process.

use std::sync::{Mutex, MutexGuard};

use serde::{Deserialize, Serialize};

use crate::{
    entropy::{Entropy, unit},
    status::Code,
    sync::lock,
};

/// All that is injected into a replica at a time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Injection {
    /// Each fails calls by draws of its own; of several that would fail a call, the first does.
    pub errors: Vec<Errors>,
    /// What service times are multiplied by, at least 1.
    pub slow: f64,
}

/// One fault that fails calls: `abort` in gRPC A33.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Errors {
    /// Names the draws: the fault's index.
    pub fault: usize,
    /// The share of calls that fail, from 0 to 1.
    pub rate: f64,
    /// What they are told.
    pub status: Code,
}

impl Default for Injection {
    /// Nothing.
    fn default() -> Self {
        Self { errors: Vec::new(), slow: 1.0 }
    }
}

impl Injection {
    /// Both at once.
    pub fn and(mut self, other: &Self) -> Self {
        self.errors.extend(&other.errors);
        // Finite, so that nothing stays nothing, however much longer it takes.
        self.slow = (self.slow * other.slow).min(f64::MAX);
        self
    }
}

/// Injects into one replica. Whoever steers it shares it with the replica.
#[derive(Debug)]
pub struct Injector {
    entropy: Entropy,
    injection: Mutex<Injection>,
}

impl Injector {
    /// One that injects nothing yet.
    pub fn new(entropy: Entropy) -> Self {
        Self { entropy, injection: Mutex::default() }
    }

    /// The randomness of the replica.
    pub(super) fn entropy(&self) -> Entropy {
        self.entropy
    }

    /// From now on it is this that is injected, in place of what was.
    pub fn set(&self, injection: Injection) {
        *self.injection() = injection;
    }

    /// What the attempt fails with, if it is to fail. It depends on the seed, the fault, the request and the attempt only.
    pub(super) fn aborts(&self, request: u64, attempt: u32) -> Option<Code> {
        let injection = self.injection();
        let fails = |errors: &&Errors| {
            let numbers = [request, u64::from(attempt), errors.fault as u64];
            unit(&mut self.entropy.stream_of("server.errors", &numbers)) < errors.rate
        };
        injection.errors.iter().find(fails).map(|errors| errors.status)
    }

    /// What a service time is multiplied by that begins now.
    pub(super) fn slow(&self) -> f64 {
        self.injection().slow
    }

    fn injection(&self) -> MutexGuard<'_, Injection> {
        lock(&self.injection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injecting(errors: Vec<Errors>) -> Injector {
        let injector = Injector::new(Entropy::new(42));
        injector.set(Injection { errors, ..Injection::default() });
        injector
    }

    fn errors(fault: usize, rate: f64, status: Code) -> Errors {
        Errors { fault, rate, status }
    }

    #[test]
    fn all_or_none_fail_at_the_ends_of_the_scale() {
        let (never, always) = (errors(0, 0.0, Code::Internal), errors(0, 1.0, Code::Aborted));
        assert!((0..1_000).all(|request| injecting(vec![never]).aborts(request, 1).is_none()));
        assert!((0..1_000).all(|request| injecting(vec![always]).aborts(request, 1) == Some(Code::Aborted)));
    }

    #[test]
    fn the_share_that_fails_is_the_rate() {
        let injector = injecting(vec![errors(0, 0.3, Code::Unavailable)]);
        let failed = (0..10_000).filter(|request| injector.aborts(*request, 1).is_some()).count();
        // Five standard deviations of the binomial distribution: 5 * sqrt(10000 * 0.3 * 0.7) = 229.
        assert!((2_771..=3_229).contains(&failed), "{failed}");
    }

    #[test]
    fn each_attempt_and_each_fault_draws_for_itself_and_the_same_again() {
        let drawn = |fault, attempt| -> Vec<_> {
            let injector = injecting(vec![errors(fault, 0.5, Code::Unavailable)]);
            (0..64).map(|request| injector.aborts(request, attempt).is_some()).collect()
        };
        assert_eq!(drawn(0, 1), drawn(0, 1));
        assert_ne!(drawn(0, 1), drawn(0, 2));
        assert_ne!(drawn(0, 1), drawn(1, 1));
    }

    #[test]
    fn of_two_faults_the_first_that_hits_decides() {
        let injector = injecting(vec![errors(0, 0.5, Code::Internal), errors(1, 1.0, Code::Unavailable)]);
        let codes: Vec<_> = (0..64).map(|request| injector.aborts(request, 1)).collect();
        assert!([Code::Internal, Code::Unavailable].iter().all(|code| codes.contains(&Some(*code))));
        assert!(!codes.contains(&None));
    }

    #[test]
    fn injections_add_up() {
        let one = Injection { errors: vec![errors(0, 0.5, Code::Internal)], slow: 2.0 };
        let both = one.clone().and(&Injection { errors: vec![errors(3, 0.1, Code::Aborted)], slow: 3.0 });
        assert_eq!(both.slow, 6.0);
        assert_eq!(both.errors.iter().map(|errors| errors.fault).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(Injection::default().and(&one), one);
    }
}
