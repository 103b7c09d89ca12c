//! Fault injection in a replica: gRPC A33 on the server's side.
//!
//! * errors: a share of the calls is delayed when they arrive, answered with a status, or both. They occupy neither the queue nor a worker
//!   until then.
//! * slow: service times are multiplied by a factor.
//! * presented: the certificate is one that has expired, or one of an authority that no one knows.
//! * drain: the process is asked to finish the calls under way and to end.
//!
//! Health checks are not affected. An injection ends with the process. Settings that change in a run come the same way, and stay.

use std::{
    fmt,
    sync::{
        Mutex, MutexGuard, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use serde::{Deserialize, Serialize};
use tokio::sync::{Notify, futures::Notified, watch};

use super::Tuning;
use crate::{
    entropy::{Entropy, unit},
    record::AttemptId,
    status::Code,
    sync::lock,
    tls::Presented,
};

/// The faults that are injected into a replica at one time.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Injection {
    /// Faults that fail or delay calls, each by draws of its own. If several would fail a call, the first one does; delays add up until then.
    pub errors: Vec<InjectedErrors>,
    /// Factor of the service times, at least 1.
    pub slow: f64,
    /// The certificate that the replica presents in handshakes that begin. Connections that are open stay.
    #[serde(default)]
    pub presented: Presented,
}

/// One fault that fails or delays a share of the calls: `abort` and `delay` in gRPC A33.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct InjectedErrors {
    /// Index of the fault in the scenario, which names its random draws.
    pub fault: usize,
    /// Share of the calls that fail or are delayed, from 0 to 1.
    pub rate: f64,
    /// Status of these calls; `None` if they are only delayed.
    pub status: Option<Code>,
    /// Time by which these calls are delayed.
    #[serde(default)]
    pub delay: Duration,
}

/// The effect of the faults on one attempt.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct InjectedFault {
    /// Time by which it is delayed.
    pub(super) delay: Duration,
    /// Status that it fails with after that; `None` if it does not fail.
    pub(super) status: Option<Code>,
}

impl Default for Injection {
    /// Returns an injection that changes nothing.
    fn default() -> Self {
        Self { errors: Vec::new(), slow: 1.0, presented: Presented::Valid }
    }
}

impl Injection {
    /// Returns the injection that does both.
    pub fn and(mut self, other: &Self) -> Self {
        self.errors.extend(&other.errors);
        // The factor must stay finite: zero times infinity is not a number, and a service time may be zero.
        self.slow = (self.slow * other.slow).min(f64::MAX);
        self.presented = self.presented.max(other.presented);
        self
    }
}

/// Injects faults into one replica. The replica shares it with the code that sets the injection.
#[derive(Debug)]
pub struct Injector {
    entropy: Entropy,
    injection: Mutex<Injection>,
    /// True if the process was asked to end.
    draining: watch::Sender<bool>,
    /// True once the settings have changed: most replicas keep theirs, and read them without a lock.
    is_tuned: AtomicBool,
    /// The settings since they have changed.
    tuning: Mutex<Option<Tuning>>,
    tuned: Notify,
    /// The part that follows the settings at once, for as long as it exists.
    follower: Mutex<Option<Weak<dyn FollowTuning>>>,
}

/// A part of a replica that follows the settings as they change.
pub(super) trait FollowTuning: fmt::Debug + Send + Sync {
    /// Notes that the settings have changed.
    fn on_tuned(&self);
}

impl Injector {
    /// Creates an injector that injects nothing yet. `entropy` also is the replica's own randomness.
    pub fn new(entropy: Entropy) -> Self {
        Self {
            entropy,
            injection: Mutex::default(),
            draining: watch::Sender::new(false),
            is_tuned: AtomicBool::new(false),
            tuning: Mutex::default(),
            tuned: Notify::new(),
            follower: Mutex::default(),
        }
    }

    /// Gives the replica other settings from now on, this process and those after it. It may start tasks of the replica's world.
    pub fn tune(&self, tuning: Tuning) {
        *lock(&self.tuning) = Some(tuning);
        self.is_tuned.store(true, Ordering::Release);
        self.tuned.notify_waiters();
        let follower = lock(&self.follower).as_ref().and_then(Weak::upgrade);
        follower.iter().for_each(|follower| follower.on_tuned());
    }

    /// Lets `follower` follow the settings, in place of the one before.
    pub(super) fn set_follower(&self, follower: Weak<dyn FollowTuning>) {
        *lock(&self.follower) = Some(follower);
    }

    /// Returns the settings, if they have changed.
    pub fn tuning(&self) -> Option<Tuning> {
        self.is_tuned.load(Ordering::Acquire).then(|| lock(&self.tuning).clone()).flatten()
    }

