//! The model of the machine that all processes of a run share: what a calibration's table `[machine]` says.
//!
//! It is fitted to fault-free runs at several rates, whose requests meet processors that are asleep, half awake and awake, and to runs whose
//! workers are held, in which the processors sleep before they answer. Runs at other rates are predicted and not fitted.
//!
//! | module | contents |
//! | --- | --- |
//! | `paths` | the moments of each request of a run, and the pauses of the machine |
//! | `fit` | how processors get cold and warm |
//! | `pauses` | how often the machine pauses while it works, and for how long |
//! | `pieces` | the times of a piece of work on a warm and on a cold machine |
//! | `contention` | how much computations slow each other |
//! | `prediction` | how long stages took, beside what the model has for them |
//! | `variation` | how much the times of one moment vary together |

mod contention;
mod fit;
mod paths;
mod pauses;
mod pieces;
mod prediction;
#[cfg(test)]
mod tests;
mod variation;

use std::{collections::BTreeMap, fs, time::Duration};

use kernel::{
    measure::{
        stages::{STAGE_NAMES, STAGES},
        text::quantity::percent,
    },
    record::Records,
    variation::VariationPart,
};

use fit::Fit;
pub(super) use paths::Load;
use paths::{LATE, MeasuredStage, RunPaths, SERVICE, TO_CLIENT, TO_SERVER, median};
use pauses::Pauses;
use pieces::WarmAndCold;
use prediction::{Prediction, StageTime};

use super::{findings::units, samples::written};

/// Loads of the runs that the model is fitted to. At one request a second the machine sleeps for longer than at five, and is slower when it wakes up.
pub(super) const FITTED: [Load; 5] =
    [Load::new(1, 12), Load::new(5, 12), Load::new(50, 7), Load::new(300, 4), Load::new(1_000, 3)];

/// Load of the runs with workers that are held, which the model is fitted to, too, beside those for the delays of such requests.
pub(super) const HELD: Load = Load::new(300, 2).held_for(Duration::from_millis(4));

/// Loads of the runs that the model predicts.
pub(super) const HELD_OUT: [Load; 3] = [Load::new(20, 4), Load::new(150, 2), Load::new(600, 2)];

/// The fewest requests that overlap no other at a rate that the model is fitted to; half of all if that is less.
pub(super) const REQUESTS_MIN: usize = 50;

/// Processor time after which a task gives way to another, in microseconds. Linux 6.18 on two processors: with more bursts of computing than
/// processors, a tenth of all wake-ups waited for 1.0 to 1.4 ms.
const SLICE_US: f64 = 1_400.0;

/// Processor time of an expired timer, in microseconds, as the simulation has it.
const THREAD_SWITCH_US: f64 = 10.0;

/// The measurements of a machine's runs.
#[derive(Debug, Default, PartialEq)]
pub(super) struct MachineRuns {
    /// Runs with images, whose loads are fitted.
    fitted: WorkloadRuns,
    /// Runs with images, at the other rates.
    held_out: Vec<RunPaths>,
    /// Runs of other workloads.
    others: BTreeMap<&'static str, WorkloadRuns>,
}

/// The runs of one workload.
#[derive(Debug, Default, PartialEq)]
struct WorkloadRuns {
    /// Runs whose workers are free as soon as they have computed.
    computing: Vec<RunPaths>,
    /// Runs whose workers are held for longer.
    held: Vec<RunPaths>,
}

impl WorkloadRuns {
    fn add(&mut self, run: RunPaths) {
        if run.is_held() { self.held.push(run) } else { self.computing.push(run) }
    }

    /// Returns the runs with held workers, in which the machine rests after the median time that the others compute.
    fn held_with_rests(&self) -> Vec<RunPaths> {
        let mut times: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for path in self.computing.iter().flat_map(RunPaths::counted) {
            times.entry(path.size.clone()).or_default().push(path.took(SERVICE));
        }
        let computing = times.into_iter().filter_map(|(size, times)| Some((size, median(times)?))).collect();
        let mut held = self.held.clone();
        held.iter_mut().for_each(|run| run.rest(&computing));
        held
    }
}

/// A rate that the model cannot be fitted to: nearly every request of its runs overlapped another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OverloadedRate {
    /// Requests per second.
    pub(super) rate: u64,
    /// Requests that overlapped no other.
    pub(super) requests: usize,
}

/// The purpose of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Fit,
    HoldOut,
    /// The times of another workload, by its name.
    Other(&'static str),
}

