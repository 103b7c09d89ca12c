//! `[servers]`: the replicas that serve.

use std::{ops::Range, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use crate::settings::{
    limits,
    problem::Problem,
    table::TableReader,
    table_macro::{NOT_DRAWN, table},
};

table! {
    /// `[servers]`: identical replicas.
    Servers {
        /// Number of replicas, which are called `server-0`, `server-1` and so on.
        replicas: usize = 2, limits::REPLICAS, NOT_DRAWN;
        /// Requests that one replica computes at once.
        workers: usize = 2, limits::WORKERS, &["1", "2", "8"];
        /// Requests that wait for a worker in one replica; one more is answered RESOURCE_EXHAUSTED.
        queue: usize = 64, limits::QUEUE, &["0", "1", "8", "1000"];
        /// Time from a crash until a supervisor starts the replica again; without it, a crashed replica stays down.
        restart_after: Option<Duration> = None, limits::WAIT, NOT_DRAWN;
        /// The least time that a request holds its worker.
        service_time_min: Duration = Duration::ZERO, limits::WAIT, &["\"0ms\"", "\"1ms\"", "\"20ms\"", "\"200ms\""];
        /// Age at which a replica ends a connection with a GOAWAY, give or take a tenth (gRPC A9); without it, connections last.
        max_connection_age: Option<Duration> = None, limits::DURATION, NOT_DRAWN;
        /// Time after that in which the calls under way on it finish; without it, they have as long as they need.
        max_connection_age_grace: Option<Duration> = None, limits::WAIT, NOT_DRAWN;
        + tables {
            /// Limits beyond which a replica refuses requests although its queue has room.
            admission: Admission, NOT_DRAWN;
            /// How the queue adapts to an overload.
            adaptive_queue: AdaptiveQueue, NOT_DRAWN;
        }
    }
    settle = admission_fits;
}

table! {
    /// `[servers.admission]`: what a replica refuses although its queue has room (the SRE book's load shedding).
    #[derive(Eq, Serialize, Deserialize)]
    Admission {
        /// Requests running and waiting in one replica.
        max_concurrent_requests: Option<usize> = None, limits::COUNT_SOME, &["1", "2", "10"];
        /// Time in the queue after which a request is refused when a worker gets to it.
        max_queue_time: Option<Duration> = None, limits::DURATION, &["\"1ms\"", "\"50ms\"", "\"1s\""];
        /// Time that a refusal asks its caller to wait, in whole milliseconds, rounded up (gRPC A6's pushback).
        retry_pushback: Option<Duration> = None, limits::WAIT, &["\"0ms\"", "\"1ms\"", "\"300ms\"", "\"10s\""];
    }
}

table! {
    /// `[servers.adaptive_queue]`: a queue that adapts to an overload (controlled delay and adaptive LIFO).
    #[derive(Copy, Eq)]
    AdaptiveQueue {
        /// Time after which a queue that has not been empty counts as standing; how long a request may wait before that.
        interval: Duration = Duration::from_millis(100), limits::DURATION, &["\"50ms\"", "\"1s\""];
        /// Time that a request may wait that arrives at a standing queue.
        target: Duration = Duration::from_millis(5), limits::DURATION, &["\"1ms\"", "\"50ms\""];
        /// A request that has waited longer than that is refused when a worker gets to it (controlled delay).
        drop_late: bool = true, (), NOT_DRAWN;
        /// Workers take the newest request first while the queue is standing (adaptive LIFO).
        newest_first: bool = true, (), &["true"];
    }
    settle = refuse_plain;
}

/// Refuses a table that does nothing.
fn refuse_plain(queue: AdaptiveQueue, table: &TableReader<'_, '_>) -> Result<AdaptiveQueue, Problem> {
    table.ordered(("target", queue.target), ("interval", queue.interval))?;
    if queue.drop_late || queue.newest_first {
        return Ok(queue);
    }
    let message = "`drop_late` and `newest_first` are both false, which is a queue as any";
    Err(Problem::new(table.span("drop_late"), message).help("set one of them to true, or leave the table out"))
}

/// Checks that the admission limits are within the room of a replica: beyond it they would limit nothing.
fn admission_fits(servers: Servers, table: &TableReader<'_, '_>) -> Result<Servers, Problem> {
    if let (Some(span), Some(AdaptiveQueue { drop_late: true, .. })) =
        (table.table("admission").span("max_queue_time"), servers.adaptive_queue)
    {
        let message = "`max_queue_time` and [servers.adaptive_queue] are two limits on the time in the queue";
        let help = "leave one of them out, or write drop_late = false in [servers.adaptive_queue]";
        return Err(Problem::at(span, message).help(help));
    }
    let limit = servers.admission.as_ref().and_then(|admission| admission.max_concurrent_requests);
    let room = servers.workers + servers.queue;
    match (table.table("admission").span("max_concurrent_requests"), limit) {
        (Some(span), Some(limit)) if limit > room => {
            let message = format!(
                "`max_concurrent_requests` of {limit} limits nothing: [servers] workers = {} and queue = {} have room for {room}",
                servers.workers, servers.queue
            );
            Err(Problem::at(span, message).help("lower it, or raise `queue`"))
        }
        _ => Ok(servers),
    }
}

/// Returns the name of the server at `index`, in scenario files and in records.
pub fn server_name(index: usize) -> String {
    format!("server-{index}")
}

/// The name of the load among those that call servers.
pub const LOAD: &str = "client";

/// A caller of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Caller {
    /// The load.
    Load,
    /// The processes of the service at this position among `[[service]]`.
    Service(usize),
}

