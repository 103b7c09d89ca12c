//! The range that a calibration has measured, and the demands of a run on it.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use kernel::{measure::PhaseSummary, run_folder::campaign::CALIBRATION, scenario::Scenario, workload::size::units};
use serde::Deserialize;

use crate::{compare::WHOLE, read::read_text, run::RecordedRun};

/// The range of a calibration: with a machine that all processes share, the sizes of the work of each workload, and the rates.
#[derive(Debug, Default, PartialEq)]
pub(super) struct CalibratedRange {
    /// The smallest and the largest size, by workload.
    units: BTreeMap<String, Extent>,
    /// The lowest and the highest rate, in requests a second.
    rates: Option<Extent>,
}

/// The smallest and the largest of some values.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Extent {
    min: f64,
    max: f64,
}

impl Extent {
    fn new(values: impl IntoIterator<Item = f64>) -> Option<Self> {
        values
            .into_iter()
            .map(|value| Self { min: value, max: value })
            .reduce(|one, other| Self { min: one.min.min(other.min), max: one.max.max(other.max) })
    }

    fn holds(self, other: Self) -> bool {
        self.min <= other.min && other.max <= self.max
    }

    /// `5 to 1000`, or one value.
    fn text(self) -> String {
        if self.min == self.max { self.min.to_string() } else { format!("{} to {}", self.min, self.max) }
    }
}

/// The part of a run that is outside of the calibrated range.
#[derive(Debug, PartialEq)]
pub(super) struct Beyond {
    /// A sentence about it, without its subject.
    pub(super) sentence: String,
    /// True if it concerns all requests, as the rate of the load does.
    is_everywhere: bool,
    /// The intended times of the requests whose size it is, in microseconds.
    times_us: Vec<u64>,
}

/// The parts of a calibration file that are read here.
#[derive(Deserialize)]
struct CalibrationFile {
    machine: Option<Machine>,
}

#[derive(Deserialize)]
struct Machine {
    #[serde(default)]
    fitted_rates: Vec<f64>,
    #[serde(default, rename = "service_time")]
    service_times: Vec<ServiceTime>,
}

#[derive(Deserialize)]
struct ServiceTime {
    workload: String,
    units: u64,
}

impl CalibratedRange {
    /// Reads the calibration of the campaign in this folder. One that cannot be read, or that has no machine, has no range.
    pub(super) fn of_campaign(folder: &Path) -> Self {
        let text = read_text(&folder.join(CALIBRATION)).unwrap_or_default();
        toml::from_str(&text).map(|file: CalibrationFile| Self::of_machine(file.machine)).unwrap_or_default()
    }

    fn of_machine(machine: Option<Machine>) -> Self {
        let Some(Machine { fitted_rates, service_times }) = machine else { return Self::default() };
        let mut by_workload: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for ServiceTime { workload, units } in service_times {
            by_workload.entry(workload).or_default().push(units as f64);
        }
        let units = by_workload.into_iter().filter_map(|(workload, units)| Some((workload, Extent::new(units)?)));
        Self { units: units.collect(), rates: Extent::new(fitted_rates) }
    }

    /// Returns what a run asks for beyond this; `None` if it stays within it.
    pub(super) fn left_by(&self, run: &RecordedRun) -> Option<Beyond> {
        let scenario = run.scenario.as_ref()?;
        let known = self.units.get(scenario.workload.name()).copied();
        let mut sizes: BTreeMap<String, Option<f64>> = BTreeMap::new();
        let mut times_us = Vec::new();
        run.rows.requests.each(|row| {
            if !sizes.contains_key(row.size.as_str()) {
                sizes.insert(row.size.clone(), units(&row.size).map(|units| units as f64));
            }
            let asked = sizes.get(row.size.as_str()).copied().flatten();
            if known.zip(asked).is_some_and(|(known, asked)| !known.holds(Extent { min: asked, max: asked })) {
                times_us.push(row.intended_us);
            }
        });
        self.left_by_work(scenario, Extent::new(sizes.into_values().flatten()), times_us)
    }

