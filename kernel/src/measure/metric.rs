//! Metrics: their names, as files and summaries write them, and their units, in one table.

use crate::settings::named::named;

/// The base unit of a metric's values and bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// A share from 0 to 1.
    Share,
    /// Seconds. Expectations write a duration, such as `"5s"`.
    Seconds,
    /// Events per second of run time.
    PerSecond,
    /// A number of events, from 0.
    Count,
}

/// Metrics that a report shows together. All metrics of a group have the same unit, so they can share an axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricGroup {
    /// Shares of requests, and of time, that went well.
    Success,
    /// Requests per second.
    Throughput,
    /// Latencies from the intended send time.
    Latency,
    /// Times that a fault costs.
    Recovery,
    /// Attempts per call.
    Attempts,
    /// Counts of extra work and of requests that were turned away.
    Waste,
}

macro_rules! metrics {
    ($($(#[doc = $doc:literal])* $metric:ident = $name:literal: $unit:ident $(in $group:ident)?,)+) => {
        /// A metric of a run or of a phase, in the order of reports. Shares are 0 to 1, times are seconds, rates are per
        /// second, the rest are counts.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, strum::VariantArray, strum::IntoStaticStr)]
        pub enum Metric {
            $( $(#[doc = $doc])* #[strum(serialize = $name)] $metric, )+
        }

        impl Metric {
            /// Every metric, in the order of reports.
            pub const ALL: [Self; [$( stringify!($metric) ),+].len()] = [$( Self::$metric, )+];

            /// Returns the base unit of its values and bounds.
            pub fn unit(self) -> Unit {
                match self {
                    $( Self::$metric => Unit::$unit, )+
                }
            }

            /// Returns the group in which plots show the metric; `None` if plots leave it out, because its neighbours
            /// show the same.
            pub fn group(self) -> Option<MetricGroup> {
                match self {
                    $( $(Self::$metric => Some(MetricGroup::$group),)? )+
                    #[allow(unreachable_patterns, reason = "every metric may have a group")]
                    _ => None,
                }
            }
        }
    };
}

metrics! {
    /// Share of requests answered OK within the deadline.
    SuccessRate = "success_rate": Share in Success,
    /// Share of the windows of 1 s with offered load that have at least one success.
    Availability = "availability": Share in Success,
    /// Completed requests per second of run, whatever their status.
    Throughput = "throughput": PerSecond in Throughput,
    /// Successes per second of run.
    Goodput = "goodput": PerSecond in Throughput,
    /// Median latency from the intended send time.
    LatencyP50 = "latency_p50": Seconds in Latency,
    /// 90th percentile of the latency from the intended send time.
    LatencyP90 = "latency_p90": Seconds,
    /// 95th percentile of the latency from the intended send time.
    LatencyP95 = "latency_p95": Seconds in Latency,
    /// 99th percentile of the latency from the intended send time.
    LatencyP99 = "latency_p99": Seconds in Latency,
    /// 99.9th percentile of the latency from the intended send time.
    LatencyP999 = "latency_p999": Seconds,
    /// Highest latency from the intended send time.
    LatencyMax = "latency_max": Seconds in Latency,
    /// Mean number of attempts, the first one included.
    AttemptsPerCall = "attempts_per_call": Count in Attempts,
    /// Attempts beyond a call's first one that followed a failed attempt.
    Retries = "retries": Count in Waste,
    /// Attempts sent to another server than the call's previous attempt.
    Failovers = "failovers": Count in Waste,
    /// Time from a fault's start until the service is as good as before it, and stays so for 3 s.
    RecoveryTime = "recovery_time": Seconds in Recovery,
    /// Time from a fault's start until the client first marks its target unhealthy.
    TimeToDetect = "time_to_detect": Seconds in Recovery,
    /// Total time in windows with offered load and no success.
    UnavailableFor = "unavailable_for": Seconds in Recovery,
    /// Arrivals that were not sent because too many calls were in flight.
    Dropped = "dropped": Count in Waste,
    /// Attempts whose work a server finished though the call had ended or moved on.
    Duplicates = "duplicates": Count in Waste,
    /// Attempts beyond a call's first one that did not wait for the one before them.
    Hedges = "hedges": Count in Waste,
    /// Calls of which a policy of the client refused an attempt.
    Rejected = "rejected": Count in Waste,
    /// Servers that outlier detection took out of the traffic.
    Ejections = "ejections": Count in Waste,
    /// Replies with the status OK whose content was wrong.
    WrongResults = "wrong_results": Count,
    /// Attempts of calls between services, at the edge with the most, per request of the load that was sent. Of the whole run.
    Amplification = "amplification": Count,
    /// Calls that the cache answered, fresh or stale.
    Cached = "cached": Count,
    /// Calls with a degraded answer: a stale one, or one of a fallback, whether it counts as a success or not.
    Degraded = "degraded": Count,
    /// Share of the messages of partial answers that had come.
    PartShare = "part_share": Share,
    /// Look-ups in the store of the cache and writes that failed; each counts as a miss.
    StoreFailures = "store_failures": Count,
    /// Median time from the intended send time to the first message of a reply that streams.
    FirstMessageP50 = "first_message_p50": Seconds,
    /// 95th percentile of the time from the intended send time to the first message of a reply that streams.
    FirstMessageP95 = "first_message_p95": Seconds,
    /// Longest time from the intended send time to the first message of a reply that streams.
    FirstMessageMax = "first_message_max": Seconds,
    /// 95th percentile, over the replies that stream, of the longest time between two messages.
    MessageGapP95 = "message_gap_p95": Seconds,
    /// Longest time between two messages of a reply that streams.
    MessageGapMax = "message_gap_max": Seconds,
    /// Messages that are missing of replies that failed behind their headers.
    MessagesLost = "messages_lost": Count,
}

named!(Metric, "a metric");

impl Metric {
    /// Returns whether a higher value is better.
    pub fn higher_is_better(self) -> bool {
        matches!(self.unit(), Unit::Share | Unit::PerSecond)
    }

    /// Returns whether the metric is of the messages of replies that stream, and so has no value without any.
    pub fn is_of_streams(self) -> bool {
        matches!(
            self,
            Self::FirstMessageP50
                | Self::FirstMessageP95
                | Self::FirstMessageMax
                | Self::MessageGapP95
                | Self::MessageGapMax
                | Self::MessagesLost
        )
    }

    /// Returns whether the metric is measured from a fault's start, and so has no value `before` or `after` the faults.
    pub fn is_of_a_fault(self) -> bool {
        matches!(self, Self::RecoveryTime | Self::TimeToDetect)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_has_one_name_that_leads_back_to_it() {
        for metric in Metric::ALL {
            assert_eq!(metric.name().parse(), Ok(metric));
        }
        assert!("latency".parse::<Metric>().is_err());
    }

    #[test]
    fn metrics_of_one_group_have_one_unit() {
        for (a, b) in Metric::ALL.into_iter().flat_map(|a| Metric::ALL.map(|b| (a, b))) {
            let together = a.group().is_some() && a.group() == b.group();
            assert!(!together || a.unit() == b.unit(), "{} and {}", a.name(), b.name());
        }
    }

    #[test]
    fn more_of_a_share_or_a_rate_is_better_and_less_of_a_time_or_a_count() {
        assert!([Metric::SuccessRate, Metric::Goodput].into_iter().all(Metric::higher_is_better));
        assert!(![Metric::LatencyP95, Metric::Retries].into_iter().any(Metric::higher_is_better));
    }

    #[test]
    fn the_last_metrics_are_of_streams() {
        let of_streams: Vec<_> = Metric::ALL.into_iter().skip_while(|metric| !metric.is_of_streams()).collect();
        assert_eq!((of_streams.len(), of_streams[0]), (6, Metric::FirstMessageP50));
        assert!(of_streams.into_iter().all(Metric::is_of_streams));
    }

    #[test]
    fn two_metrics_are_of_a_fault() {
        let of_a_fault: Vec<_> = Metric::ALL.into_iter().filter(|metric| metric.is_of_a_fault()).collect();
        assert_eq!(of_a_fault, [Metric::RecoveryTime, Metric::TimeToDetect]);
    }
}
