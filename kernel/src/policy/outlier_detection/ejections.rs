//! The statistics of the servers, and which of them are ejected: gRPC A50 (the algorithm and its two conditions), and "Outlier
//! detection" in Envoy's documentation (consecutive 5xx, ejection algorithm).

use std::time::Duration;

use super::{Detection, FailurePercentage, OutlierDetection, SuccessRate};
use crate::{
    entropy::{Entropy, unit},
    planted::planted,
    policy::Servers,
    status::Code,
    time::Instant,
};

/// The ejection of a server, or its end.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct EjectionChange {
    pub(super) server: usize,
    /// `None` if the server serves again.
    pub(super) ejection: Option<Ejection>,
}

/// The ejection of a server.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Ejection {
    pub(super) cause: String,
    pub(super) time: Duration,
}

/// A server that was found and is not ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Unenforced {
    pub(super) server: usize,
    /// How it was found, in gRPC's words.
    pub(super) method: &'static str,
    /// Why it is not ejected, in gRPC's words.
    pub(super) reason: &'static str,
}

/// The reasons of gRPC A91 for which a server that was found is not ejected.
const BY_PERCENTAGE: &str = "enforcement_percentage";
const BY_OVERFLOW: &str = "max_ejection_overflow";

/// The result of an attempt, as far as the conditions of an ejection tell results apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttemptResult {
    Success,
    /// A failure of the server: HTTP's 5xx.
    ServerError,
    /// Any other status.
    OtherFailure,
    /// The client did not wait for the end.
    Abandoned,
}

impl From<Code> for AttemptResult {
    /// Classifies `code` by the HTTP status that Envoy maps it to.
    fn from(code: Code) -> Self {
        match code {
            Code::Ok => Self::Success,
            Code::Unknown
            | Code::DeadlineExceeded
            | Code::Unimplemented
            | Code::Internal
            | Code::Unavailable
            | Code::DataLoss => Self::ServerError,
            Code::Cancelled
            | Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::OutOfRange
            | Code::Unauthenticated => Self::OtherFailure,
        }
    }
}

/// The state of outlier detection.
pub(super) struct Ejections {
    settings: OutlierDetection,
    entropy: Entropy,
    stats: Vec<ServerStats>,
    ejected: Servers,
    /// Number of sweeps so far. It names their draws.
    sweeps: u64,
    /// The servers that were found and not ejected, until they are taken.
    unenforced: Vec<Unenforced>,
}

/// The attempts of one server since the last sweep, and its ejections.
#[derive(Debug, Clone, Default)]
struct ServerStats {
    successes: usize,
    failures: usize,
    errors_in_a_row: usize,
    /// The time at which it was last ejected.
    ejected_at: Instant,
    /// The multiplier of its ejection time.
    multiplier: u32,
}

impl ServerStats {
    /// Returns the number of attempts.
    fn volume(&self) -> usize {
        self.successes + self.failures
    }

    fn success_rate(&self) -> f64 {
        self.successes as f64 / self.volume() as f64
    }

    fn failure_rate(&self) -> f64 {
        self.failures as f64 / self.volume() as f64
    }
}

/// A server that an algorithm has found to be an outlier.
struct Outlier {
    server: usize,
    detection: Detection,
}

impl Ejections {
    pub(super) fn new(settings: OutlierDetection, servers: usize, entropy: Entropy) -> Self {
        let stats = vec![ServerStats::default(); servers];
        Self { settings, entropy, stats, ejected: Servers::NONE, sweeps: 0, unenforced: Vec::new() }
    }

    /// Returns the servers that are ejected.
    pub(super) fn ejected(&self) -> Servers {
        self.ejected
    }

    /// Counts an attempt of `server`, and ejects the server if it has failed too often in a row.
    pub(super) fn observe(&mut self, server: usize, result: AttemptResult, now: Instant) -> Option<EjectionChange> {
        let stats = &mut self.stats[server];
        match result {
            AttemptResult::Success => {
                stats.successes += 1;
                stats.errors_in_a_row = 0;
            }
            AttemptResult::ServerError => return self.observe_error(server, now),
            AttemptResult::OtherFailure => {
                stats.failures += 1;
                stats.errors_in_a_row = 0;
            }
            AttemptResult::Abandoned => stats.failures += 1,
        }
        None
    }

    #[cold]
    fn observe_error(&mut self, server: usize, now: Instant) -> Option<EjectionChange> {
        let stats = &mut self.stats[server];
        stats.failures += 1;
        stats.errors_in_a_row += 1;
        let in_a_row = stats.errors_in_a_row;
        let limit = self.settings.consecutive_errors;
        // A limit of 0 switches this condition off.
        if limit == 0 || in_a_row < limit {
            return None;
        }
        // Envoy starts the row again even if the server stays, as it may when too many are ejected.
        stats.errors_in_a_row = 0;
        if self.ejected.contains(server) {
            return None;
        }
        let detection = Detection::ConsecutiveErrors(in_a_row);
        if !self.may_eject() {
            self.unenforced.push(Unenforced { server, method: detection.method(), reason: BY_OVERFLOW });
            return None;
        }
        Some(self.eject(server, now, detection))
    }

    /// Takes the servers that were found and not ejected since the last call.
    pub(super) fn take_unenforced(&mut self) -> Vec<Unenforced> {
        std::mem::take(&mut self.unenforced)
    }

