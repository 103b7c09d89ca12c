//! The effect of each mechanism of a calibration: simulated runs that leave it out are compared with the same real runs.

use super::{Cell, Fidelity, Measure, MeasureSummary, ScenarioFidelity, places};
use crate::compare::Member;

/// The cells of a scenario whose simulated runs leave a mechanism out.
#[derive(Debug)]
pub struct WithoutMechanism {
    /// The name of the mechanism.
    pub mechanism: String,
    /// The cells that both worlds have.
    pub cells: Vec<Cell>,
}

/// The cells of all scenarios of which there are runs without some mechanism.
#[derive(Debug, Clone, PartialEq)]
pub struct MechanismSummary {
    /// The mechanism that is left out; `None` if none is.
    pub mechanism: Option<String>,
    /// The number of scenarios.
    pub scenarios: usize,
    /// The p50 of all phases.
    pub p50: MeasureSummary,
    /// The p99 of all phases.
    pub p99: MeasureSummary,
    /// The cells of all measures.
    pub all: MeasureSummary,
}

/// A cell in which something is left to explain.
#[derive(Debug)]
pub struct OffCell<'a> {
    /// The name of its scenario in tables.
    pub scenario: &'a str,
    /// The cell with all mechanisms.
    pub cell: &'a Cell,
    /// The difference without each mechanism, in the order of [`Fidelity::mechanisms`]; `None` where there are no such runs.
    pub without: Vec<Option<f64>>,
    /// The mechanism without which the difference is least, if it is at most half of what it is with all of them: the simulation has
    /// too much of it. If there is none, the simulation lacks something, or no single mechanism decides.
    pub excess: Option<String>,
}

/// A mechanism explains a difference if at most this share of it is left without the mechanism.
const EXPLAINED: f64 = 0.5;

impl WithoutMechanism {
    pub(super) fn compare(mechanism: &str, real: &[Member], sim: &[Member]) -> Self {
        let cells = places(real).into_iter().filter(|(phase, measure)| measure.has_enough_calls(phase, real, sim));
        let cells = cells.filter_map(|(phase, measure)| Cell::measure(measure, &phase, real, sim)).collect();
        Self { mechanism: mechanism.to_owned(), cells }
    }

    fn cell(&self, like: &Cell) -> Option<&Cell> {
        self.cells.iter().find(|cell| (cell.measure, &cell.phase) == (like.measure, &like.phase))
    }
}

impl ScenarioFidelity {
    fn without(&self, mechanism: &str) -> Option<&WithoutMechanism> {
        self.without.iter().find(|without| without.mechanism == mechanism)
    }
}

impl Fidelity {
    /// Returns the names of the mechanisms that are left out in some runs, in the order of the manifests.
    pub fn mechanisms(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for without in self.scenarios.iter().flat_map(|scenario| &scenario.without) {
            if !names.contains(&without.mechanism.as_str()) {
                names.push(&without.mechanism);
            }
        }
        names
    }

    /// Returns the cells with all mechanisms and without each of them; nothing if none was left out.
    pub fn by_mechanism(&self) -> Vec<MechanismSummary> {
        let mechanisms = self.mechanisms();
        if mechanisms.is_empty() {
            return Vec::new();
        }
        // A scenario without such runs would make the first row one of other scenarios than the rest.
        let whole = self.scenarios.iter().filter(|scenario| !scenario.without.is_empty());
        let whole: Vec<&[Cell]> = whole.map(|scenario| scenario.cells.as_slice()).collect();
        let mut summaries = vec![MechanismSummary::new(None, &whole)];
        for name in mechanisms {
            let cells = self.scenarios.iter().filter_map(|scenario| scenario.without(name));
            let cells: Vec<&[Cell]> = cells.map(|without| without.cells.as_slice()).collect();
            summaries.push(MechanismSummary::new(Some(name), &cells));
        }
        summaries
    }

    /// Returns the cells in which something is left to explain, of scenarios with runs that leave a mechanism out.
    pub fn off_cells(&self) -> Vec<OffCell<'_>> {
        let mechanisms = self.mechanisms();
        let scenarios = self.scenarios.iter().filter(|scenario| !scenario.without.is_empty());
        let cells = scenarios.flat_map(|scenario| scenario.cells.iter().map(move |cell| (scenario, cell)));
        let off = cells.filter(|(_, cell)| cell.is_off());
        off.map(|(scenario, cell)| OffCell::new(scenario, cell, &mechanisms)).collect()
    }
}

impl MechanismSummary {
    fn new(mechanism: Option<&str>, scenarios: &[&[Cell]]) -> Self {
        let summary = |measure: Option<Measure>| {
            let cells = scenarios.iter().flat_map(|cells| cells.iter());
            MeasureSummary::new(measure, cells.filter(|cell| measure.is_none_or(|measure| cell.measure == measure)))
        };
        Self {
            mechanism: mechanism.map(str::to_owned),
            scenarios: scenarios.len(),
            p50: summary(Some(Measure::P50)),
            p99: summary(Some(Measure::P99)),
            all: summary(None),
        }
    }
}

impl<'a> OffCell<'a> {
    fn new(scenario: &'a ScenarioFidelity, cell: &'a Cell, mechanisms: &[&str]) -> Self {
        let without: Vec<_> = mechanisms.iter().map(|name| scenario.without(name)?.cell(cell)?.difference()).collect();
        let known =
            mechanisms.iter().zip(&without).filter_map(|(name, difference)| Some((*name, (*difference)?.abs())));
        let least = known.min_by(|(_, one), (_, other)| one.total_cmp(other));
        let bound = cell.difference().map_or(0.0, |difference| difference.abs() * EXPLAINED);
        let excess = least.filter(|(_, left)| *left <= bound).map(|(name, _)| name.to_owned());
        Self { scenario: &scenario.label, cell, without, excess }
    }
}
