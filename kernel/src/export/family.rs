//! The metrics for export: their names, types, units, labels and descriptions, in one table.

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A count that only grows.
    Counter,
    /// A value that rises and falls.
    Gauge,
    /// A distribution, with these upper bounds of its classic buckets, in microseconds where the unit is seconds, and in ones otherwise.
    Histogram(&'static [u64]),
}

/// gRPC's bounds of the buckets of latencies (A66), in microseconds.
pub const LATENCY_BOUNDS_US: &[u64] = &[
    0,
    10,
    50,
    100,
    300,
    600,
    800,
    1_000,
    2_000,
    3_000,
    4_000,
    5_000,
    6_000,
    8_000,
    10_000,
    13_000,
    16_000,
    20_000,
    25_000,
    30_000,
    40_000,
    50_000,
    65_000,
    80_000,
    100_000,
    130_000,
    160_000,
    200_000,
    250_000,
    300_000,
    400_000,
    500_000,
    650_000,
    800_000,
    1_000_000,
    2_000_000,
    5_000_000,
    10_000_000,
    20_000_000,
    50_000_000,
    100_000_000,
];

/// gRPC's bounds of the buckets of sizes (A66), in bytes.
pub(super) const SIZE_BOUNDS: &[u64] = &[
    0,
    1 << 10,
    2 << 10,
    4 << 10,
    16 << 10,
    64 << 10,
    256 << 10,
    1 << 20,
    4 << 20,
    16 << 20,
    64 << 20,
    256 << 20,
    1 << 30,
    4 << 30,
];

/// gRPC's bounds of the buckets of retries and hedges (A96).
const RETRY_BOUNDS: &[u64] = &[1, 2, 3, 4, 5];

/// gRPC's bounds of the buckets of transparent retries (A96).
const TRANSPARENT_RETRY_BOUNDS: &[u64] = &[1, 2, 3, 4, 5, 10];

/// The unit of a metric, with which its name ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Events, things, or a state.
    None,
    /// Seconds; kept as whole microseconds.
    Seconds,
    /// Bytes.
    Bytes,
}

macro_rules! families {
    ($($(#[doc = $help:literal])* $family:ident = $name:literal: $kind:expr, $unit:ident, [$($label:literal),*];)+) => {
        /// A metric for export, over all of its series.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Family {
            $( $(#[doc = $help])* $family, )+
        }

        impl Family {
            /// Every metric, in the order in which they are exported.
            pub const ALL: [Self; [$( stringify!($family) ),+].len()] = [$( Self::$family, )+];

            /// Returns the name as OpenMetrics has it: with the unit, and without the `_total` of counters.
            pub fn name(self) -> &'static str {
                match self { $( Self::$family => $name, )+ }
            }

            /// Returns the type.
            pub fn kind(self) -> Kind {
                match self { $( Self::$family => $kind, )+ }
            }

            /// Returns the unit.
            pub fn unit(self) -> Unit {
                match self { $( Self::$family => Unit::$unit, )+ }
            }

            /// Returns the names of the labels, in the order of their values.
            pub fn labels(self) -> &'static [&'static str] {
                match self { $( Self::$family => &[$( $label ),*], )+ }
            }

            /// Returns what it is, in a sentence.
            pub fn help(self) -> &'static str {
                match self { $( Self::$family => concat!($( $help ),*).trim_ascii(), )+ }
            }
        }
    };
}

use Kind::{Counter, Gauge, Histogram};

