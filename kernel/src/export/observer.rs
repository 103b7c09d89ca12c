//! The metrics of a run while it goes on: what rows, faults and moments change.

use super::{
    calls::Calls,
    family::Family,
    measured::Measured,
    series::{Series, Value},
};
use crate::{
    detect::{AlarmChange, DetectorName, LiveAlarm},
    policy::{Detection, Scope},
    record::{AttemptRow, CallMoment, Event, EventRow, Name, RequestRow, Row},
    scenario::{Scenario, Servers},
    status::{Code, Outcome},
    workload::settings::Workload,
};

/// The target of the client's only channel, as gRPC's label has it.
const TARGET: &str = "rehearsal:///servers";

/// The source of what the load's client records.
const CLIENT: &str = "client";

/// The label for what is not of one server.
const WHOLE_SERVICE: &str = "*";

/// The states of a circuit breaker, by the events that begin them.
const BREAKER_STATES: [(Event, &str); 3] =
    [(Event::BreakerClosed, "closed"), (Event::BreakerOpened, "open"), (Event::BreakerHalfOpened, "half_open")];

/// Consumes what is recorded as it happens, and has the value of every metric at any time.
///
/// Rows come in the order in which they were recorded, or in order of time. A row costs no allocation once its series are there, but
/// for a node of a map for some of the calls under way; it takes no lock.
///
/// ```
/// use kernel::{export::{Family, Observer, Value}, record::{RequestRow, Row}, scenario::Scenario};
///
/// let scenario = Scenario::parse("short.toml", "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 5\n", &[])?;
/// let mut observer = Observer::of_run(&scenario, 7, "sim");
/// let line = r#"{"id":0,"intended_us":0,"sent_us":0,"done_us":920,"latency_us":920,"status":"OK","server":"server-0",
///     "attempts":1,"failovers":0,"size":"256x256"}"#;
/// observer.take(&Row::Request(serde_json::from_str(line)?));
/// assert_eq!(observer.series().value(Family::Requests, &["OK"]), Some(&Value::Count(1)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Observer {
    series: Series,
    calls: Calls,
    texts: Texts,
    /// The full name of the method that the load calls; `other` if there are several, as gRPC writes it.
    method: Name,
}

/// The texts of labels, each of which is shared.
#[derive(Debug, Clone)]
struct Texts {
    /// The names of the status codes; the position is the number of the code.
    codes: Vec<Name>,
    dropped: Name,
    degraded: Name,
    target: Name,
    whole_service: Name,
}

impl Texts {
    fn new() -> Self {
        Self {
            codes: Code::names().map(Name::from).collect(),
            dropped: Outcome::Dropped.name().into(),
            degraded: Outcome::Degraded.name().into(),
            target: TARGET.into(),
            whole_service: WHOLE_SERVICE.into(),
        }
    }

    fn code(&self, code: Code) -> &Name {
        &self.codes[code as usize]
    }

    fn outcome(&self, outcome: Outcome) -> &Name {
        match outcome {
            Outcome::Status(code) => self.code(code),
            Outcome::Dropped => &self.dropped,
            Outcome::Degraded => &self.degraded,
        }
    }
}

impl Observer {
    /// Creates the metrics of a process of which nothing is known before it happens, such as a proxy.
    pub fn of_process() -> Self {
        Self { series: Series::default(), calls: Calls::default(), texts: Texts::new(), method: "other".into() }
    }

    /// Creates the metrics of a run of `scenario` on its own servers, with zeros for what has not happened yet.
    pub fn of_run(scenario: &Scenario, seed: u64, world: &str) -> Self {
        let servers: Vec<Name> = scenario.server_names().map(Name::from).collect();
        let called = &servers[..scenario.servers.replicas];
        let mut observer = Self::of_load(scenario, called, seed, world);
        for (index, server) in servers.iter().enumerate() {
            let Servers { workers, queue, .. } = scenario.servers_of(index);
            observer.add_server(server, *workers, *queue);
        }
        observer
    }

