//! A scenario back to TOML: every value, in the order of the format's documentation.

use std::{
    fmt::{self, Display},
    time::Duration,
};

use super::{
    bandwidth, duration,
    keys::KeyTable,
    metric::Unit,
    model::{
        Backend, Balancing, Client, Expectation, Fault, FaultKind, GraphSize, Load, Network, Pictures, Scenario,
        Servers, Workload, server_name,
    },
    names::Named,
};

impl Scenario {
    /// The resolved scenario as a file of its own: defaults are spelt out, durations and bandwidths are in their
    /// canonical form, and `"*"` has become the list of servers. Reading it gives an equal scenario.
    pub fn to_toml(&self) -> String {
        let mut page = Page::default();
        page.key("name", text(&self.name));
        if let Some(question) = &self.question {
            page.key("question", text(question));
        }
        page.key("duration", time(self.duration));
        servers(&mut page, &self.servers);
        workload(&mut page, &self.workload);
        load(&mut page, &self.load);
        network(&mut page, &self.network);
        client(&mut page, &self.client);
        if let Some(menu) = &self.nemesis {
            menu.write(&mut page, "nemesis");
        }
        for one in &self.faults {
            page.header("[[fault]]");
            fault(&mut page, one);
        }
        for one in &self.expectations {
            expectation(&mut page, one);
        }
        page.text
    }
}

/// A file that is being written.
#[derive(Default)]
pub(crate) struct Page {
    text: String,
}

impl Page {
    pub(crate) fn header(&mut self, header: &str) {
        self.text.push_str(&format!("\n{header}\n"));
    }

    pub(crate) fn key(&mut self, key: &str, value: impl Display) {
        self.text.push_str(&format!("{key} = {value}\n"));
    }

    fn time_if_some(&mut self, key: &str, value: Option<Duration>) {
        if let Some(value) = value {
            self.key(key, time(value));
        }
    }
}

fn servers(page: &mut Page, servers: &Servers) {
    page.header("[servers]");
    page.key("replicas", servers.replicas);
    page.key("workers", servers.workers);
    page.key("queue", servers.queue);
    page.time_if_some("restart_after", servers.restart_after);
    page.key("service_time_min", time(servers.service_time_min));
    if let Some(admission) = &servers.admission {
        admission.write(page, "servers.admission");
    }
}

fn workload(page: &mut Page, workload: &Workload) {
    page.header("[workload]");
    page.key("kind", text(workload.name()));
    match workload {
        Workload::Sobel(Pictures::Synthetic(sizes)) => page.key("sizes", list(sizes)),
        Workload::Sobel(Pictures::Files(pattern)) => page.key("images", text(pattern)),
        Workload::Dfs(GraphSize { nodes, edges }) => {
            page.key("nodes", nodes);
            page.key("edges", edges);
        }
        Workload::Backend(Backend { failure_rate, failure_status, hang_rate, delay }) => {
            page.key("failure_rate", number(*failure_rate));
            page.key("failure_status", text(failure_status.name()));
            page.key("hang_rate", number(*hang_rate));
            page.key("delay", time(*delay));
        }
    }
}

fn load(page: &mut Page, load: &Load) {
    page.header("[load]");
    page.key("rate", number(load.rate));
    page.key("arrivals", text(load.arrivals.name()));
    page.key("max_in_flight", load.max_in_flight);
}

fn network(page: &mut Page, network: &Network) {
    page.header("[network]");
    page.key("latency", time(network.latency));
    page.key("jitter", time(network.jitter));
    page.key("bandwidth", text(&bandwidth::text(network.bandwidth.unwrap_or(0))));
}

