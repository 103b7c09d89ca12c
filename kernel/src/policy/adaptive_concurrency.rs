//! A limit on the attempts under way that adapts to what the service can take, by how long attempts take or whether they fail.
//!
//! An attempt that would be one more than the limit is rejected with RESOURCE_EXHAUSTED. Each attempt that ends with a status is a sample,
//! with the time that it took and the attempts that were under way when it began; a reply that streams is one at its headers. The limit stays
//! between `min_limit` and `max_limit`. Two algorithms are in use:
//!
//! * `gradient2`: the limit follows the ratio of the long-term latency to that of the sample, as in Netflix's concurrency-limits
//!   (`Gradient2Limit`, whose documentation has the formula), and as Envoy's adaptive concurrency filter does with its minimum latency:
//!
//!   ```text
//!   gradient = max(0.5, min(1, tolerance · long / took))
//!   limit    = limit · (1 - smoothing) + (limit · gradient + queue_size) · smoothing
//!   ```
//!
//!   `long` is an exponential average over `long_window` samples, the mean at first. It shrinks by a twentieth at each sample of less than
//!   half of it, so that it does not stay high after an overload.
//! * `aimd`: additive increase, multiplicative decrease, as in TCP (Chiu and Jain, 1989) and Netflix's `AIMDLimit`: a sample that fails
//!   with one of `drop_status_codes`, or that took longer than `timeout`, multiplies the limit with `backoff_ratio`; any other one adds
//!   one.
//!
//! With both, a limit of which less than half is used does not grow: what is not used says nothing of what could be.

use std::{sync::Mutex, time::Duration};

use super::{Admission, AttemptEnd, Ending, Policy, PolicyConfig, PolicyContext, Rejection};
use crate::{
    client::settings::Client,
    record::{Event, Recorder},
    settings::{
        limits,
        named::named,
        problem::Problem,
        samples,
        table::TableReader,
        table_macro::{NOT_DRAWN, table},
    },
    status::Code,
    sync::lock,
    time::Instant,
};

table! {
    /// `[client.adaptive_concurrency]`: a limit on the attempts under way that adapts (Netflix's concurrency-limits, Envoy).
    AdaptiveConcurrency {
        /// The rule by which the limit follows the samples.
        algorithm: LimitAlgorithm = LimitAlgorithm::Gradient2, (), NOT_DRAWN;
        /// The limit at the start.
        initial_limit: usize = 20, limits::MAX_IN_FLIGHT, &["4", "20"];
        /// The lowest limit.
        min_limit: usize = 4, limits::MAX_IN_FLIGHT, &["1", "4"];
        /// The highest limit.
        max_limit: usize = 200, limits::MAX_IN_FLIGHT, &["20", "200"];
        /// `gradient2`: weight of a sample in the limit; 0.2 unless given.
        smoothing: Option<f64> = None, limits::SHARE_SOME, &["0.01", "0.2", "1.0"];
        /// `gradient2`: attempts that may wait in queues; 4 unless given.
        queue_size: Option<usize> = None, limits::COUNT, &["0", "4", "50"];
        /// `gradient2`: samples of the long-term latency; 600 unless given.
        long_window: Option<usize> = None, limits::COUNT_SOME, &["1", "20", "600"];
        /// `gradient2`: ratio of a latency to the long-term one from which on the limit falls; 1.5 unless given.
        tolerance: Option<f64> = None, limits::LATENCY_TOLERANCE, &["1.0", "1.5", "10.0"];
        /// `aimd`: factor of the limit after a drop; 0.9 unless given.
        backoff_ratio: Option<f64> = None, limits::SHARE_SOME, &["0.1", "0.9", "1.0"];
        /// `aimd`: time from which on an attempt counts as a drop, whatever its status; 5s unless given.
        timeout: Option<Duration> = None, limits::DURATION, samples::TIMES;
        /// `aimd`: statuses that are drops; UNAVAILABLE, DEADLINE_EXCEEDED and RESOURCE_EXHAUSTED unless given.
        drop_status_codes: Option<Vec<Code>> = None, "to go by the time alone, leave it out and use `gradient2`", samples::CODES;
    }
    draw = &[
        &["initial_limit", "min_limit", "max_limit", "smoothing", "queue_size", "long_window", "tolerance"],
        &["initial_limit", "min_limit", "max_limit", "backoff_ratio", "timeout", "drop_status_codes"],
    ];
    settle = settle;
}