    /// Creates the metrics of a load on servers with these names that run already.
    pub fn of_load(scenario: &Scenario, servers: &[Name], seed: u64, world: &str) -> Self {
        let mut observer = Self { method: method(&scenario.workload).into(), ..Self::of_process() };
        let Self { series, texts, .. } = &mut observer;
        let policies = &scenario.client.policies;
        series.set(Family::RunInfo, &[scenario.name.as_str().into(), seed.to_string().into(), world.into()], 1);
        series.set(Family::RequestsInFlight, &[], 0);
        series.set(Family::RequestsInFlightLimit, &[], whole(scenario.load.max_in_flight));
        if let Some(bulkhead) = &policies.bulkhead {
            series.set(Family::AttemptsInFlightLimit, &[], whole(bulkhead.max_concurrent_calls));
        }
        if scenario.store().is_some() {
            series.set(Family::StoreUp, &[], 1);
        }
        for family in [Family::RequestsDropped, Family::Failovers, Family::WrongResults] {
            series.add(family, &[], 0);
        }
        let kinds: Vec<Option<Name>> = match &scenario.load.request[..] {
            [] => vec![None],
            kinds => kinds.iter().map(|kind| Some(kind.name.as_str().into())).collect(),
        };
        for status in texts.codes.iter().chain([&texts.dropped, &texts.degraded]) {
            kinds
                .iter()
                .for_each(|kind| with_kind(status, kind.as_ref(), |labels| series.add(Family::Requests, labels, 0)));
        }
        for server in servers {
            series.set(Family::AttemptsInFlight, std::slice::from_ref(server), 0);
            series.set(Family::ServerHealthy, std::slice::from_ref(server), 1);
            series.set(Family::ServerConnected, std::slice::from_ref(server), 0);
            if policies.outlier_detection.is_some() {
                series.set(Family::ServerEjected, std::slice::from_ref(server), 0);
            }
        }
        match policies.circuit_breaker.as_ref().map(|breaker| breaker.scope) {
            Some(Scope::Server) => servers.iter().for_each(|server| observer.set_breaker(server, "closed")),
            Some(Scope::Service) => observer.set_breaker(&WHOLE_SERVICE.into(), "closed"),
            None => {}
        }
        observer
    }

    /// Adds a server with this number of workers and of places in its queue.
    pub fn add_server(&mut self, server: &Name, workers: usize, queue: usize) {
        let label = std::slice::from_ref(server);
        self.series.set(Family::Workers, label, whole(workers));
        self.series.set(Family::QueueLimit, label, whole(queue));
        self.series.set(Family::ServerUp, label, 1);
        self.series.add(Family::ServerRestarts, label, 0);
        self.set_levels(server, 0, 0);
    }

    /// Adds the detectors of anomalies, with no alarm yet.
    pub fn add_detectors(&mut self) {
        for detector in DetectorName::all() {
            let label = [detector.to_string().into()];
            self.series.set(Family::AlarmActive, &label, 0);
            self.series.add(Family::AlarmsRaised, &label, 0);
        }
    }

    /// Notes that an alarm is raised, or that it ends.
    pub fn take_alarm(&mut self, alarm: &LiveAlarm) {
        let label = [alarm.detector.to_string().into()];
        let is_raised = alarm.change == AlarmChange::Raised;
        self.series.set(Family::AlarmActive, &label, is_raised.into());
        self.series.add(Family::AlarmsRaised, &label, is_raised.into());
    }

    /// Notes that so many more rows were delivered to a broker and dropped, and how many wait.
    pub fn take_delivery(&mut self, delivered: u64, dropped: u64, waiting: u64) {
        self.series.add(Family::RowsDelivered, &[], delivered);
        self.series.add(Family::RowsDropped, &[], dropped);
        self.series.set(Family::RowsWaiting, &[], i64::try_from(waiting).unwrap_or(i64::MAX));
    }