fn client(page: &mut Page, client: &Client) {
    page.header("[client]");
    page.key("deadline", time(client.deadline));
    page.key("attempt_timeout", time(client.attempt_timeout));
    // Left out while it is off, as the policies' tables are.
    if client.wait_for_ready {
        page.key("wait_for_ready", client.wait_for_ready);
    }

    page.header("[client.load_balancing]");
    page.key("policy", text(client.load_balancing.name()));
    match client.load_balancing {
        Balancing::LeastRequest { choice_count } => page.key("choice_count", choice_count),
        Balancing::PeakEwma { decay, default_rtt } => {
            page.key("decay", time(decay));
            page.key("default_rtt", time(default_rtt));
        }
        Balancing::PickFirst | Balancing::RoundRobin | Balancing::Random => {}
    }

    let retry = &client.retry;
    page.header("[client.retry]");
    page.key("max_attempts", retry.max_attempts);
    page.key("initial_backoff", time(retry.initial_backoff));
    page.key("max_backoff", time(retry.max_backoff));
    page.key("backoff_multiplier", number(retry.backoff_multiplier));
    page.key("jitter", text(retry.jitter.name()));
    page.key("retryable_status_codes", list(&retry.retryable_status_codes));
    page.key("prefer_other_server", retry.prefer_other_server);

    page.header("[client.health_check]");
    page.key("interval", time(client.health_check.interval));
    page.key("timeout", time(client.health_check.timeout));

    client.policies.write(page);
}

impl Display for Fault {
    /// As an inline table.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut page = Page::default();
        fault(&mut page, self);
        write!(f, "{{ {} }}", page.text.trim_end().replace('\n', ", "))
    }
}

fn fault(page: &mut Page, fault: &Fault) {
    page.key("at", time(fault.at));
    page.key("kind", text(fault.kind.name()));
    match fault.targets.as_slice() {
        [one] => page.key("target", text(&server_name(*one))),
        several => page.key("target", list(&several.iter().map(|index| server_name(*index)).collect::<Vec<_>>())),
    }
    match &fault.kind {
        FaultKind::Crash { restart_after } => page.time_if_some("restart_after", *restart_after),
        FaultKind::Delay { latency, jitter, .. } => {
            page.key("latency", time(*latency));
            page.key("jitter", time(*jitter));
        }
        FaultKind::Partition { direction, .. } => page.key("direction", text(direction.name())),
        FaultKind::Loss { rate, .. } => page.key("rate", number(*rate)),
        FaultKind::Bandwidth { rate, .. } => page.key("rate", text(&bandwidth::text(*rate))),
        FaultKind::Errors { rate, status, .. } => {
            page.key("rate", number(*rate));
            page.key("status", text(status.name()));
        }
        FaultKind::Slow { factor, .. } => page.key("factor", number(*factor)),
        FaultKind::Freeze { .. } | FaultKind::Reset => {}
    }
    page.time_if_some("duration", fault.kind.duration());
}

fn expectation(page: &mut Page, expectation: &Expectation) {
    page.header("[[expect]]");
    page.key("metric", text(expectation.metric.to_name()));
    if let Some(phase) = expectation.during {
        page.key("during", text(&phase.to_string()));
    }
    for (key, bound) in [("min", expectation.min), ("max", expectation.max)] {
        match (bound, expectation.metric.unit()) {
            // Exact for what was read from a duration: a day in nanoseconds is far below 2^53.
            (Some(seconds), Unit::Seconds) => {
                page.key(key, time(Duration::try_from_secs_f64(seconds).unwrap_or(Duration::MAX)))
            }
            (Some(bound), _) => page.key(key, number(bound)),
            (None, _) => {}
        }
    }
}

fn time(value: Duration) -> String {
    text(&duration::text(value))
}

/// The shortest decimal that is read back as the same number, always with a point or an exponent.
pub(super) fn number(value: f64) -> String {
    format!("{value:?}")
}

pub(super) fn list(values: &[impl Display]) -> String {
    let items: Vec<_> = values.iter().map(|value| text(&value.to_string())).collect();
    format!("[{}]", items.join(", "))
}

/// A basic string, on one line whatever is in it.
pub(super) fn text(value: &str) -> String {
    let mut quoted = String::from("\"");
    for character in value.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            '\n' => quoted.push_str("\\n"),
            '\t' => quoted.push_str("\\t"),
            control if control.is_control() => quoted.push_str(&format!("\\u{:04x}", u32::from(control))),
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}
