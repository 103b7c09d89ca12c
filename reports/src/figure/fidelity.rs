//! The plots of a campaign: a matrix of all comparisons, and the runs of each scenario over time.

use super::{Axis, Colour, Figure, GridCell as Square, Layer, LayerShape, Panel, Scale, Ticks, compared::overlay};
use crate::fidelity::{Cell, Fidelity, Measure, ScenarioFidelity, Verdict};

/// The classes of the matrix, with their names in the legend.
const CLASSES: [(&str, Colour, Verdict); 4] = [
    ("ratio up to 1", Colour::Green, Verdict::Within),
    ("over 1, too small to matter", Colour::Sky, Verdict::Small),
    ("up to 2", Colour::Orange, Verdict::Close),
    ("over 2", Colour::Vermillion, Verdict::Apart),
];

/// Returns the matrix, then an overlay for each scenario.
pub fn figures(fidelity: &Fidelity) -> Vec<Figure> {
    let overlays = fidelity.scenarios.iter().map(|scenario| {
        let mut figure = overlay(&scenario.sides);
        figure.name = format!("{}-overlay", scenario.label.replace('/', "-"));
        figure.subject =
            format!("{}, {} real and {} simulated runs", scenario.label, scenario.runs[0], scenario.runs[1]);
        figure.caption = "Lines are means over runs. Areas show the range of the runs; that of the real runs is \
                          the variation of reality itself."
            .into();
        figure
    });
    [matrix(fidelity)].into_iter().chain(overlays).collect()
}

/// Returns the plot with a square for each measure of each phase, and a panel for each scenario.
fn matrix(fidelity: &Fidelity) -> Figure {
    let columns = Measure::ALL.len() as f64;
    let measures = Measure::ALL.iter().map(|measure| measure.short_name().to_owned()).collect();
    Figure {
        name: "matrix".into(),
        title: "Simulated and real runs".into(),
        subject: format!("{} runs of each scenario in each world", runs(fidelity)),
        caption: "Median distance of a simulated run from a real one, over the 95th percentile of the distances \
                  between real runs. Darker is greater within a class; a gap has nothing to compare."
            .into(),
        x: Axis {
            label: String::new(),
            scale: Scale::Linear,
            range: (-0.5, columns - 0.5),
            ticks: Ticks::Names(measures),
        },
        panels: fidelity.scenarios.iter().enumerate().map(|(place, scenario)| panel(scenario, place == 0)).collect(),
        bands: Vec::new(),
    }
}

/// Returns the number of runs, or those of the campaigns if they differ.
fn runs(fidelity: &Fidelity) -> String {
    let mut runs: Vec<u64> = fidelity.campaigns.iter().map(|campaign| campaign.manifest.runs).collect();
    runs.sort_unstable();
    runs.dedup();
    runs.iter().map(u64::to_string).collect::<Vec<_>>().join(" or ")
}

/// Returns the squares of a scenario, a row for each phase. Only the `first` panel has a legend.
fn panel(scenario: &ScenarioFidelity, first: bool) -> Panel {
    let phases = scenario.phases();
    let mut layers = Vec::new();
    for (name, colour, verdict) in CLASSES {
        layers.push(Layer {
            name: if first { name.to_owned() } else { String::new() },
            colour,
            shape: LayerShape::Cells(squares(scenario, &phases, verdict)),
        });
    }
    let names = phases.iter().map(|phase| (*phase).to_owned()).collect();
    let rows = phases.len().max(1) as f64;
    Panel {
        title: scenario.label.clone(),
        y: Axis { label: String::new(), scale: Scale::Linear, range: (-0.5, rows - 0.5), ticks: Ticks::Names(names) },
        weight: rows * 0.13,
        layers,
    }
}

/// Returns the squares of the cells with a verdict, in the rows of their phases.
fn squares(scenario: &ScenarioFidelity, phases: &[&str], verdict: Verdict) -> Vec<Square> {
    let mut squares = Vec::new();
    for cell in scenario.cells.iter().filter(|cell| cell.verdict == Some(verdict)) {
        squares.extend(phases.iter().position(|phase| *phase == cell.phase).map(|row| square(cell, row)));
    }
    squares
}

/// Returns the square of a cell.
fn square(cell: &Cell, row: usize) -> Square {
    let column = Measure::ALL.iter().position(|measure| *measure == cell.measure).unwrap_or(0) as f64;
    let weight = match cell.ratio.unwrap_or(0.0) {
        within if within <= 1.0 => 0.45 + 0.45 * within,
        close if close <= 2.0 => 0.45 + 0.45 * (close - 1.0),
        apart => (0.45 + 0.45 * (apart / 2.0).log10()).min(1.0),
    };
    let middle = row as f64;
    // Rows count from the top down, so the lower edge has the greater coordinate.
    Square { x: (column - 0.46, column + 0.46), y: (middle + 0.42, middle - 0.42), weight }
}
