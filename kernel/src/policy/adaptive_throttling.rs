//! Client-side throttling that adapts: a client rejects attempts itself, with a probability that grows with the share of its attempts that
//! servers do not accept. It is "Client-Side Throttling" in chapter 21, "Handling Overload", of the SRE book, and Envoy's admission control
//! filter is alike.
//!
//! Of the attempts of the last `window`, `requests` were asked for, those that this policy rejected among them, and `accepts` were accepted
//! by a server. An attempt is rejected with the probability
//!
//! ```text
//! max(0, (requests - multiplier · accepts) / (requests + 1))
//! ```
//!
//! so that servers get at most about `multiplier` times as many attempts as they accept, and some in any case, which notice when they do
//! again. An attempt is not accepted if it ends with one of `rejected_status_codes`. One that another policy rejects was not asked for, and
//! one that is abandoned on its way was accepted, as nothing has rejected it.

use std::{
    collections::VecDeque,
    sync::{Mutex, MutexGuard},
    time::Duration,
};

use super::{Admission, AttemptEnd, Ending, Policy, PolicyConfig, PolicyContext, Rejection};
use crate::{
    client::settings::Client,
    entropy::{Entropy, unit},
    settings::{limits, samples, table_macro::table},
    status::Code,
    sync::lock,
    time::Instant,
};

table! {
    /// `[client.adaptive_throttling]`: rejects attempts in the client while servers do not accept enough of them (SRE book, Envoy).
    AdaptiveThrottling {
        /// Attempts that servers get for each one that they accept; the SRE book's K. A lower one rejects more.
        multiplier: f64 = 2.0, limits::THROTTLING_MULTIPLIER, &["1.0", "2.0", "10.0"];
        /// Time whose attempts count, in tenths; two minutes in the SRE book.
        window: Duration = Duration::from_secs(30), limits::DURATION, &["\"100ms\"", "\"1s\"", "\"30s\""];
        /// Statuses of attempts that a server has not accepted.
        rejected_status_codes: Vec<Code> = vec![Code::ResourceExhausted, Code::Unavailable, Code::DeadlineExceeded],
            "to throttle nothing, leave the table out", samples::CODES;
    }
}

/// The cause of a rejection by this policy, as the record has it.
pub(crate) const ADAPTIVELY_THROTTLED: &str = "adaptive throttling";

const THROTTLED: Rejection = Rejection { code: Code::ResourceExhausted, cause: ADAPTIVELY_THROTTLED };

impl PolicyConfig for AdaptiveThrottling {
    type Policy = AdaptiveThrottle;

    fn build(&self, context: &PolicyContext<'_>) -> Option<AdaptiveThrottle> {
        let state = State { settings: self.clone(), history: History::new(self.window), decisions: 0 };
        Some(AdaptiveThrottle { entropy: context.entropy, state: Mutex::new(state) })
    }

    fn change(&self, policy: &AdaptiveThrottle, _: &Client, _: Instant) {
        policy.state().settings = self.clone();
    }
}

/// Adaptive throttling with its state.
pub(crate) struct AdaptiveThrottle {
    entropy: Entropy,
    state: Mutex<State>,
}

struct State {
    settings: AdaptiveThrottling,
    history: History,
    /// Number of decisions that needed a draw, which names the next one.
    decisions: u64,
}

impl AdaptiveThrottle {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Policy for AdaptiveThrottle {
    fn admit(&self, now: Instant, _: Instant) -> Admission<'_> {
        let state = &mut *self.state();
        state.history.advance(now);
        let probability = state.history.probability(state.settings.multiplier);
        state.history.last().requests += 1;
        state.history.total.requests += 1;
        // Nothing is drawn while servers accept what they get.
        if probability <= 0.0 {
            return Admission::Granted;
        }
        state.decisions += 1;
        let drawn = unit(&mut self.entropy.stream_of("client.adaptive_throttling", &[state.decisions]));
        if drawn < probability { Admission::Rejected(THROTTLED) } else { Admission::Granted }
    }

    fn on_attempt_end(&self, end: &AttemptEnd) {
        let state = &mut *self.state();
        state.history.advance(end.now);
        match (end.ending, end.server) {
            (Ending::Status(code, _), Some(_)) if state.settings.rejected_status_codes.contains(&code) => {}
            (_, Some(_)) => {
                state.history.last().accepts += 1;
                state.history.total.accepts += 1;
            }
            // It may have been asked for in a part that is over, of which it stays.
            (_, None) if state.history.last().requests > 0 => {
                state.history.last().requests -= 1;
                state.history.total.requests -= 1;
            }
            (_, None) => {}
        }
    }
}

/// Number of parts that the window is divided into.
const PARTS: u64 = 10;