/// The rule by which an adaptive limit follows its samples.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum LimitAlgorithm {
    /// The limit follows the ratio of the long-term latency to the present one.
    Gradient2,
    /// Additive increase, multiplicative decrease.
    Aimd,
}

named!(LimitAlgorithm, "an algorithm of a limit");

/// The keys of each algorithm.
const OF_GRADIENT2: [&str; 4] = ["smoothing", "queue_size", "long_window", "tolerance"];
const OF_AIMD: [&str; 3] = ["backoff_ratio", "timeout", "drop_status_codes"];

/// Completes the settings of the algorithm, and refuses those of the other one.
fn settle(settings: AdaptiveConcurrency, table: &TableReader<'_, '_>) -> Result<AdaptiveConcurrency, Problem> {
    let AdaptiveConcurrency { algorithm, initial_limit, min_limit, max_limit, .. } = settings;
    let (others, own) = match algorithm {
        LimitAlgorithm::Gradient2 => (&OF_AIMD[..], "`aimd`"),
        LimitAlgorithm::Aimd => (&OF_GRADIENT2[..], "`gradient2`"),
    };
    if let Some((key, span)) = table.first_of(others) {
        let message = format!("`{key}` is of the algorithm {own}, and this is {}", algorithm.name());
        return Err(Problem::at(span, message).help("leave it out, or choose the other algorithm"));
    }
    table.ordered(("min_limit", min_limit), ("initial_limit", initial_limit))?;
    table.ordered(("initial_limit", initial_limit), ("max_limit", max_limit))?;
    Ok(match algorithm {
        LimitAlgorithm::Gradient2 => AdaptiveConcurrency {
            smoothing: settings.smoothing.or(Some(0.2)),
            queue_size: settings.queue_size.or(Some(4)),
            long_window: settings.long_window.or(Some(600)),
            tolerance: settings.tolerance.or(Some(1.5)),
            ..settings
        },
        LimitAlgorithm::Aimd => {
            let drops = [Code::Unavailable, Code::DeadlineExceeded, Code::ResourceExhausted];
            AdaptiveConcurrency {
                backoff_ratio: settings.backoff_ratio.or(Some(0.9)),
                timeout: settings.timeout.or(Some(Duration::from_secs(5))),
                drop_status_codes: settings.drop_status_codes.or(Some(drops.to_vec())),
                ..settings
            }
        }
    })
}

/// The cause of a rejection by this policy, as the record has it.
pub(crate) const CONCURRENCY_LIMITED: &str = "concurrency limited";

const LIMITED: Rejection = Rejection { code: Code::ResourceExhausted, cause: CONCURRENCY_LIMITED };

impl PolicyConfig for AdaptiveConcurrency {
    type Policy = AdaptiveLimit;

    fn build(&self, context: &PolicyContext<'_>) -> Option<AdaptiveLimit> {
        Some(AdaptiveLimit { recorder: context.recorder.clone(), state: Mutex::new(Limit::new(self.clone())) })
    }

    fn change(&self, policy: &AdaptiveLimit, _: &Client, _: Instant) {
        lock(&policy.state).change(self.clone());
    }
}

/// The adaptive limit with its state.
pub(crate) struct AdaptiveLimit {
    recorder: Recorder,
    state: Mutex<Limit>,
}

impl Policy for AdaptiveLimit {
    fn is_within_timeout(&self) -> bool {
        true
    }

    fn admit(&self, _: Instant, _: Instant) -> Admission<'_> {
        if lock(&self.state).begin() { Admission::Granted } else { Admission::Rejected(LIMITED) }
    }

    fn on_attempt_end(&self, end: &AttemptEnd) {
        let mut limit = lock(&self.state);
        let code = match (end.ending, end.server) {
            (Ending::Status(code, _), Some(_)) => Some(code),
            // It says nothing of the service.
            _ => None,
        };
        if let Some(change) = limit.end(code, end.took) {
            // The state is locked meanwhile, so that the record has the changes in their order.
            self.recorder.event_at(Event::LimitChanged, end.now).cause(change).record();
        }
    }
}

/// The state of the limit.
#[derive(Debug)]
struct Limit {
    settings: AdaptiveConcurrency,
    value: f64,
    /// Number of attempts under way.
    in_flight: usize,
    /// The long-term latency in seconds, and the samples in it, up to the number that its mean is of.
    long: f64,
    samples: usize,
    /// The limit as it was recorded last.
    recorded: usize,
}

