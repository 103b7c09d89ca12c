//! Requests that have ended, counted.

use std::collections::VecDeque;

use kernel::{
    measure::{LatencyCounts, quantity},
    record::RequestRow,
};

/// How some requests ended. The figures are defined as in `kernel::measure::Metrics`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Tally {
    /// Whatever their status, dropped ones included.
    pub(super) ended: u64,
    pub(super) succeeded: u64,
    /// From when they were intended to be sent; of every request that was not dropped.
    pub(super) latencies: LatencyCounts,
}

impl Tally {
    pub(super) fn add(&mut self, row: &RequestRow) {
        self.ended += 1;
        self.succeeded += u64::from(row.status.is_success());
        if let Some(latency_us) = row.latency_us {
            self.latencies.add(latency_us);
        }
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.ended += other.ended;
        self.succeeded += other.succeeded;
        self.latencies.merge(&other.latencies);
    }

    /// A dash if none has ended.
    pub(super) fn success(&self) -> String {
        let share = (self.ended > 0).then(|| self.succeeded as f64 / self.ended as f64);
        share.map_or_else(|| "-".to_owned(), quantity::percent)
    }

    /// A percentile of the latencies; a dash if there are none.
    pub(super) fn latency(&self, per_mille: usize) -> String {
        shown(self.latencies.percentile(per_mille))
    }
}

/// A latency; a dash without one.
pub(super) fn shown(latency_us: Option<u64>) -> String {
    latency_us.map_or_else(|| "-".to_owned(), |us| quantity::duration(us as f64 / SECOND_US as f64))
}

pub(super) const SECOND_US: u64 = 1_000_000;

/// The requests of the last seconds, and who answered them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recent {
    /// Second of the run, and what ended in it; ascending, without those in which nothing did.
    seconds: VecDeque<(u64, Second)>,
    servers: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Second {
    tally: Tally,
    /// By server.
    answers: Vec<u64>,
}

impl Recent {
    /// Seconds that count as recent, the present one included.
    pub(super) const SECONDS: u64 = 10;

    pub(super) fn new(servers: usize) -> Self {
        Self { seconds: VecDeque::new(), servers }
    }

    /// Counts a request that ended at `at_us`. One that comes later than later ones counts with those.
    pub(super) fn add(&mut self, at_us: u64, row: &RequestRow, server: Option<usize>) {
        let second = at_us / SECOND_US;
        if self.seconds.back().is_none_or(|(last, _)| *last < second) {
            self.seconds.push_back((second, Second { tally: Tally::default(), answers: vec![0; self.servers] }));
        }
        if let Some((_, counted)) = self.seconds.back_mut() {
            counted.tally.add(row);
            if let Some(answers) = server.and_then(|server| counted.answers.get_mut(server)) {
                *answers += 1;
            }
        }
        self.forget(second);
    }

    /// Forgets what is not recent at `second`.
    fn forget(&mut self, second: u64) {
        while self.seconds.front().is_some_and(|(first, _)| first + Self::SECONDS <= second) {
            self.seconds.pop_front();
        }
    }

    /// What ended in the seconds that are recent at `now_us`, the answers of each server, and for how long that was.
    pub(super) fn at(&self, now_us: u64) -> (Tally, Vec<u64>, f64) {
        let from = (now_us / SECOND_US + 1).saturating_sub(Self::SECONDS);
        let (mut tally, mut answers) = (Tally::default(), vec![0; self.servers]);
        for (_, second) in self.seconds.iter().filter(|(second, _)| *second >= from) {
            tally.merge(&second.tally);
            answers.iter_mut().zip(&second.answers).for_each(|(sum, count)| *sum += count);
        }
        (tally, answers, (now_us - from * SECOND_US) as f64 / SECOND_US as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::board::sample::request;

    #[test]
    fn only_the_last_ten_seconds_are_recent() {
        let mut recent = Recent::new(2);
        for second in 0..20 {
            recent.add(second * SECOND_US, &request(second, second * SECOND_US, 1_000), Some(1));
        }
        let (tally, answers, seconds) = recent.at(19 * SECOND_US + SECOND_US / 2);
        assert_eq!((tally.ended, answers, seconds), (10, vec![0, 10], 9.5));
        assert_eq!(recent.seconds.len(), 10);
        assert_eq!(recent.at(40 * SECOND_US).0, Tally::default());
    }

    #[test]
    fn in_the_first_second_the_rate_is_of_the_time_there_was() {
        let mut recent = Recent::new(1);
        recent.add(100, &request(0, 0, 100), None);
        assert_eq!(recent.at(SECOND_US / 2).2, 0.5);
    }

    #[test]
    fn nothing_has_no_figures() {
        let tally = Tally::default();
        assert_eq!([tally.success(), tally.latency(500)], ["-", "-"]);
    }
}
