//! Outlier detection: a server that does worse than the others gets no traffic for a while. gRPC A50, and Envoy's
//! consecutive errors.
//!
//! SERVING → EJECTED when the server's attempts have failed `consecutive_errors` times in a row (at once), or because of its
//! success rate or its failure percentage in the interval that a sweep ends. EJECTED → SERVING at the first sweep after
//! `base_ejection_time` times the multiplier, or after `max_ejection_time` if that is less. Each ejection increases the
//! multiplier by one; each sweep at which the server is not ejected decreases it by one.
//!
//! * By success rate, if there are `minimum_hosts` servers with `request_volume` results: those of them are ejected whose rate
//!   is more than `stdev_factor / 1000` standard deviations below the mean.
//! * By failure percentage, if there are `minimum_hosts` servers with `request_volume` results: those of them are ejected that
//!   failed more than `threshold` percent.
//!
//! No server is ejected while `max_ejection_percent` of the servers are, except that one always may be.
//!
//! The two standards differ in what a failure is, and each condition follows its own:
//!
//! | end of an attempt | rate and percentage (A50) | errors in a row (Envoy's `consecutive_5xx`) |
//! | --- | --- | --- |
//! | OK | success | ends the row |
//! | UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS: HTTP's 5xx | failure | error |
//! | any other status, such as RESOURCE_EXHAUSTED, which is 429 | failure | ends the row |
//! | abandoned: a hedge was faster, or the caller cancelled the call | failure | does not count |
//!
//! A50 counts "any status but OK", and grpc-java and gRPC's core see CANCELLED where a call is abandoned. So a server that every
//! hedge outruns is an outlier. Envoy maps a gRPC status to one of HTTP (`grpcToHttpStatus`), and charges nothing to a host whose
//! request it cancels itself.
//!
//! A row that reaches `consecutive_errors` starts again, whether or not the server may be ejected, and so does the row of a
//! server that is back (Envoy): a further error or two, or one that was under way, do not eject it again.

mod detection;
mod ejections;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use super::{AttemptEnd, Changes, Ending, Policy, PolicyConfig, PolicyContext, Servers};
use crate::{
    record::{CallMoment, Event, Recorder},
    settings::{
        limits,
        named::named,
        samples,
        table_macro::{NOT_DRAWN, table},
    },
    sync::lock,
};
pub(crate) use detection::Detection;
use ejections::{AttemptResult, Ejection, EjectionChange, Ejections, Unenforced};

table! {
    /// `[client.outlier_detection]`: passive ejection of single servers (gRPC A50, Envoy).
    OutlierDetection {
        /// Time between two sweeps.
        interval: Duration = Duration::from_secs(10), limits::INTERVAL, &["\"20ms\"", "\"200ms\"", "\"1s\"", "\"10s\""];
        /// Time of the first ejection.
        base_ejection_time: Duration = Duration::from_secs(30), limits::DURATION, samples::TIMES;
        /// The longest time of an ejection, unless the base is longer.
        max_ejection_time: Duration = Duration::from_secs(300), limits::DURATION, samples::TIMES;
        /// Percent of all servers that may be ejected at once.
        max_ejection_percent: f64 = 10.0, limits::PERCENT, samples::PERCENTS;
        /// Errors in a row, of those that HTTP counts as 5xx, that eject a server; 0 ejects none for that.
        consecutive_errors: usize = 5, limits::COUNT, &["0", "1", "3"];
        /// The behaviour of attempts while every server is ejected.
        all_ejected: AllEjected = AllEjected::AskAnyway, (), &["\"ask_anyway\"", "\"fail\""];
        + tables {
            /// Ejection by success rate.
            success_rate: SuccessRate, &[
                "{ minimum_hosts = 1, request_volume = 1 }",
                "{ stdev_factor = 0, minimum_hosts = 2, request_volume = 3 }",
            ];
            /// Ejection by failure percentage.
            failure_percentage: FailurePercentage, &[
                "{ threshold = 0.0, minimum_hosts = 1, request_volume = 1 }",
                "{ threshold = 50.0, enforcement_percentage = 50.0, minimum_hosts = 2, request_volume = 5 }",
            ];
        }
    }
}

/// The behaviour of attempts while every server is ejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum AllEjected {
    /// They are sent to ejected servers (Envoy's panic mode).
    AskAnyway,
    /// They fail with UNAVAILABLE (gRPC A50).
    Fail,
}

named!(AllEjected, "a rule for ejected servers");

