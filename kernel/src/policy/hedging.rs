//! Hedging: another attempt while the one before it is still out. gRPC A6.
//!
//! The first attempt is sent at once, and another one every `hedging_delay`, to a server that the call has not asked yet,
//! until there is an answer or `max_attempts` were sent. What an attempt comes to decides:
//!
//! | it comes to | then |
//! | --- | --- |
//! | OK | it is the call's answer; the others are given up |
//! | a status of `non_fatal_status_codes` | the next one is sent now, and the others follow at `hedging_delay` again |
//! | any other status | it is the call's; the others are given up |
//! | a non-fatal status, and the server asks not to retry | no further one is sent |
//! | a non-fatal status, and the server asks to wait | the next one is sent after that |
//!
//! A call whose attempts have all failed is over. Throttling, budgets, and policies that turn an attempt down end the
//! sending, not the attempts under way.

use std::time::Duration;

use super::{AroundAttempts, PolicyConfig, Pushback};
use crate::{
    scenario::keys::{limits, table},
    status::Code,
    time::Instant,
};

table! {
    /// `[client.hedging]`: gRPC A6's hedging policy, in place of its retry policy.
    Hedging {
        /// Counts the first; at least 2.
        max_attempts: usize = 2, limits::HEDGED_ATTEMPTS;
        /// Between two attempts; 0 sends all of them at once.
        hedging_delay: Duration = Duration::from_millis(500), limits::WAIT;
        /// Failures that do not end the call.
        non_fatal_status_codes: Vec<Code> = vec![Code::Unavailable, Code::DeadlineExceeded, Code::Internal],
            "give at least one, such as [\"UNAVAILABLE\"]";
    }
}

impl PolicyConfig for Hedging {
    type Policy = AroundAttempts;
}

/// When a call sends its attempts.
#[derive(Debug)]
pub(crate) struct Hedges<'a> {
    settings: &'a Hedging,
    sent: usize,
    /// When the next one is due; `None` if there is none.
    due: Option<Instant>,
}

/// What a failed attempt means to its call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// The call has failed with it.
    Fatal,
    /// The call goes on with the attempts that are out and those that follow.
    GoesOn,
}

impl<'a> Hedges<'a> {
    /// A call that begins `now`.
    pub(crate) fn new(settings: &'a Hedging, now: Instant) -> Self {
        Self { settings, sent: 0, due: Some(now) }
    }

    /// When to send the next attempt, if there is to be one.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(crate) fn on_sent(&mut self, now: Instant) {
        self.sent += 1;
        let delay = self.settings.hedging_delay;
        #[cfg(feature = "canaries")]
        let delay = if crate::bug::is(crate::bug::Bug::EarlyHedge) { delay / 2 } else { delay };
        self.due = (self.sent < self.settings.max_attempts).then(|| now + delay);
    }

    pub(crate) fn on_failure(&mut self, now: Instant, code: Code, pushback: Option<Pushback>) -> Verdict {
        if !self.settings.non_fatal_status_codes.contains(&code) {
            return Verdict::Fatal;
        }
        self.due = match pushback {
            _ if self.due.is_none() => None,
            None => Some(now),
            Some(Pushback::After(wait)) => Some(now + wait),
            Some(Pushback::Never) => None,
        };
        Verdict::GoesOn
    }

    /// No more are sent.
    pub(crate) fn stop(&mut self) {
        self.due = None;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    /// A6's example.
    fn settings() -> Hedging {
        Hedging {
            max_attempts: 4,
            hedging_delay: Duration::from_millis(500),
            non_fatal_status_codes: vec![Code::Unavailable, Code::Internal, Code::Aborted],
        }
    }

    /// How many attempts are out at each of those times, if none comes to anything.
    fn outstanding(settings: &Hedging, times: &[u64]) -> Vec<usize> {
        let mut hedges = Hedges::new(settings, at(0));
        let count = |time: &u64| {
            while let Some(due) = hedges.due().filter(|due| *due <= at(*time)) {
                hedges.on_sent(due);
            }
            hedges.sent
        };
        times.iter().map(count).collect()
    }

    /// A6: "after 1ms there would be one outstanding RPC, after 501ms there would be two, after 1001ms there would be three,
    /// and after 1501ms there would be four".
    #[test]
    fn the_specifications_example_sends_one_every_half_second_up_to_four() {
        assert_eq!(outstanding(&settings(), &[1, 501, 1_001, 1_501, 60_000]), [1, 2, 3, 4, 4]);
    }

    /// A6: "The following example issues four RPCs simultaneously".
    #[test]
    fn without_a_delay_all_are_sent_at_once() {
        assert_eq!(outstanding(&Hedging { hedging_delay: Duration::ZERO, ..settings() }, &[0]), [4]);
    }

    #[test]
    fn a_non_fatal_failure_sends_the_next_now_and_the_one_after_it_at_the_delay() {
        let settings = settings();
        let mut hedges = Hedges::new(&settings, at(0));
        hedges.on_sent(at(0));
        assert_eq!(hedges.on_failure(at(120), Code::Unavailable, None), Verdict::GoesOn);
        assert_eq!(hedges.due(), Some(at(120)));
        hedges.on_sent(at(120));
        assert_eq!(hedges.due(), Some(at(620)));
    }

    #[test]
    fn any_other_failure_is_the_calls() {
        let settings = settings();
        let mut hedges = Hedges::new(&settings, at(0));
        hedges.on_sent(at(0));
        assert_eq!(hedges.on_failure(at(1), Code::InvalidArgument, None), Verdict::Fatal);
    }

    /// A6: "Send next hedged request in n ms. Subsequent hedged requests will resume at n + hedgingDelay".
    #[test]
    fn pushback_puts_the_next_off_or_ends_the_sending() {
        let settings = settings();
        let mut hedges = Hedges::new(&settings, at(0));
        hedges.on_sent(at(0));
        hedges.on_failure(at(100), Code::Unavailable, Some(Pushback::After(Duration::from_millis(900))));
        assert_eq!(hedges.due(), Some(at(1_000)));
        hedges.on_sent(at(1_000));
        assert_eq!(hedges.due(), Some(at(1_500)));
        assert_eq!(hedges.on_failure(at(1_100), Code::Internal, Some(Pushback::Never)), Verdict::GoesOn);
        assert_eq!(hedges.due(), None);
        assert_eq!(hedges.on_failure(at(1_200), Code::Internal, None), Verdict::GoesOn);
        assert_eq!(hedges.due(), None, "it stays so");
    }

    proptest! {
        #[test]
        fn no_more_than_max_attempts_are_ever_sent(
            max_attempts in 2..9_usize, steps in proptest::collection::vec((0..900_u64, 0..4_u8), 0..100),
        ) {
            let settings = Hedging { max_attempts, ..settings() };
            let (mut hedges, mut now) = (Hedges::new(&settings, at(0)), 0);
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
