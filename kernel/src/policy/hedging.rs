//! Hedging: further attempts while the first is still under way. gRPC A6.
//!
//! The first attempt is sent at once, and another one every `hedging_delay`, to a server that the call has not asked yet,
//! until there is an answer or `max_attempts` were sent. The result of an attempt decides:
//!
//! | result | consequence |
//! | --- | --- |
//! | OK | the call succeeds with it; the other attempts are cancelled |
//! | a status of `non_fatal_status_codes` | the next attempt is sent now, and further ones every `hedging_delay` again |
//! | any other status | the call fails with it; the other attempts are cancelled |
//! | a non-fatal status, and the server asks not to retry | no further attempt is sent |
//! | a non-fatal status, and the server asks to wait | the next attempt is sent after that wait |
//!
//! The call fails when all attempts have failed. Throttling, budgets, and policies that reject an attempt stop further attempts,
//! but not those under way. `[client.adaptive_hedging]` may set another delay for a call.

use std::time::Duration;

use super::{AroundAttempts, PolicyConfig, Pushback};
use crate::{
    planted::planted,
    settings::{limits, samples, table_macro::table, value::CodesOrNone},
    status::Code,
    time::Instant,
};

table! {
    /// `[client.hedging]`: gRPC A6's hedging policy, in place of its retry policy.
    Hedging {
        /// Attempts of a call, the first one included.
        max_attempts: usize = 2, limits::HEDGED_ATTEMPTS, &["2", "3", "5", "100"];
        /// Time between two attempts; 0 sends all of them at once.
        hedging_delay: Duration = Duration::from_millis(500), limits::WAIT, &["\"0ms\"", "\"1ms\"", "\"50ms\"", "\"500ms\""];
        /// Failures that do not end the call; with none, any failure ends it, as in A6.
        non_fatal_status_codes: Vec<Code> as CodesOrNone = vec![Code::Unavailable, Code::DeadlineExceeded, Code::Internal],
            (), samples::CODES;
    }
}

impl PolicyConfig for Hedging {
    type Policy = AroundAttempts;
}

/// The times at which one call sends its attempts.
#[derive(Debug)]
pub(crate) struct Hedges<'a> {
    settings: &'a Hedging,
    /// The time between two attempts.
    delay: Duration,
    /// Number of attempts sent.
    sent: usize,
    /// The time at which the next attempt is due; `None` if there is no next one.
    due: Option<Instant>,
    /// True if the next attempt would have been due after the deadline.
    are_late: bool,
}

/// The consequence of a failed attempt for its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The call fails with it.
    Fatal,
    /// The call continues with the attempts under way and those that follow.
    Continue,
}

impl<'a> Hedges<'a> {
    /// Creates the schedule of a call that begins `now`, whose first attempt is due at once, with `delay` between two attempts.
    pub(crate) fn new(settings: &'a Hedging, delay: Duration, now: Instant) -> Self {
        Self { settings, delay, sent: 0, due: Some(now), are_late: false }
    }