    /// Returns a future that completes at the next change of the settings. It sees every change from its creation on.
    pub(super) fn next_tuning(&self) -> Notified<'_> {
        self.tuned.notified()
    }

    /// Asks the replica to finish the calls under way and to end.
    pub fn drain(&self) {
        self.draining.send_replace(true);
    }

    /// Starts over for a new process, which injects nothing and was not asked to end.
    pub fn start_over(&self) {
        self.set(Injection::default());
        self.draining.send_replace(false);
    }

    /// Completes when the replica is asked to end.
    pub async fn until_drain(&self) {
        // The sender lives as long as this does, so there is no error.
        let _ = self.draining.subscribe().wait_for(|draining| *draining).await;
    }

    /// Returns the randomness of the replica.
    pub(crate) fn entropy(&self) -> Entropy {
        self.entropy
    }

    /// Injects `injection` from now on, in place of the one before.
    pub fn set(&self, injection: Injection) {
        *self.injection() = injection;
    }

    /// Returns what the faults do to the attempt. The result depends only on the seed, the faults, the request and the attempt.
    pub(super) fn injected_fault(&self, attempt: AttemptId) -> InjectedFault {
        let mut injected = InjectedFault::default();
        for errors in self.injection().errors.iter().filter(|errors| self.hits(errors, attempt)) {
            injected.delay = injected.delay.saturating_add(errors.delay);
            injected.status = errors.status;
            if injected.status.is_some() {
                break;
            }
        }
        injected
    }

    /// Draws whether the fault `errors` hits the attempt.
    fn hits(&self, errors: &InjectedErrors, attempt: AttemptId) -> bool {
        let numbers = attempt.call.numbers(&[u64::from(attempt.number), errors.fault as u64]);
        unit(&mut self.entropy.stream_of("server.errors", &numbers)) < errors.rate
    }

    /// Returns the factor of a service time that begins now.
    pub(super) fn slow_factor(&self) -> f64 {
        self.injection().slow
    }

    /// Returns the certificate that the replica presents in a handshake that begins now.
    pub(super) fn presented(&self) -> Presented {
        self.injection().presented
    }

    fn injection(&self) -> MutexGuard<'_, Injection> {
        lock(&self.injection)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn injecting(errors: Vec<InjectedErrors>) -> Injector {
        let injector = Injector::new(Entropy::new(42));
        injector.set(Injection { errors, ..Injection::default() });
        injector
    }

    fn errors(fault: usize, rate: f64, status: Code) -> InjectedErrors {
        InjectedErrors { fault, rate, status: Some(status), delay: Duration::ZERO }
    }

    /// Returns which of 64 requests fail in their `attempt`-th attempt, by the fault `fault` that fails half of them.
    fn drawn(fault: usize, attempt: u32) -> Vec<bool> {
        let injector = injecting(vec![errors(fault, 0.5, Code::Unavailable)]);
        (0..64)
            .map(|request| injector.injected_fault(AttemptId::of_request(request, attempt)).status.is_some())
            .collect()
    }

    #[test]
    fn a_rate_of_0_fails_no_call_and_a_rate_of_1_all() {
        let never = errors(0, 0.0, Code::Internal);
        let always = errors(0, 1.0, Code::Aborted);
        assert!((0..1_000).all(|request| injecting(vec![never]).injected_fault(AttemptId::of_request(request, 1))
            == InjectedFault::default()));
        assert!(
            (0..1_000).all(|request| injecting(vec![always]).injected_fault(AttemptId::of_request(request, 1)).status
                == Some(Code::Aborted))
        );
    }

    #[test]
    fn the_share_that_fails_is_the_rate() {
        let injector = injecting(vec![errors(0, 0.3, Code::Unavailable)]);
        let failed = (0..10_000)
            .filter(|request| injector.injected_fault(AttemptId::of_request(*request, 1)).status.is_some())
            .count();
        // Five standard deviations of the binomial distribution: 5 * sqrt(10000 * 0.3 * 0.7) = 229.
        assert!((2_771..=3_229).contains(&failed), "{failed}");
    }

    #[test]
    fn draws_of_attempts_and_faults_are_independent_and_repeatable() {
        assert_eq!(drawn(0, 1), drawn(0, 1));
        assert_ne!(drawn(0, 1), drawn(0, 2));
        assert_ne!(drawn(0, 1), drawn(1, 1));
    }

    #[test]
    fn the_first_of_two_faults_that_fails_a_call_decides() {
        let injector = injecting(vec![errors(0, 0.5, Code::Internal), errors(1, 1.0, Code::Unavailable)]);
        let codes: Vec<_> =
            (0..64).map(|request| injector.injected_fault(AttemptId::of_request(request, 1)).status).collect();
        assert!([Code::Internal, Code::Unavailable].iter().all(|code| codes.contains(&Some(*code))));
        assert!(!codes.contains(&None));
    }

    #[test]
    fn delays_add_up_until_a_fault_fails_the_call() {
        let delay =
            |fault, status| InjectedErrors { status, delay: Duration::from_millis(10), ..errors(fault, 1.0, Code::Ok) };
        let injector = injecting(vec![delay(0, None), delay(1, Some(Code::Internal)), delay(2, Some(Code::Aborted))]);
        let failed = InjectedFault { delay: Duration::from_millis(20), status: Some(Code::Internal) };
        assert_eq!(injector.injected_fault(AttemptId::of_request(3, 1)), failed);
        let delayed = InjectedFault { delay: Duration::from_millis(10), status: None };
        assert_eq!(injecting(vec![delay(0, None)]).injected_fault(AttemptId::of_request(3, 1)), delayed);
    }

    #[test]
    fn two_injections_join_their_errors_and_multiply_their_factors() {
        let one = Injection { errors: vec![errors(0, 0.5, Code::Internal)], slow: 2.0, ..Injection::default() };
        let both = one.clone().and(&Injection {
            errors: vec![errors(3, 0.1, Code::Aborted)],
            slow: 3.0,
            ..Injection::default()
        });
        assert_eq!(both.slow, 6.0);
        assert_eq!(both.errors.iter().map(|errors| errors.fault).collect::<Vec<_>>(), [0, 3]);
        assert_eq!(Injection::default().and(&one), one);
    }
}