impl MachineRuns {
    /// Adds a run with this load, whose processes used this much processor time.
    pub(super) fn add(&mut self, records: &Records, load: Load, processor_us: f64, purpose: Purpose) {
        let run = RunPaths::from_records(records, load, processor_us);
        match purpose {
            Purpose::Fit => self.fitted.add(run),
            Purpose::HoldOut => self.held_out.push(run),
            Purpose::Other(workload) => self.others.entry(workload).or_default().add(run),
        }
    }

    /// Leaves the rates out of the fit whose runs have too few requests that overlap no other, and returns them. The model predicts their runs.
    pub(super) fn leave_out_overloaded(&mut self) -> Vec<OverloadedRate> {
        let mut by_rate: BTreeMap<u64, (usize, usize)> = BTreeMap::new();
        for run in &self.fitted.computing {
            let (alone, all) = by_rate.entry(run.load.rate).or_default();
            *alone += run.counted().count();
            *all += run.paths.len();
        }
        by_rate.retain(|_, (alone, all)| *alone < REQUESTS_MIN.min(*all / 2));
        self.held_out.extend(self.fitted.computing.extract_if(.., |run| by_rate.contains_key(&run.load.rate)));
        by_rate.into_iter().map(|(rate, (requests, _))| OverloadedRate { rate, requests }).collect()
    }
}

/// The model of a machine with its parameters.
#[derive(Debug)]
pub(super) struct MachineModel {
    cores: usize,
    fit: Fit,
    /// What the times of one moment have in common.
    variation: Vec<VariationPart>,
    pauses: Option<Pauses>,
    follow_up_us: f64,
    timer: WarmAndCold,
    messages: Vec<MessageTimes>,
    services: Vec<ServiceTimes>,
    /// How the runs at each rate compare with the model, by rate.
    predictions: Vec<Prediction>,
}

/// The times of computations of one size.
#[derive(Debug)]
struct ServiceTimes {
    workload: &'static str,
    size: String,
    times: WarmAndCold,
    /// Processor time of what follows a call, in microseconds; `None` if the runs had several sizes.
    follow_up_us: Option<f64>,
    /// How much longer computations take while another processor computes, as a share.
    contention: f64,
}

/// The times of messages of one size.
#[derive(Debug)]
struct MessageTimes {
    /// The workload that they are of; `None` if they are of all the others.
    workload: Option<&'static str>,
    size: String,
    bytes: u64,
    to_server: WarmAndCold,
    to_client: WarmAndCold,
}

impl MachineModel {
    /// Fits the model to the runs on a machine with this many processors. `None` if there were none.
    pub(super) fn fit(cores: usize, runs: &MachineRuns) -> Option<Self> {
        let held = runs.fitted.held_with_rests();
        let fitted: Vec<_> = runs.fitted.computing.iter().chain(&held).collect();
        let fit = fit::fit(&fitted);
        let of_pictures = samples(&fitted, &fit);
        let timer = WarmAndCold::fit(fitted.iter().flat_map(|run| run.timers(fit.rates)).collect())?;
        let mut messages = Vec::new();
        let mut services = Vec::new();
        let others = runs.others.iter().map(|(workload, runs)| {
            let held = runs.held_with_rests();
            let samples = samples(&runs.computing.iter().chain(&held).collect::<Vec<_>>(), &fit);
            (*workload, samples, runs.computing.as_slice())
        });
        for (workload, by_size, runs) in [("sobel", of_pictures, &[][..])].into_iter().chain(others) {
            for (size, stages) in by_size {
                let [_, to_server, service, to_client] = stages.map(WarmAndCold::fit);
                let (Some(to_server), Some(service), Some(to_client)) = (to_server, service, to_client) else {
                    continue;
                };
                let own = (workload != "sobel").then_some(workload);
                let bytes = reply_bytes(&size);
                let around = to_server.median_at(0.0) + to_client.median_at(0.0);
                messages.push(MessageTimes { workload: own, size: size.clone(), bytes, to_server, to_client });
                let follow_up_us = follow_up(runs.iter().filter(|run| run.has_only(&size)));
                let around_us = around + follow_up_us.unwrap_or(0.0);
                let contention = contention::contention(cores, runs, &size, around_us);
                services.push(ServiceTimes { workload, size, times: service, follow_up_us, contention });
            }
        }
        messages.sort_by_key(|times| (times.workload, times.bytes));
        let mut model = Self {
            cores,
            fit,
            variation: Vec::new(),
            pauses: Pauses::find(fitted.iter().copied(), fit.rates),
            follow_up_us: follow_up(runs.fitted.computing.iter()).unwrap_or(0.0),
            timer,
            messages,
            services,
            predictions: Vec::new(),
        };
        let held_out = runs.held_out.iter().map(|run| (run, false));
        let compared: Vec<_> = fitted.iter().map(|run| (*run, true)).chain(held_out).collect();
        let times = model.stage_times(&compared);
        let of_fitted: Vec<_> = times.iter().filter(|time| compared[time.run].1).collect();
        model.variation = variation::parts(of_fitted);
        model.predictions = prediction::predictions(&compared, &times);
        Some(model)
    }