    /// Adds a proxy of this name.
    pub fn add_proxy(&mut self, proxy: &Name) {
        self.series.set(Family::ProxyConnectionsOpen, std::slice::from_ref(proxy), 0);
        for result in ["passed", "reset"] {
            self.series.add(Family::ProxyConnections, &[proxy.clone(), result.into()], 0);
        }
    }

    /// Returns the present value of every series.
    pub fn series(&self) -> &Series {
        &self.series
    }

    /// Consumes a row.
    pub fn take(&mut self, row: &Row) {
        match row {
            Row::Request(row) => self.take_request(row),
            Row::Attempt(row) => self.take_attempt(row),
            Row::Event(row) if row.is_of_load() => self.take_event(row),
            // Metrics of clients are those of the load.
            Row::Event(_) | Row::Call(_) => {}
        }
    }

    /// Consumes the end of a request.
    pub fn take_request(&mut self, row: &RequestRow) {
        let Self { series, calls, texts, method } = self;
        let status = texts.outcome(row.status).clone();
        with_kind(&status, row.kind.as_ref(), |labels| series.add(Family::Requests, labels, 1));
        let (Some(sent_us), Some(done_us)) = (row.sent_us, row.done_us) else {
            series.add(Family::RequestsDropped, &[], 1);
            return;
        };
        let duration_us = done_us.saturating_sub(row.intended_us);
        with_kind(&status, row.kind.as_ref(), |labels| series.observe(Family::RequestDuration, labels, duration_us));
        // What the caller of the channel sees; a degraded answer is one that it takes for OK.
        let code = match row.status {
            Outcome::Status(code) => code,
            Outcome::Dropped | Outcome::Degraded => Code::Ok,
        };
        let channel = [method.clone(), texts.target.clone()];
        let labels = [method.clone(), texts.target.clone(), texts.code(code).clone()];
        series.observe(Family::CallDuration, &labels, done_us.saturating_sub(sent_us));
        series.add(Family::Failovers, &[], row.failovers.into());
        let call = calls.end(row);
        let retries = u64::from(row.attempts.saturating_sub(1).saturating_sub(row.hedges));
        for (family, value) in [
            (Family::CallRetries, retries),
            (Family::CallHedges, row.hedges.into()),
            (Family::CallTransparentRetries, call.transparent_retries),
            (Family::CallRetryDelay, call.idle_us),
        ] {
            // A96: a call without any is not counted.
            if value > 0 {
                series.observe(family, &channel, value);
            }
        }
        series.set(Family::RequestsInFlight, &[], whole(calls.count()));
    }

    /// Consumes the end of an attempt.
    pub fn take_attempt(&mut self, row: &AttemptRow) {
        let labels = self.of_attempt(row.status, &row.server);
        self.series.observe(Family::AttemptDuration, &labels, row.end_us.saturating_sub(row.start_us));
        if self.calls.attempt_ends(row.request, row.attempt, row.end_us) {
            self.series.change(Family::AttemptsInFlight, std::slice::from_ref(&row.server), -1);
        }
    }

    /// Consumes an event.
    pub fn take_event(&mut self, row: &EventRow) {
        match row.event {
            Event::FaultStart | Event::FaultEnd => self.take_fault(row),
            Event::Finished | Event::Skipped | Event::Refused | Event::Aborted | Event::Cancelled => {
                let outcome: &'static str = row.event.into();
                self.series.add(Family::ServerRequests, &[row.source.clone(), outcome.into()], 1);
            }
            Event::Listening => {
                let server = row.target.as_ref().unwrap_or(&row.source).clone();
                self.set_levels(&server, 0, 0);
                self.series.set(Family::ServerUp, &[server], 1);
            }
            Event::Pick | Event::TransparentRetry | Event::Queued | Event::Backoff | Event::CacheHit => {
                self.take_progress(row);
            }
            Event::Rejected => self.count_cause(Family::Rejected, row),
            Event::Throttled => self.count_cause(Family::Throttled, row),
            Event::Fallback => self.count_cause(Family::Fallbacks, row),
            Event::StoreFailed => self.count_cause(Family::StoreFailures, row),
            Event::StoreLost => self.series.set(Family::StoreUp, &[], 0),
            Event::StoreRestored => self.series.set(Family::StoreUp, &[], 1),
            Event::WrongResult => self.series.add(Family::WrongResults, &[], 1),
            _ => self.take_server_state(row),
        }
    }