/// Number of samples whose mean is the first long-term latency.
const WARM_UP: usize = 10;

impl Limit {
    fn new(settings: AdaptiveConcurrency) -> Self {
        let limit = settings.initial_limit;
        Self { settings, value: limit as f64, in_flight: 0, long: 0.0, samples: 0, recorded: limit }
    }

    /// Goes on with these settings and with the limit as it is, within its bounds.
    fn change(&mut self, settings: AdaptiveConcurrency) {
        self.settings = settings;
        self.value = self.bounded(self.value);
    }

    fn bounded(&self, limit: f64) -> f64 {
        limit.clamp(self.settings.min_limit as f64, self.settings.max_limit as f64)
    }

    /// Counts an attempt as under way, unless there are as many as the limit allows. Returns true if it did.
    fn begin(&mut self) -> bool {
        let has_room = self.in_flight < self.value as usize;
        self.in_flight += usize::from(has_room);
        has_room
    }

    /// Counts an attempt as ended, with its status if it has one, after this time. Returns what to record if the limit has changed by more
    /// than a tenth since the last record.
    fn end(&mut self, code: Option<Code>, took: Duration) -> Option<String> {
        let in_flight = self.in_flight;
        self.in_flight -= 1;
        let code = code?;
        let next = match self.settings.algorithm {
            LimitAlgorithm::Gradient2 => self.by_gradient(took.as_secs_f64(), in_flight),
            LimitAlgorithm::Aimd => self.by_aimd(code, took, in_flight),
        };
        self.value = self.bounded(next);
        let limit = self.value as usize;
        if limit.abs_diff(self.recorded) * 10 <= self.recorded {
            return None;
        }
        let before = std::mem::replace(&mut self.recorded, limit);
        Some(format!("concurrency limit from {before} to {limit}"))
    }

    fn by_gradient(&mut self, took: f64, in_flight: usize) -> f64 {
        let AdaptiveConcurrency { smoothing, queue_size, long_window, tolerance, .. } = self.settings;
        let took = took.max(1e-9);
        self.add_to_long(took, long_window.unwrap_or(600));
        if self.long / took > 2.0 {
            self.long *= 0.95;
        }
        if (in_flight as f64) < self.value / 2.0 {
            return self.value;
        }
        let gradient = (tolerance.unwrap_or(1.5) * self.long / took).clamp(0.5, 1.0);
        let smoothing = smoothing.unwrap_or(0.2);
        let target = self.value * gradient + queue_size.unwrap_or(4) as f64;
        self.value * (1.0 - smoothing) + target * smoothing
    }

    /// Adds a sample to the long-term latency: the mean of the first ones, then an exponential average.
    fn add_to_long(&mut self, took: f64, window: usize) {
        let factor = if self.samples < WARM_UP {
            self.samples += 1;
            1.0 / self.samples as f64
        } else {
            2.0 / (window as f64 + 1.0)
        };
        self.long += (took - self.long) * factor.min(1.0);
    }

