//! Outlier detection: a server that does worse than the others gets no traffic for a while. gRPC A50, and Envoy's
//! consecutive errors.
//!
//! SERVING → EJECTED when its attempts failed `consecutive_errors` times in a row (at once), or at a sweep, every
//! `interval`, because of its success rate or its failure percentage since the last one. EJECTED → SERVING at the first
//! sweep after `base_ejection_time` times the multiplier, `max_ejection_time` at most. Each ejection adds one to the
//! multiplier; each sweep at which the server is not ejected takes one off.
//!
//! * success rate: of the servers with `request_volume` results, if there are `minimum_hosts` of them, those below the mean
//!   less `stdev_factor / 1000` standard deviations;
//! * failure percentage: of the servers with `request_volume` results, if there are `minimum_hosts` servers, those over
//!   `threshold` percent.
//!
//! None is ejected while `max_ejection_percent` of the servers are, but one may be in any case. An attempt that anyone gave
//! up counts for nothing; any status but OK is a failure, as in A50.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{AttemptEnd, Ending, Policy, PolicyConfig, PolicyContext, Servers};
use crate::{
    entropy::{Entropy, unit},
    record::{Event, Recorder},
    scenario::keys::{limits, table},
    status::Code,
    time::Instant,
};

table! {
    /// `[client.outlier_detection]`: passive ejection of single servers.
    OutlierDetection {
        /// Between two sweeps.
        interval: Duration = Duration::from_secs(10), limits::DURATION;
        /// Of the first ejection.
        base_ejection_time: Duration = Duration::from_secs(30), limits::DURATION;
        /// Of any ejection, unless the base is longer.
        max_ejection_time: Duration = Duration::from_secs(300), limits::DURATION;
        /// Of all servers.
        max_ejection_percent: f64 = 10.0, limits::PERCENT;
        /// In a row; 0 ejects none for that.
        consecutive_errors: usize = 5, limits::COUNT;
        + tables {
            /// Ejects by success rate, if it is there.
            success_rate: SuccessRate;
            /// Ejects by failure percentage, if it is there.
            failure_percentage: FailurePercentage;
        }
    }
}

table! {
    /// `[client.outlier_detection.success_rate]`: worse than the others.
    SuccessRate {
        /// Standard deviations below the mean, in thousandths.
        stdev_factor: usize = 1_900, limits::COUNT;
        /// Of those that are to be ejected.
        enforcement_percentage: f64 = 100.0, limits::PERCENT;
        /// Servers with enough requests, for the statistics to mean something.
        minimum_hosts: usize = 5, limits::COUNT;
        /// Requests in an interval, for a server to be judged.
        request_volume: usize = 100, limits::COUNT;
    }
}

table! {
    /// `[client.outlier_detection.failure_percentage]`: bad, whatever the others do.
    FailurePercentage {
        /// Percent of failures, beyond which a server is ejected.
        threshold: f64 = 85.0, limits::PERCENT;
        /// Of those that are to be ejected.
        enforcement_percentage: f64 = 100.0, limits::PERCENT;
        /// Servers there have to be.
        minimum_hosts: usize = 5, limits::COUNT;
        /// Requests in an interval, for a server to be judged.
        request_volume: usize = 50, limits::COUNT;
    }
}

impl OutlierDetection {
    /// What cannot come to anything with as few `servers`, a sentence each.
    pub(crate) fn warnings(&self, servers: usize) -> Vec<String> {
        let minimums = [
            ("success_rate", self.success_rate.as_ref().map(|table| table.minimum_hosts)),
            ("failure_percentage", self.failure_percentage.as_ref().map(|table| table.minimum_hosts)),
        ];
        let idle =
            minimums.into_iter().filter_map(|(table, hosts)| Some((table, hosts.filter(|hosts| *hosts > servers)?)));
        idle.map(|(table, hosts)| {
            format!(
                "[client.outlier_detection.{table}] never ejects anyone: minimum_hosts = {hosts}, but [servers] replicas = \
                 {servers}"
            )
        })
        .collect()
    }