    /// Returns how long the stages of all requests of these runs took that count.
    fn stage_times(&self, runs: &[(&RunPaths, bool)]) -> Vec<StageTime> {
        let mut all = Vec::new();
        for (place, (run, _)) in runs.iter().enumerate() {
            for measured in run.stages(self.fit.rates) {
                let MeasuredStage { path, stage, coldness } = measured;
                let Some(times) = self.times(stage, &path.size) else { continue };
                let (took, expected) = (measured.took(), times.median_at(coldness));
                let (size, at) = (path.size.clone(), path.moments[stage]);
                all.push(StageTime { run: place, load: run.load, stage, size, at, took, expected });
            }
        }
        all
    }

    /// Returns the times of a stage of requests with images of this size.
    fn times(&self, stage: usize, size: &str) -> Option<&WarmAndCold> {
        let message = || self.messages.iter().find(|times| times.workload.is_none() && times.size == size);
        match stage {
            LATE => Some(&self.timer),
            TO_SERVER => message().map(|times| &times.to_server),
            TO_CLIENT => message().map(|times| &times.to_client),
            _ => {
                let service = self.services.iter().find(|service| service.workload == "sobel" && service.size == size);
                service.map(|service| &service.times)
            }
        }
    }

    /// A table of what a request consists of at each rate, and how far the model is from it.
    pub(super) fn table(&self) -> String {
        let explained = STAGE_NAMES.into_iter().zip(self.fit.unexplained);
        let explained: Vec<_> =
            explained.map(|(name, left)| format!("{name} {}", percent((1.0 - left).max(0.0)))).collect();
        let common = [0.0, 1e5].map(|lag| percent(self.variation.iter().map(|part| part.correlation(lag)).sum()));
        format!(
            "{}\n  The coldness of processors explains of the variance over all rates: {}.\n  \
             Of the rest, times of one moment have {} in common, and those of moments 0.1 s apart {}.\n",
            prediction::table(&self.predictions),
            explained.join(", "),
            common[0],
            common[1]
        )
    }

    /// The table `[machine]` of a calibration.
    pub(super) fn to_toml(&self) -> String {
        let rates = self.fit.rates;
        let fitted = self.predictions.iter().filter(|prediction| prediction.is_fitted && prediction.hold.is_zero());
        let fitted: Vec<_> = fitted.map(|prediction| prediction.rate.to_string()).collect();
        let mut lines = vec![
            String::new(),
            "# The machine that all processes share. `warm` are times on processors that have just worked, `cold` on those that slept for long."
                .to_owned(),
            "[machine]".to_owned(),
            format!("fitted_rates = [{}]        # requests/s", fitted.join(", ")),
            format!("cores = {}", self.cores),
            format!("slice_us = {SLICE_US:.1}"),
            format!("follow_up_us = {:.1}", self.follow_up_us),
            "between_sizes = \"power\"        # of computing times that grow faster than the size".to_owned(),
            String::new(),
            "[machine.coldness]".to_owned(),
            format!("cool_down_us = {:.1}", rates.cool_down_us),
            format!("shape = {:.3}", rates.shape),
            format!("usage_factor = {:.3}", rates.usage_factor),
            format!("usage_window_us = {:.1}", rates.usage_window_us),
            format!("warm_up_us = {:.1}", rates.warm_up_us),
            format!("slow_share = {:.3}", rates.slow_share),
            format!("slow_cool_down_us = {:.1}", rates.slow_cool_down_us),
            format!("servers_sleep = {}        # while the client works", rates.servers_sleep),
        ];
        for VariationPart { share, time_us } in &self.variation {
            lines.extend([String::new(), "[[machine.variation]]".to_owned()]);
            lines.extend([format!("share = {share:.3}"), format!("time_us = {time_us:.1}")]);
        }
        if let Some(Pauses { per_second, per_second_cold, lengths }) = &self.pauses {
            lines.extend([String::new(), "[machine.pauses]".to_owned()]);
            let while_working = "while_working = true        # of a second in which the machine works".to_owned();
            lines.extend([
                while_working,
                format!("per_second = {per_second:.3}"),
                format!("per_second_cold = {per_second_cold:.3}"),
                format!("us = {}", written(lengths)),
            ]);
        }
        lines.extend([String::new(), "[machine.timer]".to_owned()]);
        lines.extend(both(&self.timer));
        for MessageTimes { workload, size, bytes, to_server, to_client } in &self.messages {
            lines.extend([String::new(), "[[machine.message]]".to_owned()]);
            lines.extend(workload.map(|workload| format!("workload = \"{workload}\"")));
            lines.push(format!("bytes = {bytes}        # {size}"));
            for (direction, times) in [("to_server", to_server), ("to_client", to_client)] {
                lines.push(samples_of(times));
                lines.push(format!("{direction}.warm_us = {}", written(&times.warm)));
                lines.push(format!("{direction}.cold_us = {}", written(&times.cold)));
            }
        }
        for ServiceTimes { workload, size, times, follow_up_us, contention } in &self.services {
            lines.extend([String::new(), "[[machine.service_time]]".to_owned()]);
            lines.push(format!("workload = \"{workload}\""));
            lines.push(format!("units = {}        # {size}", units(size)));
            lines.extend(both(times));
            lines.extend(follow_up_us.map(|micros| format!("follow_up_us = {micros:.1}")));
            lines.push(format!("contention = {contention:.3}"));
        }
        lines.push(String::new());
        lines.join("\n")
    }
}