/// The names of the servers, by their indices. Its clones share them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct ServerNames {
    /// The services and the number of their replicas; empty if there is one group of servers.
    services: Arc<[(String, usize)]>,
    /// Number of all servers.
    replicas: usize,
}

impl ServerNames {
    /// Returns the names of the servers of one group, `server-0` and so on.
    pub fn of_group(replicas: usize) -> Self {
        Self { services: Arc::default(), replicas }
    }

    /// Returns the names of the servers of services with these names and numbers of replicas.
    pub(crate) fn of_services(services: impl IntoIterator<Item = (String, usize)>) -> Self {
        let services: Arc<[_]> = services.into_iter().collect();
        let replicas = services.iter().map(|(_, replicas)| replicas).sum();
        Self { services, replicas }
    }

    /// Returns the number of servers.
    pub fn len(&self) -> usize {
        self.replicas
    }

    /// Returns the number of servers that the load calls, which are the first ones: all of one group, or those of the first service.
    pub fn called(&self) -> usize {
        self.services.first().map_or(self.replicas, |(_, replicas)| *replicas)
    }

    /// Returns whether there is no server.
    pub fn is_empty(&self) -> bool {
        self.replicas == 0
    }

    /// Returns whether they are those of several services.
    pub fn has_services(&self) -> bool {
        !self.services.is_empty()
    }

    /// Returns the name of the server at `index`, such as `server-0`, or `stock-0` of a service.
    pub fn name(&self, index: usize) -> String {
        match self.place(index) {
            Some((service, replica)) => format!("{}-{replica}", self.services[service].0),
            None => server_name(index),
        }
    }

    /// Returns the names, in the order of the indices.
    pub fn all(&self) -> impl Iterator<Item = String> + use<> {
        let names = self.clone();
        (0..self.replicas).map(move |index| names.name(index))
    }

    /// Returns the name of who calls.
    pub(crate) fn caller(&self, caller: Caller) -> String {
        match caller {
            Caller::Load => LOAD.to_owned(),
            Caller::Service(service) => {
                self.services.get(service).map_or_else(|| format!("service {service}"), |(name, _)| name.clone())
            }
        }
    }

    /// Returns who has this name among those that call: the load, or a service.
    pub(crate) fn named_caller(&self, name: &str) -> Option<Caller> {
        if name == LOAD {
            return Some(Caller::Load);
        }
        self.services.iter().position(|(service, _)| service == name).map(Caller::Service)
    }

    /// Returns the indices of the servers of `service`.
    pub(crate) fn of_service(&self, service: &str) -> Option<Range<usize>> {
        let place = self.services.iter().position(|(name, _)| name == service)?;
        let first = self.services[..place].iter().map(|(_, replicas)| replicas).sum();
        Some(first..first + self.services[place].1)
    }

    /// Returns the service of the server at `index`, by its position, and the number of the replica there; `None` of one group of servers.
    pub(crate) fn place(&self, index: usize) -> Option<(usize, usize)> {
        let mut rest = index;
        for (service, (_, replicas)) in self.services.iter().enumerate() {
            if rest < *replicas {
                return Some((service, rest));
            }
            rest -= replicas;
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use crate::scenario::Scenario;

    /// Reads a scenario whose replicas have room for three requests and admit `limit`.
    fn admits(limit: usize) -> bool {
        let text = format!(
            "name = \"x\"\nduration = \"1s\"\n[load]\nrate = 1\n[servers]\nworkers = 1\nqueue = 2\n[servers.admission]\n\
             max_concurrent_requests = {limit}\n"
        );
        Scenario::parse("x.toml", &text, &[]).is_ok()
    }

    #[test]
    fn a_limit_of_requests_is_within_the_room_for_them() {
        assert_eq!([1, 2, 3, 4, 5].map(admits), [true, true, true, false, false]);
    }
}