    fn ejection_time(&self, multiplier: u32) -> Duration {
        (self.base_ejection_time * multiplier).min(self.max_ejection_time.max(self.base_ejection_time))
    }
}

impl PolicyConfig for OutlierDetection {
    type Policy = Arc<Detector>;

    fn build(&self, context: &PolicyContext<'_>) -> Option<Arc<Detector>> {
        let detector = Arc::new(Detector {
            recorder: context.recorder.clone(),
            servers: context.servers.clone(),
            hosts: Mutex::new(Hosts::new(self.clone(), context.servers.len(), context.entropy)),
        });
        let (world, sweeper, interval) = (context.world.clone(), detector.clone(), self.interval);
        context.world.spawn(Box::pin(async move {
            let mut due = world.now() + interval;
            loop {
                world.sleep_until(due).await;
                due += interval;
                let mut hosts = sweeper.hosts();
                hosts.sweep(world.now()).into_iter().for_each(|change| sweeper.record(change));
            }
        }));
        Some(detector)
    }
}

pub(crate) struct Detector {
    recorder: Recorder,
    servers: Arc<[String]>,
    hosts: Mutex<Hosts>,
}

impl Detector {
    fn hosts(&self) -> MutexGuard<'_, Hosts> {
        self.hosts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// With the hosts locked, so that the record has the changes in their order.
    #[cold]
    fn record(&self, change: Change) {
        let name = &self.servers[change.server];
        match change.ejected {
            Some((cause, time)) => {
                self.recorder.event(Event::Ejected).target(name).cause(cause).duration(time).record();
            }
            None => self.recorder.event(Event::Unejected).target(name).record(),
        }
    }
}

impl Policy for Arc<Detector> {
    fn ejected(&self) -> Servers {
        self.hosts().ejected
    }

    fn on_attempt_end(&self, end: &AttemptEnd) {
        let (Some(server), Ending::Status(code, _)) = (end.server, end.ending) else { return };
        let mut hosts = self.hosts();
        if let Some(change) = hosts.observe(server, code == Code::Ok, end.now) {
            self.record(change);
        }
    }
}

/// A server is ejected, for that reason and that long, or serves again.
#[derive(Debug, Clone, PartialEq)]
struct Change {
    server: usize,
    ejected: Option<(String, Duration)>,
}

/// What is known of all servers.
pub(crate) struct Hosts {
    settings: OutlierDetection,
    entropy: Entropy,
    hosts: Vec<Host>,
    ejected: Servers,
    /// So far; names their draws.
    sweeps: u64,
}

#[derive(Debug, Clone, Default)]
struct Host {
    successes: usize,
    failures: usize,
    failures_in_a_row: usize,
    /// When it was ejected last.
    ejected_at: Instant,
    multiplier: u32,
}

impl Host {
    fn volume(&self) -> usize {
        self.successes + self.failures
    }

    fn share(&self, count: usize) -> f64 {
        count as f64 / self.volume() as f64
    }
}

impl Hosts {
    fn new(settings: OutlierDetection, servers: usize, entropy: Entropy) -> Self {
        Self { settings, entropy, hosts: vec![Host::default(); servers], ejected: Servers::NONE, sweeps: 0 }
    }

    fn observe(&mut self, server: usize, succeeded: bool, now: Instant) -> Option<Change> {
        let host = &mut self.hosts[server];
        if succeeded {
            host.successes += 1;
            host.failures_in_a_row = 0;
            return None;
        }
        self.failed(server, now)
    }

    #[cold]
    fn failed(&mut self, server: usize, now: Instant) -> Option<Change> {
        let host = &mut self.hosts[server];
        host.failures += 1;
        host.failures_in_a_row += 1;
        let (in_a_row, most) = (host.failures_in_a_row, self.settings.consecutive_errors);
        if most == 0 || in_a_row < most || self.ejected.contains(server) || !self.may_eject() {
            return None;
        }
        self.hosts[server].failures_in_a_row = 0;
        Some(self.eject(server, now, format!("{in_a_row} errors in a row")))
    }