families! {
    // gRPC A66: the client.
    /// Attempts that have begun (gRPC A66).
    AttemptStarted = "grpc_client_attempt_started": Counter, None, ["grpc_method", "grpc_target", "server"];
    /// Time from the start of an attempt to its end (gRPC A66).
    AttemptDuration = "grpc_client_attempt_duration_seconds":
        Histogram(LATENCY_BOUNDS_US), Seconds, ["grpc_method", "grpc_target", "grpc_status", "server"];
    /// Bytes of the messages that an attempt has sent, without what is around them (gRPC A66).
    AttemptSentBytes = "grpc_client_attempt_sent_total_compressed_message_size_bytes":
        Histogram(SIZE_BOUNDS), Bytes, ["grpc_method", "grpc_target", "grpc_status", "server"];
    /// Bytes of the messages that have come for an attempt, without what is around them (gRPC A66).
    AttemptReceivedBytes = "grpc_client_attempt_rcvd_total_compressed_message_size_bytes":
        Histogram(SIZE_BOUNDS), Bytes, ["grpc_method", "grpc_target", "grpc_status", "server"];
    /// Time from the start of a call to its end, with all attempts (gRPC A66).
    CallDuration = "grpc_client_call_duration_seconds":
        Histogram(LATENCY_BOUNDS_US), Seconds, ["grpc_method", "grpc_target", "grpc_status"];
    // gRPC A96: retries.
    /// Retries of a call that had any (gRPC A96).
    CallRetries = "grpc_client_call_retries": Histogram(RETRY_BOUNDS), None, ["grpc_method", "grpc_target"];
    /// Transparent retries of a call that had any (gRPC A96).
    CallTransparentRetries = "grpc_client_call_transparent_retries":
        Histogram(TRANSPARENT_RETRY_BOUNDS), None, ["grpc_method", "grpc_target"];
    /// Hedges of a call that had any (gRPC A96).
    CallHedges = "grpc_client_call_hedges": Histogram(RETRY_BOUNDS), None, ["grpc_method", "grpc_target"];
    /// Time between the attempts of a call in which none was active, of a call that had any (gRPC A96).
    CallRetryDelay = "grpc_client_call_retry_delay_seconds":
        Histogram(LATENCY_BOUNDS_US), Seconds, ["grpc_method", "grpc_target"];
    // gRPC A91: outlier detection.
    /// Ejections of a server by outlier detection (gRPC A91).
    EjectionsEnforced = "grpc_lb_outlier_detection_ejections_enforced":
        Counter, None, ["grpc_target", "grpc_lb_outlier_detection_detection_method", "server"];
    /// Servers that outlier detection has found and not ejected (gRPC A91).
    EjectionsUnenforced = "grpc_lb_outlier_detection_ejections_unenforced":
        Counter, None, ["grpc_target", "grpc_lb_outlier_detection_detection_method", "grpc_lb_outlier_detection_unenforced_reason", "server"];
    // gRPC A78: connections.
    /// Connections that became ready (gRPC A78).
    ConnectionsSucceeded = "grpc_lb_pick_first_connection_attempts_succeeded": Counter, None, ["grpc_target", "server"];
    /// Connections that could not be opened (gRPC A78).
    ConnectionsFailed = "grpc_lb_pick_first_connection_attempts_failed": Counter, None, ["grpc_target", "server"];
    /// Connections that were ready and are gone (gRPC A78).
    Disconnections = "grpc_lb_pick_first_disconnections": Counter, None, ["grpc_target", "server"];
    // gRPC A66: the server.
    /// Calls that have arrived at a server (gRPC A66).
    ServerCallStarted = "grpc_server_call_started": Counter, None, ["grpc_method", "server"];
    /// Time from the arrival of a call at a server to its end there (gRPC A66).
    ServerCallDuration = "grpc_server_call_duration_seconds":
        Histogram(LATENCY_BOUNDS_US), Seconds, ["grpc_method", "grpc_status", "server"];
    /// Bytes of the messages that a server has sent for a call, without what is around them (gRPC A66).
    ServerCallSentBytes = "grpc_server_call_sent_total_compressed_message_size_bytes":
        Histogram(SIZE_BOUNDS), Bytes, ["grpc_method", "grpc_status", "server"];
    /// Bytes of the messages that have come to a server for a call, without what is around them (gRPC A66).
    ServerCallReceivedBytes = "grpc_server_call_rcvd_total_compressed_message_size_bytes":
        Histogram(SIZE_BOUNDS), Bytes, ["grpc_method", "grpc_status", "server"];

    /// The run that the other metrics are of; always 1.
    RunInfo = "rehearsal_run_info": Gauge, None, ["scenario", "seed", "world"];
    /// Intended requests that have ended, by status and, if there are any, by the kind of the request; DROPPED ones were not sent, and
    /// DEGRADED ones had a fallback's answer.
    Requests = "rehearsal_requests": Counter, None, ["status", "kind"];
    /// Time from the moment at which a request was intended to be sent to its end.
    RequestDuration = "rehearsal_request_duration_seconds": Histogram(LATENCY_BOUNDS_US), Seconds, ["status", "kind"];
    /// Intended requests that were not sent, as too many calls were in flight.
    RequestsDropped = "rehearsal_requests_dropped": Counter, None, [];
    /// Calls that have begun and not ended.
    RequestsInFlight = "rehearsal_requests_in_flight": Gauge, None, [];
    /// The most calls in flight at once, beyond which requests are dropped.
    RequestsInFlightLimit = "rehearsal_requests_in_flight_limit": Gauge, None, [];
    /// Attempts that have begun and not ended.
    AttemptsInFlight = "rehearsal_attempts_in_flight": Gauge, None, ["server"];
    /// The most attempts in flight at once, by the bulkhead of the client.
    AttemptsInFlightLimit = "rehearsal_attempts_in_flight_limit": Gauge, None, [];
    /// Attempts on another server than the one before of their call.
    Failovers = "rehearsal_failovers": Counter, None, [];
    /// Attempts that a policy of the client has rejected before a server was picked.
    Rejected = "rehearsal_rejected_attempts": Counter, None, ["cause"];
    /// Attempts that were not made, as a policy limits retries or hedges.
    Throttled = "rehearsal_throttled_attempts": Counter, None, ["cause"];
    /// Times that a call waited for a policy or a connection.
    Waits = "rehearsal_waits": Counter, None, ["cause"];
    /// Answers from the cache of the client: fresh or stale.
    CacheHits = "rehearsal_cache_hits": Counter, None, ["freshness"];
    /// Look-ups in the store of the cache and writes that failed.
    StoreFailures = "rehearsal_store_failures": Counter, None, ["cause"];
    /// The store of the cache answers: 1, or 0 while it is away.
    StoreUp = "rehearsal_store_up": Gauge, None, [];
    /// Degraded answers instead of failures.
    Fallbacks = "rehearsal_fallbacks": Counter, None, ["kind"];
    /// Replies that were OK and wrong.
    WrongResults = "rehearsal_wrong_results": Counter, None, [];
    /// The fault is active on the target: 1, or 0 after its end.
    FaultActive = "rehearsal_fault_active": Gauge, None, ["fault", "kind", "target"];
    /// Times that the fault has begun on the target, also if it was over at once, as a crash after which nothing restarts.
    FaultsBegun = "rehearsal_faults_begun": Counter, None, ["fault", "kind", "target"];
    /// The state of a circuit breaker: 1 for the present one, and 0 for the others; the server is `*` for that of the whole service.
    BreakerState = "rehearsal_circuit_breaker_state": Gauge, None, ["server", "state"];
    /// Outlier detection has ejected the server: 1, or 0.
    ServerEjected = "rehearsal_server_ejected": Gauge, None, ["server"];
    /// The client rates the server healthy: 1, or 0.
    ServerHealthy = "rehearsal_server_healthy": Gauge, None, ["server"];
    /// The client's connection to the server can carry calls: 1, or 0.
    ServerConnected = "rehearsal_server_connected": Gauge, None, ["server"];
    /// The server listens: 1, or 0 from a crash until it listens again.
    ServerUp = "rehearsal_server_up": Gauge, None, ["server"];
    /// Starts of a server after a crash.
    ServerRestarts = "rehearsal_server_restarts": Counter, None, ["server"];
    /// Requests that a server has finished, skipped, refused, aborted by a fault, or dropped as they were cancelled.
    ServerRequests = "rehearsal_server_requests": Counter, None, ["server", "outcome"];
    /// Requests that wait for a worker of the server.
    QueueLength = "rehearsal_server_queue_length": Gauge, None, ["server"];
    /// The most requests that wait for a worker of the server.
    QueueLimit = "rehearsal_server_queue_limit": Gauge, None, ["server"];
    /// Workers of the server that a request occupies.
    BusyWorkers = "rehearsal_server_busy_workers": Gauge, None, ["server"];
    /// Workers of the server.
    Workers = "rehearsal_server_workers": Gauge, None, ["server"];
    /// The detector of anomalies has raised an alarm that has not ended: 1, or 0.
    AlarmActive = "rehearsal_detector_alarm_active": Gauge, None, ["detector"];
    /// Alarms that the detector of anomalies has raised.
    AlarmsRaised = "rehearsal_detector_alarms": Counter, None, ["detector"];
    /// Rows that a broker has acknowledged, of those that are sent to it as they happen.
    RowsDelivered = "rehearsal_events_delivered": Counter, None, [];
    /// Rows that were not sent to a broker, as too many waited.
    RowsDropped = "rehearsal_events_dropped": Counter, None, [];
    /// Rows that wait to be sent to a broker, or for its acknowledgement.
    RowsWaiting = "rehearsal_events_waiting": Gauge, None, [];
    /// Connections that a proxy has passed on, or reset as the server behind it did not answer.
    ProxyConnections = "rehearsal_proxy_connections": Counter, None, ["proxy", "result"];
    /// Connections that a proxy passes on.
    ProxyConnectionsOpen = "rehearsal_proxy_connections_open": Gauge, None, ["proxy"];
}