    /// Ends an interval: ejects the outliers among the servers, and ends the ejections that have lasted long enough.
    pub(super) fn sweep(&mut self, now: Instant) -> Vec<EjectionChange> {
        self.sweeps += 1;
        // The counts of the interval are taken and restart at zero, as A50 swaps its buckets.
        let interval = self.stats.clone();
        for stats in &mut self.stats {
            stats.successes = 0;
            stats.failures = 0;
        }
        let mut changes = Vec::new();
        if let Some(settings) = self.settings.success_rate.clone() {
            for outlier in success_rate_outliers(&settings, &interval) {
                changes.extend(self.enforce(settings.enforcement_percentage, outlier, now));
            }
        }
        if let Some(settings) = self.settings.failure_percentage.clone() {
            for outlier in failure_percentage_outliers(&settings, &interval) {
                changes.extend(self.enforce(settings.enforcement_percentage, outlier, now));
            }
        }
        for (server, stats) in self.stats.iter_mut().enumerate() {
            if !self.ejected.contains(server) {
                stats.multiplier = stats.multiplier.saturating_sub(1);
            // A50 asks for a time after the end of the ejection: a sweep at that very instant does not end it.
            } else if now > stats.ejected_at + time_before_return(&self.settings, stats.multiplier) {
                self.ejected.set(server, false);
                // Errors that were under way at the ejection must not eject it again.
                stats.errors_in_a_row = 0;
                changes.push(EjectionChange { server, ejection: None });
            }
        }
        changes
    }

    /// Ejects `outlier` with a probability of `percentage`.
    fn enforce(&mut self, percentage: f64, outlier: Outlier, now: Instant) -> Option<EjectionChange> {
        let Outlier { server, detection } = outlier;
        let method = detection.method();
        if self.ejected.contains(server) {
            return None;
        }
        if !self.may_eject() {
            self.unenforced.push(Unenforced { server, method, reason: BY_OVERFLOW });
            return None;
        }
        let stream = format!("outlier_detection.{method}");
        // Nothing is drawn in the usual case.
        let is_enforced = percentage >= 100.0
            || 100.0 * unit(&mut self.entropy.stream_of(&stream, &[self.sweeps, server as u64])) < percentage;
        if !is_enforced {
            self.unenforced.push(Unenforced { server, method, reason: BY_PERCENTAGE });
            return None;
        }
        Some(self.eject(server, now, detection))
    }

    /// Returns true if one more server may be ejected. The first one always may, however few servers there are.
    fn may_eject(&self) -> bool {
        let ejected = self.ejected.len();
        let percent = self.settings.max_ejection_percent;
        planted!(Bug::ManyEjections) || ejected == 0 || (ejected as f64) * 100.0 < percent * self.stats.len() as f64
    }

    fn eject(&mut self, server: usize, now: Instant, detection: Detection) -> EjectionChange {
        let stats = &mut self.stats[server];
        stats.ejected_at = now;
        self.ejected.set(server, true);
        stats.multiplier += 1;
        let time = self.settings.ejection_time(stats.multiplier);
        EjectionChange { server, ejection: Some(Ejection { cause: detection.to_string(), time }) }
    }
}

/// Returns how long a server with this multiplier stays ejected.
fn time_before_return(settings: &OutlierDetection, multiplier: u32) -> Duration {
    planted!(Bug::ShortEjection, Duration::ZERO, else settings.ejection_time(multiplier))
}

/// Returns the servers whose success rate is far below that of the others in the interval.
fn success_rate_outliers(settings: &SuccessRate, interval: &[ServerStats]) -> Vec<Outlier> {
    let measured = measured(interval, settings.request_volume);
    if measured.len() < settings.minimum_hosts || measured.is_empty() {
        return Vec::new();
    }
    let rates: Vec<f64> = measured.iter().map(|server| interval[*server].success_rate()).collect();
    let mean = rates.iter().sum::<f64>() / rates.len() as f64;
    let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / rates.len() as f64;
    let threshold = mean - variance.sqrt() * settings.stdev_factor as f64 / 1_000.0;
    let outliers = measured.into_iter().zip(rates).filter(|(_, rate)| *rate < threshold);
    outliers.map(|(server, rate)| Outlier { server, detection: Detection::SuccessRate { rate, threshold } }).collect()
}

/// Returns the servers whose percentage of failures in the interval is over the threshold.
fn failure_percentage_outliers(settings: &FailurePercentage, interval: &[ServerStats]) -> Vec<Outlier> {
    let measured = measured(interval, settings.request_volume);
    if measured.len() < settings.minimum_hosts {
        return Vec::new();
    }
    let mut outliers = Vec::new();
    for server in measured {
        let percent = interval[server].failure_rate() * 100.0;
        if percent > settings.threshold {
            outliers.push(Outlier { server, detection: Detection::FailurePercentage(percent) });
        }
    }
    outliers
}

/// Returns the servers with at least `request_volume` attempts in the interval, and at least one.
fn measured(interval: &[ServerStats], request_volume: usize) -> Vec<usize> {
    (0..interval.len()).filter(|server| interval[*server].volume() >= request_volume.max(1)).collect()
}

#[cfg(test)]
mod tests;
