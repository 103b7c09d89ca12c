//! From the raw structs to the model: every type, bound and default, and the rules between keys.

mod client;
mod contradictions;
mod expectations;
mod faults;
pub mod limits;
mod workload;

use std::path::Path;

use toml::Spanned;

pub(super) use client::codes;

use super::{
    defaults,
    error::Problem,
    keys::KeyTable,
    model::{Load, Network, Scenario, Servers},
    raw,
    setting::{BitRate, Choice, Setting, read_or, within_or},
    source::Span,
    table::Table,
};
use crate::{nemesis::Menu, server::Admission, status::Code};

/// Files that the scenario names are looked for in `base`.
pub(super) fn scenario(raw: &raw::Scenario, base: &Path) -> Result<Scenario, Problem> {
    let name = name(required(raw.name.as_ref(), None, "name = \"crash_then_freeze\"")?)?;
    let duration = required(raw.duration.as_ref(), None, "duration = \"90s\"")?.within(&limits::DURATION)?;
    let servers = servers(&raw.servers)?;
    admission_fits(&raw.servers, &servers)?;
    let faults = faults::all(&raw.fault, duration, &servers)?;
    Ok(Scenario {
        name,
        question: raw.question.as_ref().map(Setting::read).transpose()?,
        duration,
        workload: workload::workload(&raw.workload)?,
        load: load(raw.load.as_ref())?,
        network: network(&raw.network)?,
        client: client::client(&raw.client, base)?,
        nemesis: raw.nemesis.as_ref().map(|table| Menu::resolve(table)).transpose()?,
        expectations: expectations::all(&raw.expect, faults.len())?,
        servers,
        faults,
    })
}

/// The setting, or a problem that shows the table it is missing from and a line to put there.
fn required<'a, T>(
    setting: Option<&'a Setting<T>>,
    table: Option<Span>,
    example: &str,
) -> Result<&'a Setting<T>, Problem> {
    setting.ok_or_else(|| {
        let key = example.split(' ').next().unwrap_or(example);
        Problem::new(table, format!("missing key `{key}`")).help(format!("write, for example: {example}"))
    })
}

/// It names the run folder, so it is kept to what every file system and shell takes as it is.
fn name(setting: &Setting<String>) -> Result<String, Problem> {
    let name = setting.read()?;
    let wrong = if name.is_empty() {
        "the name is empty".to_owned()
    } else if let Some(stranger) = name.chars().find(|c| !c.is_ascii_alphanumeric() && !matches!(c, '-' | '_')) {
        format!("{stranger:?} cannot be in a name")
    } else if name.len() > limits::NAME_LEN_MAX {
        format!("the name has {} characters", name.len())
    } else {
        return Ok(name);
    };
    let help = format!(
        "it names the run folder: 1 to {} letters, digits, `-` and `_`, such as \"crash_then_freeze\"",
        limits::NAME_LEN_MAX
    );
    Err(Problem::at(setting.span(), wrong).help(help))
}

fn servers(raw: &raw::Servers) -> Result<Servers, Problem> {
    let default = Servers::default();
    Ok(Servers {
        replicas: within_or(raw.replicas.as_ref(), &limits::REPLICAS, default.replicas)?,
        workers: within_or(raw.workers.as_ref(), &limits::WORKERS, default.workers)?,
        queue: within_or(raw.queue.as_ref(), &limits::QUEUE, default.queue)?,
        restart_after: match &raw.restart_after {
            Some(setting) => Some(setting.within(&limits::WAIT)?),
            None => default.restart_after,
        },
        service_time_min: within_or(raw.service_time_min.as_ref(), &limits::WAIT, default.service_time_min)?,
        admission: raw.admission.as_ref().map(|table| Admission::resolve(table.get_ref())).transpose()?,
    })
}

/// An admission limit beyond the room that there is would limit nothing.
fn admission_fits(raw: &raw::Servers, servers: &Servers) -> Result<(), Problem> {
    let limit = servers.admission.as_ref().and_then(|admission| admission.max_concurrent_requests);
    let room = servers.workers + servers.queue;
    match (raw.admission.as_ref().and_then(|table| table.get_ref().max_concurrent_requests.as_ref()), limit) {
        (Some(setting), Some(limit)) if limit > room => {
            let message = format!(
                "`max_concurrent_requests` of {limit} limits nothing: [servers] workers = {} and queue = {} have room for {room}",
                servers.workers, servers.queue
            );
            Err(Problem::at(setting.span(), message).help("lower it, or raise `queue`"))
        }
        _ => Ok(()),
    }
}

fn load(raw: Option<&Spanned<Table<raw::Load>>>) -> Result<Load, Problem> {
    let Some(raw) = raw else {
        return Err(Problem::new(None, "missing table [load] with the key `rate`")
            .help("write, for example: [load], and below it: rate = 5.0"));
    };
    let (table, raw) = (raw.span(), raw.get_ref());
    let default = Load::at(required(raw.rate.as_ref(), Some(table), "rate = 5.0")?.within(&limits::RATE)?);
    Ok(Load {
        rate: default.rate,
        arrivals: read_or(raw.arrivals.as_ref(), Choice(default.arrivals))?.0,
        max_in_flight: within_or(raw.max_in_flight.as_ref(), &limits::MAX_IN_FLIGHT, default.max_in_flight)?,
    })
}

fn network(raw: &raw::Network) -> Result<Network, Problem> {
    let default = Network::default();
    Ok(Network {
        latency: within_or(raw.latency.as_ref(), &limits::WAIT, default.latency)?,
        jitter: within_or(raw.jitter.as_ref(), &limits::WAIT, default.jitter)?,
        bandwidth: match &raw.bandwidth {
            Some(setting) => unlimited_or(setting)?,
            None => default.bandwidth,
        },
    })
}

/// What a call is told that fails on purpose.
fn failure_status(setting: Option<&Setting<Code>>) -> Result<Code, Problem> {
    let Some(setting) = setting else { return Ok(defaults::FAILURE_STATUS) };
    match setting.read()? {
        Code::Ok => {
            Err(Problem::at(setting.span(), "`OK` is no failure; name another status, such as \"UNAVAILABLE\""))
        }
        code => Ok(code),
    }
}

fn unlimited_or(setting: &Setting<BitRate>) -> Result<Option<u64>, Problem> {
    match setting.read()? {
        BitRate(0) => Ok(None),
        _ => bit_rate(setting).map(Some),
    }
}

fn bit_rate(setting: &Setting<BitRate>) -> Result<u64, Problem> {
    let limits = BitRate(*limits::BANDWIDTH.start())..=BitRate(*limits::BANDWIDTH.end());
    setting.within(&limits).map(|rate| rate.0)
}
