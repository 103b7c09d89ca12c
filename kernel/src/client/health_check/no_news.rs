//! Health checks that cannot have another result than the one before.
//!
//! A simulation can idle for days, for instance until a deadline, and would spend them on health checks alone. But it knows when
//! something happens. A check that succeeded, and since which nothing has happened on any host but other checks, would
//! succeed again; so would those that follow it, until something happens. They are skipped if they are many. A real world does not know, and skips
//! none.
//!
//! Checks under way at the same time form a round. A round is known to be undisturbed if it was over before the next thing happened
//! that was due when it began: then all that has happened in the meantime is the checks themselves.

use crate::{time::Instant, world::Calm};

/// The checks of all servers of a client.
#[derive(Debug, Default)]
pub(in crate::client) struct Checks {
    /// Number of checks under way.
    under_way: usize,
    /// The present round.
    round: Round,
    /// Number of things that have happened and were nothing but checks.
    explained: u64,
    /// Number of other things that had happened when a check of the server succeeded in an undisturbed round, by server.
    known: Vec<Option<u64>>,
}

#[derive(Debug, Default)]
struct Round {
    /// The world's answer as the round began. `None` if something was happening at that instant, or the world does not know.
    began: Option<Calm>,
    /// The servers whose checks have succeeded.
    succeeded: Vec<usize>,
}

impl Checks {
    /// Returns the time until which a check of `server` would succeed as its last one did, if that is known.
    ///
    /// The world is asked with `calm`, here and in the other functions, only where its answer counts: it takes time with the number of
    /// checks that wait.
    pub(super) fn no_news_until(&self, server: usize, calm: impl FnOnce() -> Option<Calm>) -> Option<Instant> {
        let known = self.known.get(server).copied().flatten().filter(|_| self.under_way == 0)?;
        calm().filter(|calm| known == calm.happened - self.explained).map(|calm| calm.until)
    }

    /// Notes that a check begins.
    pub(super) fn begin(&mut self, now: Instant, calm: impl FnOnce() -> Option<Calm>) {
        if self.under_way == 0 {
            self.round = Round { began: calm().filter(|calm| calm.since < now), succeeded: Vec::new() };
        }
        self.under_way += 1;
    }

    /// Notes that a check of `server` has ended.
    pub(super) fn end(&mut self, server: usize, succeeded: bool, now: Instant, calm: impl FnOnce() -> Option<Calm>) {
        self.under_way -= 1;
        if self.known.len() <= server {
            self.known.resize(server + 1, None);
        }
        self.known[server] = None;
        if succeeded {
            self.round.succeeded.push(server);
        }
        if self.under_way > 0 {
            return;
        }
        let Round { began, succeeded } = std::mem::take(&mut self.round);
        let (Some(began), Some(calm)) = (began, calm()) else { return };
        if now < began.until {
            self.explained += calm.happened - began.happened;
            for server in succeeded {
                self.known[server] = Some(calm.happened - self.explained);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::START + Duration::from_millis(millis)
    }

    /// `happened` things, the last one at 1 ms, and the next one at 100 ms.
    fn calm(happened: u64) -> Calm {
        Calm { happened, since: at(1), until: at(100) }
    }

    /// Servers 0 and 1 are checked in one round, from 10 ms to `end`, in which 8 things happen.
    fn checked(began: Calm, end: Instant) -> Checks {
        let mut checks = Checks::default();
        checks.begin(at(10), || Some(began));
        checks.begin(at(10), || Some(began));
        checks.end(0, true, at(11), || Some(calm(4)));
        assert_eq!(checks.no_news_until(0, || Some(calm(4))), None, "the round is not over");
        checks.end(1, true, end, || Some(calm(8)));
        checks
    }

    #[test]
    fn after_an_undisturbed_round_there_are_no_news_until_something_happens() {
        let checks = checked(calm(0), at(12));
        assert_eq!([0, 1].map(|server| checks.no_news_until(server, || Some(calm(8)))), [Some(at(100)); 2]);
        assert_eq!(checks.no_news_until(0, || Some(calm(9))), None, "something has happened");
        assert_eq!(checks.no_news_until(2, || Some(calm(8))), None, "it was never checked");
    }

    #[test]
    fn a_round_in_which_something_else_may_have_happened_says_nothing() {
        assert_eq!(checked(calm(0), at(100)).no_news_until(0, || Some(calm(8))), None, "it was not over in time");
        let at_its_start = Calm { since: at(10), ..calm(0) };
        assert_eq!(
            checked(at_its_start, at(12)).no_news_until(0, || Some(calm(8))),
            None,
            "it began together with something else"
        );
    }

    #[test]
    fn checks_of_others_are_no_news_and_a_failure_is() {
        let mut checks = checked(calm(0), at(12));
        checks.begin(at(20), || Some(calm(8)));
        assert_eq!(checks.no_news_until(0, || Some(calm(8))), None, "the check under way may have an effect yet");
        checks.end(1, false, at(21), || Some(calm(13)));
        assert_eq!(checks.no_news_until(0, || Some(calm(13))), Some(at(100)));
        assert_eq!(checks.no_news_until(1, || Some(calm(13))), None);
    }

    #[test]
    fn a_world_that_does_not_know_has_no_say() {
        let mut checks = Checks::default();
        checks.begin(at(10), || None);
        checks.end(0, true, at(11), || None);
        assert_eq!(checks.known, [None]);
    }
}