fn both(times: &WarmAndCold) -> [String; 3] {
    let [warm, cold] = [&times.warm, &times.cold].map(|quantiles| written(quantiles));
    [samples_of(times), format!("warm_us = {warm}"), format!("cold_us = {cold}")]
}

fn samples_of(times: &WarmAndCold) -> String {
    format!("# {} samples of a warm machine, {} of a cold one", times.samples[0], times.samples[1])
}

/// Pairs (coldness, microseconds) of each stage of the requests that count, by size.
fn samples(runs: &[&RunPaths], fit: &Fit) -> BTreeMap<String, [Vec<(f64, f64)>; STAGES]> {
    let mut by_size: BTreeMap<String, [Vec<(f64, f64)>; STAGES]> = BTreeMap::new();
    for run in runs {
        for measured in run.stages(fit.rates) {
            let stages = by_size.entry(measured.path.size.clone()).or_default();
            stages[measured.stage].push((measured.coldness, measured.took()));
        }
    }
    by_size
}

/// Returns the processor time of a call that no stage of it contains, in microseconds: from the runs at the lowest and the highest rate,
/// as the processes take the same time to start in both. `None` without runs at two rates, or if all requests at the highest overlap.
fn follow_up<'a>(runs: impl Iterator<Item = &'a RunPaths> + Clone) -> Option<f64> {
    let rates = || runs.clone().map(|run| run.load.rate);
    let of_rate = |rate: u64| {
        let runs = runs.clone().filter(move |run| run.load.rate == rate);
        runs.fold((0.0, 0.0), |(time, calls), run| (time + run.processor_us, calls + run.paths.len() as f64))
    };
    let highest = rates().max()?;
    let (low, high) = (of_rate(rates().min()?), of_rate(highest));
    if high.1 <= low.1 {
        return None;
    }
    let of_call = (high.0 - low.0) / (high.1 - low.1);
    let busiest = runs.filter(|run| run.load.rate == highest);
    let paths: Vec<_> = busiest.flat_map(RunPaths::counted).collect();
    if paths.is_empty() {
        // The time of a request that overlaps others is not its processor time.
        return None;
    }
    let in_path: f64 = paths.iter().map(|path| path.moments[STAGES] - path.moments[TO_SERVER]).sum();
    Some((of_call - in_path / paths.len() as f64 - THREAD_SWITCH_US).max(0.0))
}

/// The bytes of a reply to an input of this size: an image has one for each pixel, and the order of a search has each node's number, of seven bits
/// a byte.
pub(crate) fn reply_bytes(size: &str) -> u64 {
    let Some((nodes, _)) = size.split_once('+') else { return units(size) };
    let nodes: u64 = nodes.parse().unwrap_or(1);
    let up_to = |count: u64| nodes.min(count);
    nodes + (nodes - up_to(1 << 7)) + (nodes - up_to(1 << 14))
}

/// Returns the processor time of this process and of its children that have ended, in microseconds; 0 if the system does not say.
pub(super) fn processor_us() -> f64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // The name of the program may contain anything but a closing bracket after the last one.
    let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
    let ticks: f64 = fields.split_whitespace().skip(11).take(4).filter_map(|ticks| ticks.parse::<f64>().ok()).sum();
    ticks * 1e6 / rustix::param::clock_ticks_per_second() as f64
}
