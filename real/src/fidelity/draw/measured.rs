//! The processor time of an attempt by a calibration.
//!
//! The estimate in [`cost`](super::cost) is the same on every machine. One whose caches do not hold a large graph takes three times as long
//! for it, so that a scenario that was drawn for nine tenths of the processors would ask for more than all of them. A calibration of that machine
//! bounds the rate.

use std::{collections::BTreeMap, path::Path};

use kernel::{
    cli::{Failure, program},
    distribution::Distribution,
    input,
    run_folder::sha256,
    scenario::WorkloadName,
    sizes::Around,
    visible::Visible,
};
use serde::Deserialize;

use super::cost::{Cost, Input};
use crate::calibrate::{reply_bytes, units};

/// Processor times of attempts on a machine that was calibrated.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct MeasuredCosts {
    /// SHA-256 of the calibration, in hexadecimal digits.
    pub(super) sha256: String,
    /// Number of processors.
    pub(super) cores: u64,
    by_workload: BTreeMap<WorkloadName, AttemptTimes>,
}

/// Mean times of the parts of an attempt in microseconds, by size in ascending order.
#[derive(Debug, Clone, PartialEq)]
struct AttemptTimes {
    /// The expired timer and what follows the call, where it does not depend on the size.
    fixed: f64,
    /// Both messages, by the bytes of the reply.
    messages: Vec<(u64, f64)>,
    /// Computing while all other processors compute, by units: so it takes where a rate is bounded.
    computing: Vec<(u64, f64)>,
    /// What follows a call, by units.
    follow_up: Vec<(u64, f64)>,
}

/// What is read of a calibration. `sim` reads all of it.
#[derive(Deserialize)]
struct CalibrationFile {
    machine: Option<MachineTable>,
}

#[derive(Deserialize)]
struct MachineTable {
    cores: u64,
    follow_up_us: f64,
    timer: Piece,
    message: Vec<Message>,
    service_time: Vec<ServiceTime>,
}

#[derive(Deserialize)]
struct Piece {
    warm_us: Distribution,
}

#[derive(Deserialize)]
struct Message {
    workload: Option<String>,
    bytes: u64,
    to_server: Piece,
    to_client: Piece,
}

#[derive(Deserialize)]
struct ServiceTime {
    workload: String,
    units: u64,
    warm_us: Distribution,
    follow_up_us: Option<f64>,
    #[serde(default)]
    contention: f64,
}

impl MeasuredCosts {
    /// Reads the calibration at `path`. Fails if it cannot be read, or has no times of a machine for one of the workloads.
    pub(super) fn read(path: &Path) -> Result<Self, Failure> {
        let place = path.visible();
        let repeat = format!("measure this machine with {} calibrate", program("real"));
        let text = input::read_text(path)
            .map_err(|error| Failure::wrong_input(format!("cannot read the calibration {place}: {error}; {repeat}")))?;
        let file: CalibrationFile = toml::from_str(&text).map_err(|error| {
            Failure::wrong_input(format!("{place} is not a calibration: {}; {repeat}", error.message()))
        })?;
        let machine = file.machine.ok_or_else(|| {
            Failure::wrong_input(format!(
                "{place} has no table [machine], from whose times the share of busy processors follows; {repeat}"
            ))
        })?;
        let mut by_workload = BTreeMap::new();
        for workload in [WorkloadName::Sobel, WorkloadName::Dfs, WorkloadName::Backend] {
            let times = machine.attempts(workload.name()).ok_or_else(|| {
                let problem = format!("{place} has no times of the workload {workload} in [machine]");
                Failure::wrong_input(format!("{problem}; {repeat}"))
            })?;
            by_workload.insert(workload, times);
        }
        Ok(Self { sha256: sha256(text.as_bytes()), cores: machine.cores, by_workload })
    }

    /// Returns what an attempt with `input` costs on average.
    pub(super) fn cost(&self, input: &Input) -> Cost {
        let times = &self.by_workload[&input.workload()];
        let sizes = input.sizes();
        let [mut computing, mut all] = [0.0; 2];
        for size in &sizes {
            let own = computing_at(&times.computing, units(size));
            computing += own;
            all += times.fixed + own + at(&times.messages, reply_bytes(size)) + at(&times.follow_up, units(size));
        }
        // The sizes are as likely as each other.
        let [computing, all] = [computing, all].map(|micros| micros * 1e-6 / sizes.len() as f64);
        Cost { computing, all }
    }
}

impl MachineTable {
    /// Returns the times of a workload's attempts, or `None` if it has none.
    fn attempts(&self, workload: &str) -> Option<AttemptTimes> {
        let services = self.service_time.iter().filter(|time| time.workload == workload);
        let computing = ascending(services.clone().map(|time| (time.units, time.beside_others(self.cores))));
        let follow_up = ascending(services.filter_map(|time| Some((time.units, time.follow_up_us?))));
        // Messages without a workload are those of all workloads that have none of their own.
        let has_own = self.message.iter().any(|message| message.is_of(Some(workload)));
        let messages = self.message.iter().filter(|message| message.is_of(has_own.then_some(workload)));
        let messages = ascending(messages.map(|message| (message.bytes, message.both_ways())));
        if computing.is_empty() || messages.is_empty() {
            return None;
        }
        let fixed = mean(&self.timer.warm_us) + if follow_up.is_empty() { self.follow_up_us } else { 0.0 };
        Some(AttemptTimes { fixed, messages, computing, follow_up })
    }
}

impl ServiceTime {
    /// Returns the mean time in microseconds while all other processors compute, too.
    fn beside_others(&self, cores: u64) -> f64 {
        mean(&self.warm_us) * (1.0 + self.contention * cores.saturating_sub(1) as f64)
    }
}

impl Message {
    /// Tells if it is one of `workload`, or of no workload in particular.
    fn is_of(&self, workload: Option<&str>) -> bool {
        self.workload.as_deref() == workload
    }

    /// Returns the mean time of both directions in microseconds.
    fn both_ways(&self) -> f64 {
        mean(&self.to_server.warm_us) + mean(&self.to_client.warm_us)
    }
}

fn mean(times: &Distribution) -> f64 {
    times.mean().as_secs_f64() * 1e6
}

fn ascending(times: impl Iterator<Item = (u64, f64)>) -> Vec<(u64, f64)> {
    let mut times: Vec<_> = times.collect();
    times.sort_by_key(|(size, _)| *size);
    times
}

/// Returns the time of computing `units`; beyond the sizes that were measured it is in proportion, as in the simulation.
fn computing_at(times: &[(u64, f64)], units: u64) -> f64 {
    match Around::find(times.iter().copied(), units) {
        Some(Around::Nearest(size, time)) => time * units as f64 / size as f64,
        Some(between) => between.linear(),
        None => 0.0,
    }
}

/// Returns the time of a size; 0 if there are none.
fn at(times: &[(u64, f64)], size: u64) -> f64 {
    Around::find(times.iter().copied(), size).map_or(0.0, Around::linear)
}
