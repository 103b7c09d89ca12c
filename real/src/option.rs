//! Values of command-line options, in the notation of scenario files and within the same bounds.

mod backend;

use std::{fmt::Display, ops::RangeInclusive, str::FromStr, time::Duration};

use clap::Args;
use kernel::{
    scenario::{Backend, Servers, Size, bandwidth, duration, limits},
    server::{AdaptiveQueue, Admission, ReplicaSettings},
};

pub(crate) use backend::{BackendArgs, failure_status};

/// Options for the capacity of a server. The defaults are those of `[servers]` in scenarios.
#[derive(Debug, Clone, Args)]
pub(crate) struct Capacity {
    /// The number of requests that the server works on at once; the others wait.
    #[arg(long, default_value_t = Servers::default().workers, value_parser = workers)]
    workers: usize,

    /// The most requests that wait; a further one is answered RESOURCE_EXHAUSTED.
    #[arg(long, default_value_t = Servers::default().queue, value_parser = queue)]
    queue: usize,

    /// The least time that a request takes, such as 50ms.
    #[arg(long, value_parser = wait, value_name = "TIME")]
    service_time_min: Option<Duration>,

    /// The age at which a connection is ended with a GOAWAY, give or take a tenth.
    #[arg(long, value_parser = span, value_name = "TIME")]
    max_connection_age: Option<Duration>,

    /// The time after that in which the calls under way on it finish.
    #[arg(long, value_parser = wait, value_name = "TIME", requires = "max_connection_age")]
    max_connection_age_grace: Option<Duration>,

    /// The most requests that run and wait; a further one is answered RESOURCE_EXHAUSTED.
    #[arg(long, value_parser = count)]
    max_concurrent_requests: Option<usize>,

    /// The longest time that a request waits; after it, it is answered RESOURCE_EXHAUSTED.
    #[arg(long, value_parser = span, value_name = "TIME")]
    max_queue_time: Option<Duration>,

    /// The time that such an answer asks the client to wait before another attempt.
    #[arg(long, value_parser = wait, value_name = "TIME")]
    retry_pushback: Option<Duration>,

    /// The time after which a queue that has not been empty counts as standing; it then adapts.
    #[arg(long, value_parser = span, value_name = "TIME")]
    queue_interval: Option<Duration>,

    /// The time that a request may wait that arrives at a standing queue.
    #[arg(long, value_parser = span, value_name = "TIME", requires = "queue_interval")]
    queue_target: Option<Duration>,

    /// Takes the newest request first while the queue is standing.
    #[arg(long, requires = "queue_interval")]
    newest_first: bool,
}

impl Capacity {
    /// The options for the servers of a scenario.
    pub(crate) fn from_settings(servers: &Servers) -> Self {
        let Servers { workers, queue, service_time_min, max_connection_age, max_connection_age_grace, .. } = *servers;
        let Admission { max_concurrent_requests, max_queue_time, retry_pushback } =
            servers.admission.clone().unwrap_or_default();
        Self {
            workers,
            queue,
            service_time_min: Some(service_time_min),
            max_connection_age,
            max_connection_age_grace: max_connection_age_grace.filter(|_| max_connection_age.is_some()),
            max_concurrent_requests,
            max_queue_time,
            retry_pushback,
            queue_interval: servers.adaptive_queue.map(|queue| queue.interval),
            queue_target: servers.adaptive_queue.filter(|queue| queue.drop_late).map(|queue| queue.target),
            newest_first: servers.adaptive_queue.is_some_and(|queue| queue.newest_first),
        }
    }

    /// The words of a command line with these options.
    pub(crate) fn to_words(&self) -> Vec<String> {
        let options = [
            ("--workers", Some(self.workers.to_string())),
            ("--queue", Some(self.queue.to_string())),
            ("--service-time-min", self.service_time_min.map(duration::text)),
            ("--max-connection-age", self.max_connection_age.map(duration::text)),
            ("--max-connection-age-grace", self.max_connection_age_grace.map(duration::text)),
            ("--max-concurrent-requests", self.max_concurrent_requests.map(|most| most.to_string())),
            ("--max-queue-time", self.max_queue_time.map(duration::text)),
            ("--retry-pushback", self.retry_pushback.map(duration::text)),
            ("--queue-interval", self.queue_interval.map(duration::text)),
            ("--queue-target", self.queue_target.map(duration::text)),
        ];
        let given = options.into_iter().filter_map(|(option, value)| Some([option.to_owned(), value?]));
        given.flatten().chain(self.newest_first.then(|| "--newest-first".to_owned())).collect()
    }

    /// The settings of a server with these options and this backend.
    pub(crate) fn settings(&self, backend: Backend) -> ReplicaSettings {
        let admission = Admission {
            max_concurrent_requests: self.max_concurrent_requests,
            max_queue_time: self.max_queue_time,
            retry_pushback: self.retry_pushback,
        };
        ReplicaSettings {
            workers: self.workers,
            queue: self.queue,
            service_time_min: self.service_time_min.unwrap_or(Servers::default().service_time_min),
            max_connection_age: self.max_connection_age,
            max_connection_age_grace: self.max_connection_age_grace,
            admission: (admission != Admission::default()).then_some(admission),
            adaptive_queue: self.queue_interval.map(|interval| AdaptiveQueue {
                interval,
                target: self.queue_target.unwrap_or_else(|| AdaptiveQueue::default().target.min(interval)),
                drop_late: self.queue_target.is_some(),
                newest_first: self.newest_first,
            }),
            backend,
            kinds: Vec::new(),
        }
    }
}