    fn sweep(&mut self, now: Instant) -> Vec<Change> {
        self.sweeps += 1;
        // The counters of the interval are taken and begin anew, as A50 swaps its buckets.
        let seen = self.hosts.clone();
        for host in &mut self.hosts {
            (host.successes, host.failures) = (0, 0);
        }
        let mut changes = Vec::new();
        for (server, percentage, cause) in self.below_the_others(&seen) {
            self.eject_if_drawn("success_rate", server, percentage, now, cause, &mut changes);
        }
        for (server, percentage, cause) in self.above_the_threshold(&seen) {
            self.eject_if_drawn("failure_percentage", server, percentage, now, cause, &mut changes);
        }
        for (server, host) in self.hosts.iter_mut().enumerate() {
            if !self.ejected.contains(server) {
                host.multiplier = host.multiplier.saturating_sub(1);
            } else if now > host.ejected_at + lasts(&self.settings, host.multiplier) {
                self.ejected.set(server, false);
                changes.push(Change { server, ejected: None });
            }
        }
        changes
    }

    /// By success rate: a server, how likely it is ejected, in percent, and why.
    fn below_the_others(&self, seen: &[Host]) -> Vec<(usize, f64, String)> {
        let Some(settings) = &self.settings.success_rate else { return Vec::new() };
        let judged = judged(seen, settings.request_volume);
        if judged.len() < settings.minimum_hosts || judged.is_empty() {
            return Vec::new();
        }
        let rates: Vec<f64> = judged.iter().map(|server| seen[*server].share(seen[*server].successes)).collect();
        let mean = rates.iter().sum::<f64>() / rates.len() as f64;
        let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / rates.len() as f64;
        let threshold = mean - variance.sqrt() * settings.stdev_factor as f64 / 1_000.0;
        let outliers = judged.into_iter().zip(rates).filter(|(_, rate)| *rate < threshold);
        outliers
            .map(|(server, rate)| {
                let cause = format!("success rate {:.1} %, under {:.1} %", rate * 100.0, threshold * 100.0);
                (server, settings.enforcement_percentage, cause)
            })
            .collect()
    }

    /// By failure percentage, likewise.
    fn above_the_threshold(&self, seen: &[Host]) -> Vec<(usize, f64, String)> {
        let Some(settings) = &self.settings.failure_percentage else { return Vec::new() };
        if seen.len() < settings.minimum_hosts {
            return Vec::new();
        }
        let percent = |server: usize| seen[server].share(seen[server].failures) * 100.0;
        let outliers =
            judged(seen, settings.request_volume).into_iter().filter(|server| percent(*server) > settings.threshold);
        outliers
            .map(|server| (server, settings.enforcement_percentage, format!("{:.1} % failed", percent(server))))
            .collect()
    }

    fn eject_if_drawn(
        &mut self,
        algorithm: &str,
        server: usize,
        percentage: f64,
        now: Instant,
        cause: String,
        changes: &mut Vec<Change>,
    ) {
        if self.ejected.contains(server) || !self.may_eject() {
            return;
        }
        let stream = format!("outlier_detection.{algorithm}");
        let drawn = percentage >= 100.0
            || 100.0 * unit(&mut self.entropy.stream_of(&stream, &[self.sweeps, server as u64])) < percentage;
        if drawn {
            changes.push(self.eject(server, now, cause));
        }
    }

    fn may_eject(&self) -> bool {
        #[cfg(feature = "canaries")]
        if crate::bug::is(crate::bug::Bug::ManyEjections) {
            return true;
        }
        let ejected = self.ejected.len();
        ejected == 0 || (ejected as f64) * 100.0 < self.settings.max_ejection_percent * self.hosts.len() as f64
    }

    fn eject(&mut self, server: usize, now: Instant, cause: String) -> Change {
        let host = &mut self.hosts[server];
        host.ejected_at = now;
        self.ejected.set(server, true);
        host.multiplier += 1;
        Change { server, ejected: Some((cause, self.settings.ejection_time(host.multiplier))) }
    }
}