/// The attempts of the window.
struct History {
    part_nanos: u64,
    /// The parts of the window in which something was counted, in order, the last one included.
    parts: VecDeque<(u64, Counts)>,
    total: Counts,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Counts {
    requests: u64,
    accepts: u64,
}

impl History {
    fn new(window: Duration) -> Self {
        let nanos = u64::try_from(window.as_nanos()).unwrap_or(u64::MAX);
        Self {
            part_nanos: (nanos / PARTS).max(1),
            parts: VecDeque::from([(0, Counts::default())]),
            total: Counts::default(),
        }
    }

    /// Removes the parts that have left the window, and begins that of `now`.
    fn advance(&mut self, now: Instant) {
        let number = now.as_nanos() / self.part_nanos;
        if self.parts.back().is_some_and(|(last, _)| *last >= number) {
            return;
        }
        while let Some((_, counts)) = self.parts.pop_front_if(|(first, _)| *first + PARTS <= number) {
            self.total.requests -= counts.requests;
            self.total.accepts -= counts.accepts;
        }
        self.parts.push_back((number, Counts::default()));
    }

    /// Returns the counts of the present part.
    fn last(&mut self) -> &mut Counts {
        &mut self.parts.back_mut().expect("there always is a present part").1
    }

    /// Returns the probability that the next attempt is rejected; not over 0 if it is not.
    fn probability(&self, multiplier: f64) -> f64 {
        let Counts { requests, accepts } = self.total;
        (requests as f64 - multiplier * accepts as f64) / (requests as f64 + 1.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    fn throttle(window: Duration) -> AdaptiveThrottle {
        let settings = AdaptiveThrottling { window, ..AdaptiveThrottling::default() };
        let state = State { history: History::new(window), settings, decisions: 0 };
        AdaptiveThrottle { entropy: Entropy::new(7), state: Mutex::new(state) }
    }

    fn end(throttle: &AdaptiveThrottle, now: Instant, server: Option<usize>, ending: Ending) {
        throttle.on_attempt_end(&AttemptEnd { server, entered: now, now, took: Duration::ZERO, ending });
    }

    /// Asks for `count` attempts that end with `code` at once, and returns how many were admitted.
    fn ask(throttle: &AdaptiveThrottle, millis: u64, count: usize, code: Code) -> usize {
        let ask = |_: &usize| {
            let admitted = matches!(throttle.admit(at(millis), at(millis)), Admission::Granted);
            if admitted {
                end(throttle, at(millis), Some(0), Ending::Status(code, None));
            }
            admitted
        };
        (0..count).filter(ask).count()
    }

    #[test]
    fn nothing_is_rejected_while_servers_accept_half_of_the_attempts() {
        let throttle = throttle(Duration::from_secs(10));
        assert_eq!(ask(&throttle, 0, 100, Code::Ok), 100);
        assert_eq!(ask(&throttle, 1, 100, Code::ResourceExhausted), 100);
        assert!(ask(&throttle, 2, 100, Code::ResourceExhausted) < 100);
        assert_eq!(ask(&throttle, 3, 0, Code::Ok), 0);
    }

    /// The SRE book: with K of 2 a client sends twice as many requests as are accepted.
    #[test]
    fn servers_get_about_twice_as_many_attempts_as_they_accept() {
        let throttle = throttle(Duration::from_secs(2));
        let (mut admitted, mut accepted) = (0, 0);
        for millis in 0..40_000 {
            // Ten attempts per millisecond, of which servers accept one.
            for attempt in 0..10 {
                let code = if admitted % 10 == 0 && attempt == 0 { Code::Ok } else { Code::Unavailable };
                let asked = ask(&throttle, millis, 1, code);
                if millis > 4_000 {
                    admitted += asked;
                    accepted += if code == Code::Ok { asked } else { 0 };
                }
            }
        }
        let ratio = admitted as f64 / accepted.max(1) as f64;
        assert!(admitted < 200_000, "{admitted} of 360,000");
        assert!(ratio > 1.0, "{ratio}");
    }

    #[test]
    fn a_window_later_it_begins_again() {
        let throttle = throttle(Duration::from_secs(1));
        ask(&throttle, 0, 1_000, Code::Unavailable);
        assert!(ask(&throttle, 500, 100, Code::Unavailable) < 10);
        assert_eq!(ask(&throttle, 1_600, 1, Code::Ok), 1, "what was asked for has left the window");
    }

    #[test]
    fn an_attempt_that_another_policy_rejects_was_not_asked_for_and_an_abandoned_one_was_accepted() {
        let throttle = throttle(Duration::from_secs(1));
        throttle.admit(at(0), at(0));
        end(&throttle, at(0), None, Ending::Abandoned);
        assert_eq!(throttle.state().history.total, Counts::default());
        throttle.admit(at(0), at(0));
        end(&throttle, at(0), Some(0), Ending::Abandoned);
        assert_eq!(throttle.state().history.total, Counts { requests: 1, accepts: 1 });
    }
}