    /// Returns when the next attempt is due, if there is one.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Notes that an attempt was sent, `now`.
    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.sent += 1;
        let delay = planted!(Bug::EarlyHedge, self.delay / 2, else self.delay);
        self.due = (self.sent < self.settings.max_attempts).then(|| now + delay);
    }

    /// Notes that an attempt has failed with `code`.
    pub(crate) fn on_failure(&mut self, now: Instant, code: Code, pushback: Option<Pushback>) -> Verdict {
        if !self.settings.non_fatal_status_codes.contains(&code) {
            return Verdict::Fatal;
        }
        self.due = match pushback {
            // Once the sending has stopped, no failure resumes it.
            _ if self.due.is_none() => None,
            None => Some(now),
            Some(Pushback::After(wait)) => Some(now + wait),
            Some(Pushback::Never) => None,
        };
        Verdict::Continue
    }

    /// Stops the sending: no further attempt is due.
    pub(crate) fn stop(&mut self) {
        self.due = None;
    }

    /// Stops the sending because the next attempt is due after the deadline.
    pub(crate) fn stop_late(&mut self) {
        self.stop();
        self.are_late = true;
    }

    /// Returns whether the sending has stopped because the next attempt was due after the deadline.
    pub(crate) fn are_late(&self) -> bool {
        self.are_late
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    /// Returns the settings of A6's example.
    fn settings() -> Hedging {
        Hedging {
            max_attempts: 4,
            hedging_delay: Duration::from_millis(500),
            non_fatal_status_codes: vec![Code::Unavailable, Code::Internal, Code::Aborted],
        }
    }

    fn hedges(settings: &Hedging) -> Hedges<'_> {
        Hedges::new(settings, settings.hedging_delay, at(0))
    }

    /// Returns the number of attempts under way at each of `times`, in milliseconds, if none ends.
    fn outstanding(settings: &Hedging, times: &[u64]) -> Vec<usize> {
        let mut hedges = hedges(settings);
        let mut counts = Vec::new();
        for time in times {
            while let Some(due) = hedges.due().filter(|due| *due <= at(*time)) {
                hedges.on_sent(due);
            }
            counts.push(hedges.sent);
        }
        counts
    }

    /// A6: "after 1ms there would be one outstanding RPC, after 501ms there would be two, after 1001ms there would be three,
    /// and after 1501ms there would be four".
    #[test]
    fn the_example_of_the_specification_sends_an_attempt_every_half_second_up_to_four() {
        assert_eq!(outstanding(&settings(), &[1, 501, 1_001, 1_501, 60_000]), [1, 2, 3, 4, 4]);
    }

    /// A6: "The following example issues four RPCs simultaneously".
    #[test]
    fn without_a_delay_all_attempts_are_sent_at_once() {
        assert_eq!(outstanding(&Hedging { hedging_delay: Duration::ZERO, ..settings() }, &[0]), [4]);
    }

    #[test]
    fn a_non_fatal_failure_sends_the_next_attempt_now_and_the_one_after_it_after_the_delay() {
        let settings = settings();
        let mut hedges = hedges(&settings);
        hedges.on_sent(at(0));
        assert_eq!(hedges.on_failure(at(120), Code::Unavailable, None), Verdict::Continue);
        assert_eq!(hedges.due(), Some(at(120)));
        hedges.on_sent(at(120));
        assert_eq!(hedges.due(), Some(at(620)));
    }

    #[test]
    fn any_other_failure_ends_the_call() {
        let settings = settings();
        let mut hedges = hedges(&settings);
        hedges.on_sent(at(0));
        assert_eq!(hedges.on_failure(at(1), Code::InvalidArgument, None), Verdict::Fatal);
    }

    /// A6: "Send next hedged request in n ms. Subsequent hedged requests will resume at n + hedgingDelay".
    #[test]
    fn pushback_delays_the_next_attempt_or_stops_the_sending() {
        let settings = settings();
        let mut hedges = hedges(&settings);
        hedges.on_sent(at(0));
        hedges.on_failure(at(100), Code::Unavailable, Some(Pushback::After(Duration::from_millis(900))));
        assert_eq!(hedges.due(), Some(at(1_000)));
        hedges.on_sent(at(1_000));
        assert_eq!(hedges.due(), Some(at(1_500)));
        assert_eq!(hedges.on_failure(at(1_100), Code::Internal, Some(Pushback::Never)), Verdict::Continue);
        assert_eq!(hedges.due(), None);
        assert_eq!(hedges.on_failure(at(1_200), Code::Internal, None), Verdict::Continue);
        assert_eq!(hedges.due(), None, "the sending stays stopped");
    }

    proptest! {
        #[test]
        fn no_more_than_max_attempts_are_ever_sent(
            max_attempts in 2..9_usize, steps in proptest::collection::vec((0..900_u64, 0..4_u8), 0..100),
        ) {
            let settings = Hedging { max_attempts, ..settings() };
            let mut hedges = hedges(&settings);
            let mut now = 0;
            for (gap, what) in steps {
                now += gap;
                while hedges.due().is_some_and(|due| due <= at(now)) {
                    hedges.on_sent(at(now));
                }
                let wait = Pushback::After(Duration::from_millis(gap));
                let pushback = [None, Some(wait), Some(Pushback::Never), None][usize::from(what)];
                hedges.on_failure(at(now), Code::Unavailable, pushback);
                prop_assert!(hedges.sent <= max_attempts);
                prop_assert!(hedges.sent < max_attempts || hedges.due().is_none());
            }
        }
    }
}