fn workers(text: &str) -> Result<usize, String> {
    within(text, &limits::WORKERS)
}

fn queue(text: &str) -> Result<usize, String> {
    within(text, &limits::QUEUE)
}

/// Parses a count that is not zero.
pub(crate) fn count(text: &str) -> Result<usize, String> {
    within(text, &limits::COUNT_SOME)
}

/// Parses a number of requests per second.
pub(crate) fn rate(text: &str) -> Result<f64, String> {
    within(text, &limits::RATE)
}

/// Parses a probability.
pub(crate) fn share(text: &str) -> Result<f64, String> {
    within(text, &limits::SHARE)
}

/// Parses a share that is not zero.
pub(crate) fn some_share(text: &str) -> Result<f64, String> {
    within(text, &limits::SHARE_SOME)
}

/// Parses a factor of service times.
pub(crate) fn slow_factor(text: &str) -> Result<f64, String> {
    within(text, &limits::SLOW_FACTOR)
}

/// Parses a number of bits per second.
pub(crate) fn bit_rate(text: &str) -> Result<u64, String> {
    let rate = bandwidth::parse(text).map_err(|error| error.to_string())?;
    if limits::BANDWIDTH.contains(&rate) { Ok(rate) } else { Err("nothing would pass; see `partition`".to_owned()) }
}

/// Parses a time that can be zero.
pub(crate) fn wait(text: &str) -> Result<Duration, String> {
    time_within(text, &limits::WAIT)
}

/// Parses a time longer than zero.
pub(crate) fn span(text: &str) -> Result<Duration, String> {
    time_within(text, &limits::DURATION)
}

/// Parses the size of an image.
pub(crate) fn size(text: &str) -> Result<Size, String> {
    let size: Size = text.parse().map_err(|error: kernel::scenario::SizeError| error.to_string())?;
    let fits = [size.width, size.height].iter().all(|side| limits::SIDE.contains(side));
    if fits && size.pixels() <= limits::PIXELS_MAX {
        return Ok(size);
    }
    Err(format!("a side has {} to {} pixels, all of it at most 4096x4096", limits::SIDE.start(), limits::SIDE.end()))
}

/// Parses the id of a server or proxy. It becomes part of file names, and must differ from every port.
pub(crate) fn id(text: &str) -> Result<String, String> {
    let is_plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c));
    if text.is_empty() || text.len() > limits::NAME_LEN_MAX || !is_plain {
        return Err(format!("1 to {} letters, digits, `-` and `_`, such as server-0", limits::NAME_LEN_MAX));
    }
    if text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("a number would be taken for a port; put a letter into it, such as server-0".to_owned());
    }
    Ok(text.to_owned())
}

fn time_within(text: &str, limits: &RangeInclusive<Duration>) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    if limits.contains(&time) {
        return Ok(time);
    }
    let longest = duration::text(*limits.end());
    Err(if time.is_zero() { "it must be longer than 0s".to_owned() } else { format!("it is {longest} at most") })
}

fn within<T: FromStr + PartialOrd + Display>(text: &str, limits: &RangeInclusive<T>) -> Result<T, String> {
    let value = text.parse().ok().filter(|value| limits.contains(value));
    value.ok_or_else(|| format!("a number from {} to {} is wanted", limits.start(), limits.end()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_have_the_bounds_of_scenario_files() {
        assert_eq!(wait("0s"), Ok(Duration::ZERO));
        assert_eq!(span("0s"), Err("it must be longer than 0s".to_owned()));
        assert_eq!(span("25h"), Err("it is 24h at most".to_owned()));
        assert!(span("10").is_err_and(|message| message.contains("has no unit")));
        assert_eq!(rate("0"), Err("a number from 0.001 to 1000000 is wanted".to_owned()));
        assert!(rate("nan").is_err() && share("1.1").is_err() && bit_rate("0").is_err() && size("5000x5000").is_err());
        assert_eq!(size("16x8"), Ok(Size { width: 16, height: 8 }));
    }

    #[test]
    fn an_id_is_no_port_and_no_path() {
        assert_eq!(id("server-0"), Ok("server-0".to_owned()));
        for wrong in ["", "50051", "../x", "a b", "ä", &"x".repeat(65)] {
            assert!(id(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn capacity_survives_a_command_line() {
        use clap::Parser;
        use kernel::scenario::Workload;
        #[derive(Parser)]
        struct Line {
            #[command(flatten)]
            capacity: Capacity,
        }
        let servers =
            Servers { workers: 3, queue: 0, service_time_min: Duration::from_micros(1_500), ..Default::default() };
        let admission = Admission { max_queue_time: Some(Duration::from_millis(80)), ..Default::default() };
        let adaptive_queue = Some(AdaptiveQueue::default());
        let servers = Servers { admission: Some(admission), adaptive_queue, ..servers };
        let words = ["x".to_owned()].into_iter().chain(Capacity::from_settings(&servers).to_words());
        let parsed = Line::parse_from(words).capacity.settings(Backend::default());
        assert_eq!(parsed, ReplicaSettings::new(&servers, &Workload::default()));
        let defaults = Line::parse_from(["x"]).capacity.settings(Backend::default());
        assert_eq!(defaults, ReplicaSettings::new(&Servers::default(), &Workload::default()));
    }
}