table! {
    /// `[client.outlier_detection.success_rate]`: ejects servers with a success rate far below that of the others.
    SuccessRate {
        /// Distance from the mean in thousandths of a standard deviation.
        stdev_factor: usize = 1_900, limits::COUNT, NOT_DRAWN;
        /// Percent of the servers to be ejected that are ejected.
        enforcement_percentage: f64 = 100.0, limits::PERCENT, NOT_DRAWN;
        /// Number of servers with enough requests, below which there is no ejection.
        minimum_hosts: usize = 5, limits::COUNT, NOT_DRAWN;
        /// Requests in an interval, below which a server is not judged.
        request_volume: usize = 100, limits::COUNT, NOT_DRAWN;
    }
}

table! {
    /// `[client.outlier_detection.failure_percentage]`: ejects servers with many failures, whatever the others do.
    FailurePercentage {
        /// Percent of failures beyond which a server is ejected.
        threshold: f64 = 85.0, limits::PERCENT, NOT_DRAWN;
        /// Percent of the servers to be ejected that are ejected.
        enforcement_percentage: f64 = 100.0, limits::PERCENT, NOT_DRAWN;
        /// Number of servers with enough requests, below which there is no ejection.
        minimum_hosts: usize = 5, limits::COUNT, NOT_DRAWN;
        /// Requests in an interval, below which a server is not judged.
        request_volume: usize = 50, limits::COUNT, NOT_DRAWN;
    }
}

impl OutlierDetection {
    /// Describes each algorithm that cannot eject any server because there are only `servers`, in a sentence.
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

    /// Returns how long an ejection with this multiplier lasts.
    fn ejection_time(&self, multiplier: u32) -> Duration {
        // A maximum below the base would shorten even the first ejection, so the base takes precedence, as in A50.
        (self.base_ejection_time * multiplier).min(self.max_ejection_time.max(self.base_ejection_time))
    }
}

impl PolicyConfig for OutlierDetection {
    type Policy = Arc<Detector>;

    fn build(&self, context: &PolicyContext<'_>) -> Option<Arc<Detector>> {
        let detector = Arc::new(Detector {
            recorder: context.recorder.clone(),
            servers: context.servers.clone(),
            changes: context.changes.clone(),
            ejections: Mutex::new(Ejections::new(self.clone(), context.servers.len(), context.entropy)),
        });
        let world = context.world.clone();
        let sweeper = detector.clone();
        let interval = self.interval;
        context.world.spawn(Box::pin(async move {
            let mut due = world.now() + interval;
            loop {
                world.sleep_until(due).await;
                // Sweeps keep to a fixed schedule, however late the task runs.
                due += interval;
                let mut ejections = lock(&sweeper.ejections);
                ejections.sweep(world.now()).into_iter().for_each(|change| sweeper.record(change));
                sweeper.measure(ejections.take_unenforced());
                drop(ejections);
                sweeper.changes.notify();
            }
        }));
        Some(detector)
    }
}

/// Outlier detection with its state. The client and the task that sweeps share it.
pub(crate) struct Detector {
    recorder: Recorder,
    servers: Arc<[String]>,
    changes: Changes,
    ejections: Mutex<Ejections>,
}

impl Detector {
    /// Records `change`. The ejections are locked meanwhile, so that the record has the changes in their order.
    #[cold]
    fn record(&self, change: EjectionChange) {
        let name = &self.servers[change.server];
        match change.ejection {
            Some(Ejection { cause, time }) => {
                self.recorder.event(Event::Ejected).target(name).cause(cause).duration(time).record();
            }
            None => self.recorder.event(Event::Unejected).target(name).record(),
        }
    }

    /// Passes on which servers were found and not ejected.
    fn measure(&self, unenforced: Vec<Unenforced>) {
        for Unenforced { server, method, reason } in unenforced {
            let server = self.servers[server].as_str().into();
            self.recorder.measure(|| CallMoment::Unenforced { server, method: method.into(), reason: reason.into() });
        }
    }
}

impl Policy for Arc<Detector> {
    fn ejected(&self) -> Servers {
        lock(&self.ejections).ejected()
    }

    fn on_attempt_end(&self, end: &AttemptEnd) {
        // Without a server, another policy rejected it.
        let Some(server) = end.server else { return };
        let result = match end.ending {
            Ending::Status(code, _) => AttemptResult::from(code),
            Ending::Abandoned => AttemptResult::Abandoned,
        };
        let mut ejections = lock(&self.ejections);
        let change = ejections.observe(server, result, end.now);
        self.measure(ejections.take_unenforced());
        if let Some(change) = change {
            self.record(change);
            drop(ejections);
            self.changes.notify();
        }
    }
}