    fn left_by_work(&self, scenario: &Scenario, asked: Option<Extent>, times_us: Vec<u64>) -> Option<Beyond> {
        let workload = scenario.workload.name();
        let mut parts = Vec::new();
        if let (Some(asked), Some(known)) = (asked, self.units.get(workload))
            && !known.holds(asked)
        {
            parts.push(format!("{workload} of {} units, of which {} were measured", asked.text(), known.text()));
        }
        let load = &scenario.load;
        let rates = std::iter::once(load.rate).chain(load.stage.iter().filter_map(|stage| stage.rate));
        // Neither users nor a trace have rates of their own.
        let rates = rates.filter(|_| load.users.is_none() && load.trace_us.is_none());
        let mut is_everywhere = false;
        if let (Some(asked), Some(known)) = (Extent::new(rates), self.rates)
            && !known.holds(asked)
        {
            is_everywhere = true;
            parts.push(format!("{} requests/s, where {} were measured", asked.text(), known.text()));
        }
        let sentence = format!("it leaves what was calibrated: {}", parts.join("; "));
        (!parts.is_empty()).then_some(Beyond { sentence, is_everywhere, times_us })
    }
}

impl Beyond {
    /// Returns the names of the phases that are concerned, among them the whole run. The phase between faults is taken from the first of its
    /// parts to the last.
    pub(super) fn phases(&self, phases: &[PhaseSummary]) -> BTreeSet<String> {
        let concerned = phases.iter().filter(|phase| {
            let extent = phase.start_us..phase.end_us;
            self.is_everywhere || self.times_us.iter().any(|time_us| extent.contains(time_us))
        });
        concerned.map(|phase| phase.phase.clone()).chain([WHOLE.to_owned()]).collect()
    }
}

#[cfg(test)]
mod tests {
    use kernel::measure::Metrics;

    use super::*;

    const FILE: &str = "[machine]\nfitted_rates = [5, 50, 1000]\n[[machine.service_time]]\nworkload = 'dfs'\nunits = 60\n\
                        [[machine.service_time]]\nworkload = 'dfs'\nunits = 400000\n";

    fn range(text: &str) -> CalibratedRange {
        CalibratedRange::of_machine(toml::from_str::<CalibrationFile>(text).unwrap().machine)
    }

    fn left(text: &str, rate: f64, sizes: &[&str]) -> Option<Beyond> {
        let scenario = format!("name = 's'\nduration = '1s'\nworkload.kind = 'dfs'\nload.rate = {rate}\n");
        let scenario = Scenario::parse("s", &scenario, &[]).unwrap();
        range(text).left_by_work(
            &scenario,
            Extent::new(sizes.iter().filter_map(|size| units(size)).map(|units| units as f64)),
            vec![1_500],
        )
    }

    #[test]
    fn a_run_within_what_was_calibrated_has_no_note() {
        assert_eq!(left(FILE, 5.0, &["20+40", "100000+300000"]), None);
        assert_eq!(left("", 2_000.0, &["1000000+3000000"]), None, "a calibration without a machine says nothing");
    }

    #[test]
    fn a_run_beyond_what_was_calibrated_says_by_what() {
        let text = left(FILE, 2_000.0, &["20+40", "88000+340000"]).unwrap().sentence;
        let expected = "it leaves what was calibrated: dfs of 60 to 428000 units, of which 60 to 400000 were measured; \
                        2000 requests/s, where 5 to 1000 were measured";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_rate_concerns_all_phases_and_a_size_those_in_which_it_occurs() {
        let phase = |name: &str, start_us, end_us| PhaseSummary {
            phase: name.to_owned(),
            start_us,
            end_us,
            metrics: Metrics::default(),
        };
        let phases = [phase("before", 0, 1_000), phase("fault-0", 1_000, 2_000)];
        let size = left(FILE, 5.0, &["88000+340000"]).unwrap();
        assert_eq!(size.phases(&phases), ["fault-0", WHOLE].map(str::to_owned).into());
        let rate = left(FILE, 2_000.0, &["20+40"]).unwrap();
        assert_eq!(rate.phases(&phases), ["before", "fault-0", WHOLE].map(str::to_owned).into());
    }
}
