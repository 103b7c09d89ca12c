//! Counts of requests that have ended.

use std::collections::VecDeque;

use kernel::{
    measure::{LatencyCounts, quantity},
    record::RequestRow,
};

/// Counts and latencies of some requests. The figures are defined as in `kernel::measure::Metrics`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct RequestTally {
    /// Number of requests of any status, dropped ones included.
    pub(super) ended: u64,
    /// Number of successful requests.
    pub(super) succeeded: u64,
    /// Latencies since the intended time, of all requests that were not dropped.
    pub(super) latencies: LatencyCounts,
}

impl RequestTally {
    /// Counts a request.
    pub(super) fn add(&mut self, row: &RequestRow) {
        self.ended += 1;
        self.succeeded += u64::from(row.status.is_success());
        if let Some(latency_us) = row.latency_us {
            self.latencies.add(latency_us);
        }
    }

    /// Adds the requests of `other`.
    pub(super) fn merge(&mut self, other: &Self) {
        self.ended += other.ended;
        self.succeeded += other.succeeded;
        self.latencies.merge(&other.latencies);
    }

    /// The share of successful requests; a dash without requests.
    pub(super) fn success(&self) -> String {
        let share = (self.ended > 0).then(|| self.succeeded as f64 / self.ended as f64);
        share.map_or_else(|| "-".to_owned(), quantity::percent)
    }

    /// A percentile of the latencies; a dash without any.
    pub(super) fn latency(&self, per_mille: usize) -> String {
        shown(self.latencies.percentile(per_mille))
    }
}

/// A latency as text; a dash without one.
pub(super) fn shown(latency_us: Option<u64>) -> String {
    latency_us.map_or_else(|| "-".to_owned(), |us| quantity::duration(us as f64 / SECOND_US as f64))
}

/// Microseconds of a second.
pub(super) const SECOND_US: u64 = 1_000_000;

/// The requests of the last seconds, and the servers that answered them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recent {
    /// Second of the run and the requests that ended in it, ascending; seconds without requests are left out.
    seconds: VecDeque<(u64, Second)>,
    servers: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Second {
    tally: RequestTally,
    /// Number of answers by server.
    answers: Vec<u64>,
}

impl Recent {
    /// Number of seconds that count as recent, the current one included.
    pub(super) const SECONDS: u64 = 10;

    /// No requests yet, to this number of servers.
    pub(super) fn new(servers: usize) -> Self {
        Self { seconds: VecDeque::new(), servers }
    }

    /// Counts a request that ended at `at_us`. A request that arrives out of order counts as one of the latest second.
    pub(super) fn add(&mut self, at_us: u64, row: &RequestRow, server: Option<usize>) {
        let second = at_us / SECOND_US;
        if self.seconds.back().is_none_or(|(last, _)| *last < second) {
            self.seconds.push_back((second, Second { tally: RequestTally::default(), answers: vec![0; self.servers] }));
        }
        if let Some((_, counted)) = self.seconds.back_mut() {
            counted.tally.add(row);
            if let Some(answers) = server.and_then(|server| counted.answers.get_mut(server)) {
                *answers += 1;
            }
        }
        self.forget(second);
    }

    /// Drops the seconds that are not recent at `second`.
    fn forget(&mut self, second: u64) {
        while self.seconds.front().is_some_and(|(first, _)| first + Self::SECONDS <= second) {
            self.seconds.pop_front();
        }
    }

    /// The requests of the seconds that are recent at `now_us`, the number of answers by server, and the duration of these
    /// seconds, which is shorter at the start of a run.
    pub(super) fn at(&self, now_us: u64) -> (RequestTally, Vec<u64>, f64) {
        let from = (now_us / SECOND_US + 1).saturating_sub(Self::SECONDS);
        let mut tally = RequestTally::default();
        let mut answers = vec![0; self.servers];
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
        assert_eq!(recent.at(40 * SECOND_US).0, RequestTally::default());
    }

    #[test]
    fn in_the_first_second_the_rate_is_relative_to_the_elapsed_time() {
        let mut recent = Recent::new(1);
        recent.add(100, &request(0, 0, 100), None);
        assert_eq!(recent.at(SECOND_US / 2).2, 0.5);
    }

    #[test]
    fn without_requests_the_figures_are_dashes() {
        let tally = RequestTally::default();
        assert_eq!([tally.success(), tally.latency(500)], ["-", "-"]);
    }
}
