//! Metrics: their names, as files and summaries write them, and what they count in.

use super::{model::Metric, names::Named};

/// What a metric counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// From 0 to 1.
    Share,
    /// Expectations write it as a duration, such as `"5s"`.
    Seconds,
    /// Of run time.
    PerSecond,
    /// From 0.
    Count,
}

impl Metric {
    /// Every metric, in the order of reports.
    pub const ALL: [Self; 21] = [
        Self::SuccessRate,
        Self::Availability,
        Self::Throughput,
        Self::Goodput,
        Self::LatencyP50,
        Self::LatencyP90,
        Self::LatencyP95,
        Self::LatencyP99,
        Self::LatencyP999,
        Self::LatencyMax,
        Self::AttemptsPerCall,
        Self::Retries,
        Self::Failovers,
        Self::RecoveryTime,
        Self::TimeToDetect,
        Self::UnavailableFor,
        Self::Dropped,
        Self::Duplicates,
        Self::Hedges,
        Self::Rejected,
        Self::Ejections,
    ];

    /// The base unit of its values and bounds.
    pub fn unit(self) -> Unit {
        match self {
            Self::SuccessRate | Self::Availability => Unit::Share,
            Self::Throughput | Self::Goodput => Unit::PerSecond,
            Self::LatencyP50
            | Self::LatencyP90
            | Self::LatencyP95
            | Self::LatencyP99
            | Self::LatencyP999
            | Self::LatencyMax
            | Self::RecoveryTime
            | Self::TimeToDetect
            | Self::UnavailableFor => Unit::Seconds,
            Self::AttemptsPerCall
            | Self::Retries
            | Self::Failovers
            | Self::Dropped
            | Self::Duplicates
            | Self::Hedges
            | Self::Rejected
            | Self::Ejections => Unit::Count,
        }
    }

    /// Whether more of it is what one wants.
    pub fn higher_is_better(self) -> bool {
        matches!(self.unit(), Unit::Share | Unit::PerSecond)
    }

    /// Whether it is measured from a fault's start, and so means nothing `before` or `after` the faults.
    pub fn is_of_a_fault(self) -> bool {
        matches!(self, Self::RecoveryTime | Self::TimeToDetect)
    }
}

impl Named for Metric {
    const WHAT: &'static str = "a metric";
    const NAMES: &'static [(Self, &'static str)] = &[
        (Self::SuccessRate, "success_rate"),
        (Self::Availability, "availability"),
        (Self::Throughput, "throughput"),
        (Self::Goodput, "goodput"),
        (Self::LatencyP50, "latency_p50"),
        (Self::LatencyP90, "latency_p90"),
        (Self::LatencyP95, "latency_p95"),
        (Self::LatencyP99, "latency_p99"),
        (Self::LatencyP999, "latency_p999"),
        (Self::LatencyMax, "latency_max"),
        (Self::AttemptsPerCall, "attempts_per_call"),
        (Self::Retries, "retries"),
        (Self::Failovers, "failovers"),
        (Self::RecoveryTime, "recovery_time"),
        (Self::TimeToDetect, "time_to_detect"),
        (Self::UnavailableFor, "unavailable_for"),
        (Self::Dropped, "dropped"),
        (Self::Duplicates, "duplicates"),
        (Self::Hedges, "hedges"),
        (Self::Rejected, "rejected"),
        (Self::Ejections, "ejections"),
    ];
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_one_name_that_leads_back_to_it() {
        assert_eq!(Metric::ALL.len(), Metric::NAMES.len());
        for (metric, (_, name)) in Metric::ALL.into_iter().zip(Metric::NAMES) {
            assert_eq!((metric.name(), name.parse()), (*name, Ok(metric)));
        }
    }
}