    fn by_aimd(&self, code: Code, took: Duration, in_flight: usize) -> f64 {
        let AdaptiveConcurrency { backoff_ratio, timeout, drop_status_codes, .. } = &self.settings;
        let is_drop = drop_status_codes.as_ref().is_some_and(|codes| codes.contains(&code));
        if is_drop || timeout.is_some_and(|timeout| took > timeout) {
            return self.value * backoff_ratio.unwrap_or(0.9);
        }
        if in_flight as f64 * 2.0 >= self.value.floor() { self.value + 1.0 } else { self.value }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn read(keys: &str) -> Result<AdaptiveConcurrency, String> {
        let text =
            format!("name = \"x\"\nduration = \"1s\"\n[load]\nrate = 1\n[client.adaptive_concurrency]\n{keys}\n");
        let read = crate::scenario::Scenario::parse("x.toml", &text, &[]);
        read.map(|scenario| scenario.client.policies.adaptive_concurrency.expect("the table is there"))
            .map_err(|error| error.to_string())
    }

    fn limit(keys: &str) -> Limit {
        Limit::new(read(keys).unwrap())
    }

    impl Limit {
        /// Fills the limit with attempts, and ends them all with `code` after `took`. Returns how many there were.
        fn round(&mut self, code: Code, took: Duration) -> usize {
            let begun = std::iter::repeat_with(|| self.begin()).take_while(|begun| *begun).count();
            for _ in 0..begun {
                self.end(Some(code), took);
            }
            begun
        }
    }

    impl Limit {
        fn rounds(&mut self, count: usize, code: Code, took: Duration) {
            for _ in 0..count {
                self.round(code, took);
            }
        }
    }

    #[test]
    fn each_algorithm_has_its_keys_with_the_defaults_of_its_source() {
        let gradient = read("").unwrap();
        assert_eq!((gradient.smoothing, gradient.queue_size, gradient.tolerance), (Some(0.2), Some(4), Some(1.5)));
        let aimd = read("algorithm = \"aimd\"").unwrap();
        assert_eq!((aimd.backoff_ratio, aimd.smoothing), (Some(0.9), None));
        assert!(read("algorithm = \"aimd\"\nsmoothing = 0.1").unwrap_err().contains("is of the algorithm `gradient2`"));
        assert!(read("timeout = \"1s\"").unwrap_err().contains("is of the algorithm `aimd`"));
        assert!(read("min_limit = 30").unwrap_err().contains("`min_limit` of 30 is over `initial_limit` of 20"));
    }

    #[test]
    fn aimd_adds_one_for_each_success_of_a_limit_in_use_and_falls_by_a_tenth_at_a_drop() {
        let mut limit = limit("algorithm = \"aimd\"\ninitial_limit = 10");
        assert!(limit.begin());
        limit.end(Some(Code::Ok), MS);
        assert_eq!(limit.value, 10.0, "one of ten is not half of it");
        limit.round(Code::Ok, MS);
        // While they end, those of the last half find that less than half is in use.
        assert!((13.0..=16.0).contains(&limit.value), "{}", limit.value);
        let before = limit.value;
        limit.begin();
        limit.end(Some(Code::Unavailable), MS);
        assert_eq!(limit.value, before * 0.9);
        limit.begin();
        limit.end(Some(Code::Ok), Duration::from_secs(6));
        assert_eq!(limit.value, before * 0.81, "it took longer than the timeout");
        limit.begin();
        limit.end(None, MS);
        assert_eq!(limit.value, before * 0.81, "an abandoned attempt says nothing");
    }

    #[test]
    fn the_gradient_lets_the_limit_grow_while_latency_stays_and_fall_when_it_rises() {
        let mut limit = limit("");
        limit.rounds(20, Code::Ok, MS * 10);
        let grown = limit.value;
        assert!(grown > 60.0, "{grown}");
        limit.round(Code::Ok, MS * 100);
        limit.round(Code::Ok, MS * 100);
        assert!(limit.value < grown / 2.0, "{} of {grown}", limit.value);
    }

    #[test]
    fn the_long_term_latency_forgets_an_overload() {
        let mut limit = limit("long_window = 20");
        limit.rounds(10, Code::Ok, MS * 10);
        limit.rounds(50, Code::Ok, MS * 500);
        let long = limit.long;
        assert!(long > 0.4, "{long}");
        limit.rounds(10, Code::Ok, MS * 10);
        assert!(limit.long < 0.03, "{}", limit.long);
    }

    #[test]
    fn a_change_keeps_the_limit_within_its_new_bounds() {
        let mut limit = limit("initial_limit = 100");
        limit.change(read("max_limit = 30").unwrap());
        assert_eq!(limit.value, 30.0);
    }

    proptest! {
        #[test]
        fn the_limit_stays_within_its_bounds_and_no_more_are_under_way(
            is_aimd in any::<bool>(), steps in proptest::collection::vec((0..3_u8, 0..5_000_u64), 1..500),
        ) {
            let algorithm = if is_aimd { "algorithm = \"aimd\"\n" } else { "" };
            let mut limit = limit(&format!("{algorithm}initial_limit = 8\nmin_limit = 2\nmax_limit = 20"));
            for (step, millis) in steps {
                match step {
                    0 => { limit.begin(); }
                    _ if limit.in_flight == 0 => {}
                    1 => drop(limit.end(Some(Code::Ok), MS * millis as u32)),
                    _ => drop(limit.end(Some(Code::Unavailable), MS * millis as u32)),
                }
                prop_assert!((2.0..=20.0).contains(&limit.value) && limit.in_flight <= 20);
            }
        }
    }
}