    /// Counts what happens to a call at a server, or to an attempt of the load.
    pub fn take_moment(&mut self, server: &Name, what: &CallMoment) {
        let label = std::slice::from_ref(server);
        match what {
            // Metrics of clients are those of the load.
            CallMoment::AttemptEnded { .. } | CallMoment::Unenforced { .. } if *server != CLIENT => {}
            CallMoment::AttemptEnded { server, status, bytes } => {
                let labels = self.of_attempt(*status, server);
                self.series.observe(Family::AttemptSentBytes, &labels, bytes.sent);
                self.series.observe(Family::AttemptReceivedBytes, &labels, bytes.received);
            }
            CallMoment::Unenforced { server, method, reason } => self.add_unenforced([method, reason, server], 1),
            CallMoment::Arrived { method } => self.add_started(method, server, 1),
            CallMoment::Queued => self.series.change(Family::QueueLength, label, 1),
            CallMoment::Taken => {
                self.series.change(Family::QueueLength, label, -1);
                self.series.change(Family::BusyWorkers, label, 1);
            }
            CallMoment::Left => self.series.change(Family::BusyWorkers, label, -1),
            CallMoment::Ended { method, status, duration_us, bytes } => {
                let labels = self.of_call(method, *status, server);
                self.series.observe(Family::ServerCallDuration, &labels, *duration_us);
                self.series.observe(Family::ServerCallSentBytes, &labels, bytes.sent);
                self.series.observe(Family::ServerCallReceivedBytes, &labels, bytes.received);
            }
        }
    }

    /// Adds what another process has measured of its calls, as `server`.
    pub fn take_measured(&mut self, server: &Name, measured: &Measured) {
        for (method, calls) in &measured.started {
            self.add_started(method, server, *calls);
        }
        for ((method, status), ended) in measured.ended() {
            let labels = self.of_call(method, *status, server);
            self.series.merge(Family::ServerCallDuration, &labels, &ended.durations);
            self.series.merge(Family::ServerCallSentBytes, &labels, &ended.sizes.sent);
            self.series.merge(Family::ServerCallReceivedBytes, &labels, &ended.sizes.received);
        }
        self.set_levels(server, measured.queued, measured.busy);
    }

    /// Adds what the process of the load has measured of its attempts.
    pub fn take_measured_attempts(&mut self, measured: &Measured) {
        for ((server, status), sizes) in measured.attempts() {
            let labels = self.of_attempt(*status, server);
            self.series.merge(Family::AttemptSentBytes, &labels, &sizes.sent);
            self.series.merge(Family::AttemptReceivedBytes, &labels, &sizes.received);
        }
        for ((server, method, reason), count) in measured.unenforced() {
            self.add_unenforced([method, reason, server], *count);
        }
    }

    /// Notes that the process of a server has ended, and its calls with it.
    pub fn server_ends(&mut self, server: &Name) {
        self.set_levels(server, 0, 0);
        self.series.set(Family::ServerUp, std::slice::from_ref(server), 0);
    }

