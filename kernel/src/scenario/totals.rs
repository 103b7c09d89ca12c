//! The totals of the settings of a scenario: settings that are each within their bounds may ask for more requests, checks or memory than a
//! run can have. It is found before anything of it is allocated.

use super::{Pictures, Scenario, Workload, limits};
use crate::settings::{
    problem::{Problem, Problems},
    source::Span,
    table::TableReader,
};

/// The bytes of an input that is no picture: a graph is named by its size, and a backend is asked for nothing.
const SMALL_INPUT: u64 = 1_024;

/// Checks `scenario`, which was read from `file`.
pub(super) fn check(scenario: &Scenario, file: &TableReader<'_, '_>) -> Result<(), Problems> {
    let totals = Totals { scenario, file };
    let mut problems = Problems::default();
    problems.keep(totals.requests());
    problems.keep(totals.faults());
    problems.keep(totals.health_checks());
    problems.keep(totals.sweeps());
    problems.keep(totals.bytes_under_way());
    problems.keep(totals.pixels());
    if problems.is_empty() { Ok(()) } else { Err(problems) }
}

/// Returns the bytes of the largest input of a workload.
fn largest_input(workload: &Workload) -> u64 {
    match workload {
        Workload::Sobel(images) => match &images.pictures {
            Pictures::Synthetic(sizes) => sizes.iter().map(|size| size.pixels()).max().unwrap_or(0),
            // Their sizes are known once they are read.
            Pictures::Files(_) => SMALL_INPUT,
        },
        Workload::Dfs(_) | Workload::Backend(_) | Workload::App(_) => SMALL_INPUT,
    }
}

struct Totals<'a> {
    scenario: &'a Scenario,
    file: &'a TableReader<'a, 'a>,
}

impl Totals<'_> {
    fn requests(&self) -> Result<(), Problem> {
        let Scenario { duration, .. } = self.scenario;
        let load = self.scenario.offered_load();
        let requests = load.requests(*duration);
        if requests == 0.0 {
            let what = "nothing is sent before the run is over";
            let help = "raise `duration`, or let a stage or the trace send something earlier";
            return Err(Problem::new(self.file.span("duration"), what).help(help));
        }
        let message = match load.is_plain() {
            true => format!("`rate` times `duration` are {requests:.0} requests"),
            false => format!("the load is {requests:.0} requests until the end of `duration`"),
        };
        self.at_most(self.span(&["load"], "rate"), requests, limits::REQUESTS_MAX, message, "lower one of the two")
    }

    fn faults(&self) -> Result<(), Problem> {
        let Scenario { faults, duration, .. } = self.scenario;
        let load = self.scenario.offered_load();
        let span = self.file.span("fault");
        let targets = faults.iter().map(|fault| fault.targets.len()).sum::<usize>();
        let message = format!("the faults hit {targets} servers together");
        let most = limits::FAULT_TARGETS_MAX as f64;
        self.at_most(span.clone(), targets as f64, most, message, "remove faults, or let each hit fewer servers")?;
        let pairs = faults.len() as f64 * load.requests(*duration);
        let message = format!("the number of faults times that of requests is {pairs:.0}");
        self.at_most(span, pairs, limits::FAULT_REQUESTS_MAX, message, "remove faults, or lower `rate` or `duration`")
    }

    fn health_checks(&self) -> Result<(), Problem> {
        let Some(check) = &self.scenario.client.health_check else { return Ok(()) };
        let interval = check.interval;
        let checks = self.longest_s() / interval.as_secs_f64() * self.scenario.servers.replicas as f64;
        let message = format!("a check of every replica at every `interval` makes {checks:.0} health checks");
        let span = self.span(&["client", "health_check"], "interval");
        self.at_most(span, checks, limits::CHECKS_MAX, message, "raise `interval`, or lower `duration` or `replicas`")
    }

    fn sweeps(&self) -> Result<(), Problem> {
        let Some(detection) = &self.scenario.client.policies.outlier_detection else { return Ok(()) };
        let sweeps = self.longest_s() / detection.interval.as_secs_f64();
        let message = format!("a sweep of the outlier detection at every `interval` makes {sweeps:.0} sweeps");
        let span = self.span(&["client", "outlier_detection"], "interval");
        self.at_most(span, sweeps, limits::CHECKS_MAX, message, "raise `interval`, or lower `duration`")
    }

    fn bytes_under_way(&self) -> Result<(), Problem> {
        let Scenario { client, duration, workload, .. } = self.scenario;
        let load = self.scenario.offered_load();
        let kinds = load.request.iter().map(|kind| largest_input(&kind.workload(workload)));
        let largest = kinds.max().unwrap_or_else(|| largest_input(workload));
        // A call is under way until its deadline at most.
        let calls = load.peak_rate(*duration) * client.deadline.min(*duration).as_secs_f64();
        let calls = calls.min(load.max_in_flight as f64).ceil() + load.peak_users(*duration);
        let bytes = calls * largest as f64;
        let message = format!("{calls} calls with inputs of {largest} bytes may be under way at once, {bytes} bytes");
        let help = "lower `max_in_flight`, `rate`, `users`, `deadline` or the sizes";
        self.at_most(self.span(&["load"], "rate"), bytes, limits::BYTES_UNDER_WAY_MAX as f64, message, help)
    }

    /// Checks the pictures of all kinds of requests together; those of one list are checked where it is read.
    fn pixels(&self) -> Result<(), Problem> {
        let sizes = self.scenario.load.request.iter().filter_map(|kind| kind.sizes.as_ref());
        let pixels = sizes.flatten().map(|size| size.pixels()).sum::<u64>() as f64;
        let message = format!("the sizes of all kinds of requests together are {pixels} pixels");
        let help = "leave some of the largest out";
        self.at_most(self.span(&["load"], "request"), pixels, limits::SIZES_PIXELS_MAX as f64, message, help)
    }

    /// Returns the longest time in seconds that the run can take.
    fn longest_s(&self) -> f64 {
        (self.scenario.duration + self.scenario.client.deadline).as_secs_f64()
    }

    fn at_most(&self, span: Option<Span>, total: f64, most: f64, message: String, help: &str) -> Result<(), Problem> {
        if total <= most {
            return Ok(());
        }
        Err(Problem::new(span, format!("{message}; allowed are up to {most}")).help(help))
    }

    /// Returns the place of a key in these tables, or of `duration`, which every file has, if it has its default.
    fn span(&self, tables: &[&str], key: &str) -> Option<Span> {
        let table = tables.iter().fold(*self.file, |table, name| table.table(name));
        table.span(key).or(self.file.span("duration"))
    }
}