/// How long the ejection of a server with this multiplier is.
fn lasts(settings: &OutlierDetection, multiplier: u32) -> Duration {
    #[cfg(feature = "canaries")]
    if crate::bug::is(crate::bug::Bug::ShortEjection) {
        return Duration::ZERO;
    }
    settings.ejection_time(multiplier)
}

/// The servers with enough requests, which are some.
fn judged(seen: &[Host], request_volume: usize) -> Vec<usize> {
    (0..seen.len()).filter(|server| seen[*server].volume() >= request_volume.max(1)).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(seconds: u64) -> Instant {
        Instant::START + Duration::from_secs(seconds)
    }

    fn hosts(settings: OutlierDetection, servers: usize) -> Hosts {
        Hosts::new(settings, servers, Entropy::new(1))
    }

    fn statistics(
        success_rate: Option<SuccessRate>,
        failure_percentage: Option<FailurePercentage>,
    ) -> OutlierDetection {
        OutlierDetection { consecutive_errors: 0, success_rate, failure_percentage, ..OutlierDetection::default() }
    }

    impl Hosts {
        fn saw(&mut self, server: usize, successes: usize, failures: usize) {
            (0..successes).for_each(|_| assert_eq!(self.observe(server, true, at(0)), None));
            (0..failures).for_each(|_| assert_eq!(self.observe(server, false, at(0)), None));
        }

        fn ejected(&self) -> Vec<usize> {
            self.ejected.iter().collect()
        }
    }

    #[test]
    fn errors_in_a_row_eject_at_once_and_a_success_begins_the_row_anew() {
        let mut hosts = hosts(OutlierDetection::default(), 3);
        hosts.saw(1, 0, 4);
        hosts.saw(1, 1, 4);
        let change = hosts.observe(1, false, at(7)).unwrap();
        assert_eq!(change.ejected, Some(("5 errors in a row".to_owned(), Duration::from_secs(30))));
        assert_eq!(hosts.ejected(), [1]);
    }

    /// Four servers without a failure and one that fails 100 of 200: mean 0.9, standard deviation 0.2, threshold 0.9 -
    /// 1.9 x 0.2 = 0.52, and 0.5 is below it. A second one as bad moves the mean and widens the deviation: 0.8 - 1.9 x
    /// 0.245 = 0.335, and neither is.
    #[test]
    fn a_success_rate_far_below_the_others_ejects() {
        let settings = statistics(Some(SuccessRate::default()), None);
        let mut one = hosts(settings.clone(), 5);
        let mut two = hosts(settings, 5);
        for server in 0..5 {
            one.saw(server, if server == 3 { 100 } else { 200 }, if server == 3 { 100 } else { 0 });
            two.saw(server, if server >= 3 { 100 } else { 200 }, if server >= 3 { 100 } else { 0 });
        }
        let changes = one.sweep(at(10));
        assert_eq!(changes.len(), 1);
        let (cause, time) = changes[0].ejected.clone().unwrap();
        assert_eq!((&*cause, time), ("success rate 50.0 %, under 52.0 %", Duration::from_secs(30)));
        assert_eq!(one.ejected(), [3]);
        assert_eq!(two.sweep(at(10)), []);
    }

    #[test]
    fn too_few_servers_or_too_few_requests_eject_nobody() {
        let settings = statistics(Some(SuccessRate::default()), Some(FailurePercentage::default()));
        let mut few_servers = hosts(settings.clone(), 4);
        let mut few_requests = hosts(settings.clone(), 5);
        for server in 0..4 {
            few_servers.saw(server, 0, 200);
        }
        for server in 0..5 {
            few_requests.saw(server, if server == 0 { 0 } else { 49 }, if server == 0 { 49 } else { 0 });
        }
        assert_eq!((few_servers.sweep(at(10)), few_requests.sweep(at(10))), (vec![], vec![]));
        assert_eq!(settings.warnings(4).len(), 2);
        assert_eq!(settings.warnings(5).len(), 0);
    }

    #[test]
    fn more_failures_than_the_threshold_eject_and_as_many_do_not() {
        let settings = statistics(None, Some(FailurePercentage { threshold: 50.0, ..FailurePercentage::default() }));
        let mut hosts = hosts(settings, 5);
        hosts.saw(0, 50, 50);
        hosts.saw(1, 49, 51);
        let changes = hosts.sweep(at(10));
        assert_eq!((changes.len(), changes[0].server), (1, 1));
    }

    #[test]
    fn an_interval_counts_for_itself() {
        let mut hosts = hosts(statistics(None, Some(FailurePercentage::default())), 5);
        hosts.saw(0, 0, 49);
        assert_eq!(hosts.sweep(at(10)), []);
        hosts.saw(0, 0, 1);
        assert_eq!(hosts.sweep(at(20)), []);
    }

    #[test]
    fn one_may_be_ejected_whatever_the_percentage_and_a_second_only_within_it() {
        let of = |max_ejection_percent| {
            let mut hosts = hosts(OutlierDetection { max_ejection_percent, ..OutlierDetection::default() }, 5);
            for server in 0..5 {
                (0..5).for_each(|_| drop(hosts.observe(server, false, at(0))));
            }
            hosts.ejected().len()
        };
        assert_eq!([of(0.0), of(10.0), of(20.0), of(40.0), of(41.0)], [1, 1, 1, 2, 3]);
    }

    #[test]
    fn each_ejection_lasts_longer_and_good_conduct_is_credited() {
        let mut hosts = hosts(OutlierDetection::default(), 2);
        let fail = |hosts: &mut Hosts, second| {
            (0..5)
                .filter_map(|_| hosts.observe(0, false, at(second)))
                .next()
                .and_then(|change| change.ejected)
                .unwrap()
                .1
        };
        assert_eq!(fail(&mut hosts, 5), Duration::from_secs(30));
        let back: Vec<_> = (1..=5).filter(|sweep| !hosts.sweep(at(sweep * 10)).is_empty()).collect();
        assert_eq!(back, [4], "35 s, so the sweep at 40 s");
        assert_eq!(fail(&mut hosts, 51), Duration::from_secs(30), "the sweep at 50 s took one off");
        (6..=9).for_each(|sweep| drop(hosts.sweep(at(sweep * 10))));
        assert!(hosts.ejected().is_empty());
        assert_eq!(fail(&mut hosts, 91), Duration::from_secs(60));
    }

    #[test]
    fn no_ejection_is_longer_than_the_longest() {
        let settings = OutlierDetection { max_ejection_time: Duration::from_secs(70), ..OutlierDetection::default() };
        let times: Vec<_> = (1..=4).map(|multiplier| settings.ejection_time(multiplier).as_secs()).collect();
        assert_eq!(times, [30, 60, 70, 70]);
    }

    #[test]
    fn enforcement_is_a_share_of_the_decisions() {
        let settings = FailurePercentage { enforcement_percentage: 30.0, ..FailurePercentage::default() };
        let mut hosts = hosts(statistics(None, Some(settings)), 5);
        let mut ejections = 0;
        for sweep in 1..=1_000 {
            hosts.saw(2, 0, 50);
            ejections += hosts.sweep(at(sweep)).iter().filter(|change| change.ejected.is_some()).count();
            hosts.hosts[2] = Host::default();
        }
        // Binomial: 300, give or take five times sqrt(1000 x 0.3 x 0.7) = 14.5.
        assert!((228..=372).contains(&ejections), "{ejections}");
    }

    proptest! {
        #[test]
        fn never_more_are_ejected_than_are_allowed(
            steps in proptest::collection::vec((0..6_usize, any::<bool>()), 1..400), percent in 0.0..100.0,
        ) {
            let mut hosts = hosts(OutlierDetection { max_ejection_percent: percent, ..OutlierDetection::default() }, 6);
            for (step, (server, succeeded)) in (0..).zip(steps) {
                hosts.observe(server, succeeded, at(step));
                if step % 10 == 0 {
                    hosts.sweep(at(step));
                }
                // The last one may have gone over the limit, never under it.
                let ejected = hosts.ejected().len() as f64;
                prop_assert!(ejected <= 1.0 || (ejected - 1.0) * 100.0 < percent * 6.0);
            }
        }
    }
}