impl Family {
    /// Returns whether a series may be without the last label, which is then not written: `kind`, of a load whose requests have no kinds.
    pub fn may_lack_last_label(self) -> bool {
        matches!(self, Self::Requests | Self::RequestDuration)
    }

    /// Returns the name of the samples in Prometheus, of histograms without `_bucket`, `_sum` and `_count`.
    pub fn sample_name(self) -> String {
        match self.kind() {
            Kind::Counter => format!("{}_total", self.name()),
            _ => self.name().to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_unique_and_end_with_their_unit() {
        let names: BTreeSet<_> = Family::ALL.iter().map(|family| family.name()).collect();
        assert_eq!(names.len(), Family::ALL.len());
        for family in Family::ALL {
            let name = family.name();
            assert!(name.starts_with("grpc_") || name.starts_with("rehearsal_"), "{name}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_'), "{name}");
            assert_eq!(name.ends_with("_seconds"), family.unit() == Unit::Seconds, "{name}");
            assert!(!name.ends_with("_total"), "{name}: OpenMetrics adds it to the samples of counters");
            assert!(family.help().ends_with('.') && !family.help().contains('\n'), "{name}: {}", family.help());
        }
    }

    #[test]
    fn bounds_rise() {
        for family in Family::ALL {
            if let Kind::Histogram(bounds) = family.kind() {
                assert!(bounds.is_sorted_by(|a, b| a < b), "{}", family.name());
            }
        }
        assert_eq!(LATENCY_BOUNDS_US.len(), 41);
    }
}