    /// Notes which kinds of faults are active on `target` now, and that one of the kind `begins` has just begun.
    pub fn set_faults(&mut self, target: &str, active: &[&str], begins: Option<&str>) {
        for kind in active {
            self.series.set(Family::FaultActive, &[(*kind).into(), (*kind).into(), target.into()], 1);
        }
        if let Some(kind) = begins {
            self.series.add(Family::FaultsBegun, &[kind.into(), kind.into(), target.into()], 1);
        }
        let all = self.series.of_family(Family::FaultActive);
        let over: Vec<_> = all.filter(|(labels, _)| !active.contains(&&*labels[1])).map(|(l, _)| l.to_vec()).collect();
        over.iter().for_each(|labels| self.series.set(Family::FaultActive, labels, 0));
    }

    /// Notes that a fault of `kind` on `target`, called `fault`, has begun, or has ended.
    pub fn set_fault(&mut self, fault: &str, kind: &str, target: &str, is_active: bool) {
        let labels = [fault.into(), kind.into(), target.into()];
        self.series.set(Family::FaultActive, &labels, is_active.into());
        self.series.add(Family::FaultsBegun, &labels, is_active.into());
    }

    /// Counts a connection of a proxy that begins or, `by` −1, ends.
    pub fn change_proxy(&mut self, proxy: &Name, by: i64) {
        self.series.change(Family::ProxyConnectionsOpen, std::slice::from_ref(proxy), by);
    }

    /// Counts a connection of a proxy with its `result`: `passed` or `reset`.
    pub fn count_proxy(&mut self, proxy: &Name, result: &str) {
        self.series.add(Family::ProxyConnections, &[proxy.clone(), result.into()], 1);
    }

    /// Returns the labels of an attempt of the load at `server` that has ended with `status`.
    fn of_attempt(&self, status: Code, server: &Name) -> [Name; 4] {
        [self.method.clone(), self.texts.target.clone(), self.texts.code(status).clone(), server.clone()]
    }

    /// Returns the labels of a call to `method` that has ended with `status` at `server`.
    fn of_call(&self, method: &Name, status: Code, server: &Name) -> [Name; 3] {
        [method.clone(), self.texts.code(status).clone(), server.clone()]
    }

    fn add_started(&mut self, method: &Name, server: &Name, calls: u64) {
        self.series.add(Family::ServerCallStarted, &[method.clone(), server.clone()], calls);
    }

    fn add_unenforced(&mut self, found: [&Name; 3], count: u64) {
        let [method, reason, server] = found.map(Name::clone);
        self.series.add(Family::EjectionsUnenforced, &[self.texts.target.clone(), method, reason, server], count);
    }

    fn set_levels(&mut self, server: &Name, queued: i64, busy: i64) {
        self.series.set(Family::QueueLength, std::slice::from_ref(server), queued);
        self.series.set(Family::BusyWorkers, std::slice::from_ref(server), busy);
    }

    fn set_breaker(&mut self, server: &Name, state: &str) {
        for (_, name) in BREAKER_STATES {
            self.series.set(Family::BreakerState, &[server.clone(), name.into()], (name == state).into());
        }
    }

    fn count_cause(&mut self, family: Family, row: &EventRow) {
        self.series.add(family, &[row.cause.as_deref().unwrap_or_default().into()], 1);
    }

    fn take_fault(&mut self, row: &EventRow) {
        let (Some(fault), Some(target)) = (row.fault, &row.target) else { return };
        let fault = fault.to_string();
        if row.event == Event::FaultStart {
            let kind = row.cause.as_deref().unwrap_or_default();
            self.set_fault(&fault, kind, target, true);
            if kind == "crash" {
                // Its calls are gone with the process.
                self.set_levels(target, 0, 0);
                self.series.set(Family::ServerUp, std::slice::from_ref(target), 0);
            }
            return;
        }
        // The end of a fault need not say of which kind it is.
        let began =
            self.series.of_family(Family::FaultActive).find(|(labels, _)| labels[0] == fault && labels[2] == *target);
        if let Some(labels) = began.map(|(labels, _)| labels.to_vec()) {
            self.series.set(Family::FaultActive, &labels, 0);
        }
    }

