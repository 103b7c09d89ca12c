//! The cells of all scenarios, measure by measure.

use super::{Cell, Fidelity, Goal, Measure, Verdict};
use crate::compare::distance::quantile;

/// The cells of one measure, or of all of them, over all scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct MeasureSummary {
    /// The measure; `None` for all of them.
    pub measure: Option<Measure>,
    /// The number of cells that have a ratio.
    pub cells: usize,
    /// The number of those with a ratio of at most 1.
    pub within: usize,
    /// The number of those with a ratio of at most 2.
    pub close: usize,
    /// The number of those with a greater ratio whose difference matters.
    pub apart: usize,
    /// The number of cells that have a goal.
    pub goals: usize,
    /// The number of those that reach it.
    pub reached: usize,
    /// The number of those that reach the stricter goal.
    pub beyond: usize,
    /// The median of the errors without their signs, in the unit of the measure; `None` for all measures, and for one without errors.
    pub median_error: Option<f64>,
    /// The error that is furthest from 0, with its sign, in the unit of the measure; `None` where there is no median.
    pub largest_error: Option<f64>,
}

impl MeasureSummary {
    pub(super) fn new<'a>(measure: Option<Measure>, cells: impl Iterator<Item = &'a Cell>) -> Self {
        let mut summary = Self { measure, ..Self::default() };
        let mut errors = Vec::new();
        for cell in cells {
            if let Some((ratio, verdict)) = cell.ratio.zip(cell.verdict) {
                summary.cells += 1;
                summary.within += usize::from(ratio <= 1.0);
                summary.close += usize::from(ratio <= 2.0);
                summary.apart += usize::from(verdict == Verdict::Apart);
            }
            if let Some(goal) = cell.goal {
                summary.goals += 1;
                summary.reached += usize::from(goal != Goal::Missed);
                summary.beyond += usize::from(goal == Goal::Beyond);
            }
            errors.extend(cell.error);
        }
        // Errors of different measures have different units.
        if measure.is_some() {
            errors.sort_by(|a, b| a.abs().total_cmp(&b.abs()));
            let sizes: Vec<f64> = errors.iter().map(|error| error.abs()).collect();
            summary.median_error = quantile(&sizes, 0.5);
            summary.largest_error = errors.last().copied();
        }
        summary
    }
}

impl Fidelity {
    /// Returns the cells of each measure that has any, in the order of reports.
    pub fn by_measure(&self) -> Vec<MeasureSummary> {
        let summaries = Measure::ALL
            .into_iter()
            .map(|measure| MeasureSummary::new(Some(measure), self.cells().filter(|cell| cell.measure == measure)));
        summaries.filter(|summary| summary.cells > 0 || summary.goals > 0).collect()
    }

    /// Returns the cells of all measures together.
    pub fn tally(&self) -> MeasureSummary {
        MeasureSummary::new(None, self.cells())
    }

    fn cells(&self) -> impl Iterator<Item = &Cell> {
        self.scenarios.iter().flat_map(|scenario| &scenario.cells)
    }
}