    /// Consumes an event of a call under way.
    fn take_progress(&mut self, row: &EventRow) {
        let Some(request) = row.request else { return };
        let Self { series, calls, texts, method } = self;
        calls.begin(request);
        series.set(Family::RequestsInFlight, &[], whole(calls.count()));
        match (row.event, &row.target, row.attempt) {
            (Event::Pick, Some(server), Some(attempt)) => {
                series.add(Family::AttemptStarted, &[method.clone(), texts.target.clone(), server.clone()], 1);
                if calls.attempt_begins(request, attempt, row.at_us) {
                    series.change(Family::AttemptsInFlight, std::slice::from_ref(server), 1);
                }
            }
            (Event::TransparentRetry, Some(server), Some(attempt)) => {
                if calls.attempt_ends(request, attempt, row.at_us) {
                    series.change(Family::AttemptsInFlight, std::slice::from_ref(server), -1);
                }
                calls.sent_again(request);
            }
            (Event::Queued, ..) => self.count_cause(Family::Waits, row),
            (Event::CacheHit, ..) => self.count_cause(Family::CacheHits, row),
            _ => {}
        }
    }

    /// Consumes an event about how the client sees a server.
    fn take_server_state(&mut self, row: &EventRow) {
        if let Some((_, state)) = BREAKER_STATES.iter().find(|(event, _)| *event == row.event) {
            let server = row.target.clone().unwrap_or_else(|| self.texts.whole_service.clone());
            return self.set_breaker(&server, state);
        }
        let Some(server) = &row.target else { return };
        let label = std::slice::from_ref(server);
        let Self { series, texts, .. } = self;
        let channel = [texts.target.clone(), server.clone()];
        match row.event {
            Event::Ejected => {
                let method = Detection::method_of(row.cause.as_deref().unwrap_or_default());
                series.add(Family::EjectionsEnforced, &[texts.target.clone(), method.into(), server.clone()], 1);
                series.set(Family::ServerEjected, label, 1);
            }
            Event::Unejected => series.set(Family::ServerEjected, label, 0),
            Event::Unhealthy => series.set(Family::ServerHealthy, label, 0),
            Event::Healthy => series.set(Family::ServerHealthy, label, 1),
            Event::Restart => series.add(Family::ServerRestarts, label, 1),
            Event::Ready => {
                series.add(Family::ConnectionsSucceeded, &channel, 1);
                series.set(Family::ServerConnected, label, 1);
            }
            Event::TransientFailure => {
                series.add(Family::ConnectionsFailed, &channel, 1);
                series.set(Family::ServerConnected, label, 0);
            }
            Event::Idle => {
                if series
                    .of_family(Family::ServerConnected)
                    .any(|(own, value)| own == label && *value == Value::Level(1))
                {
                    series.add(Family::Disconnections, &channel, 1);
                }
                series.set(Family::ServerConnected, label, 0);
            }
            _ => {}
        }
    }
}

/// Calls `change` with the labels of a status and, if there is one, of a kind of requests.
fn with_kind(status: &Name, kind: Option<&Name>, change: impl FnOnce(&[Name])) {
    match kind {
        None => change(std::slice::from_ref(status)),
        Some(kind) => change(&[status.clone(), kind.clone()]),
    }
}

/// Returns the full name of the method that the load of a workload calls.
fn method(workload: &Workload) -> &'static str {
    match workload {
        Workload::Sobel(images) if images.tiles.is_some() => "rehearsal.v1.Rehearsal/ProcessImages",
        Workload::Sobel(_) => "rehearsal.v1.Rehearsal/ProcessImage",
        Workload::Dfs(_) => "rehearsal.v1.Rehearsal/SearchGraph",
        Workload::Backend(_) => "rehearsal.v1.Rehearsal/GetData",
        Workload::App(_) => "other",
    }
}

fn whole(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
