//! The plots of a campaign: a matrix of everything that was compared, and each scenario's runs over time.

use super::{Axis, Colour, Figure, GridCell as Square, Layer, LayerShape, Panel, Scale, Ticks, compared::overlay};
use crate::fidelity::{Cell, Fidelity, Measure, ScenarioFidelity, Verdict};

/// The matrix, then an overlay a scenario.
pub fn figures(fidelity: &Fidelity) -> Vec<Figure> {
    let overlays = fidelity.scenarios.iter().map(|scenario| {
        let mut figure = overlay(&scenario.sides);
        figure.name = format!("{}-overlay", scenario.name);
        figure.subject =
            format!("{}, {} real and {} simulated runs", scenario.name, scenario.runs[0], scenario.runs[1]);
        figure.caption = "Lines are means over runs. Areas reach from the lowest run to the highest: the real one is \
                          what reality itself leaves open."
            .into();
        figure
    });
    [matrix(fidelity)].into_iter().chain(overlays).collect()
}

/// A square for each measure of each phase, a panel for each scenario.
fn matrix(fidelity: &Fidelity) -> Figure {
    let columns = Measure::ALL.len() as f64;
    let measures = Measure::ALL.iter().map(|measure| measure.short_name().to_owned()).collect();
    Figure {
        name: "matrix".into(),
        title: "Simulated against real".into(),
        subject: format!("{} runs of each scenario in each world", fidelity.manifest.runs),
        caption: "Median distance of a simulated run from a real one, over the 95th percentile of the distances \
                  between real runs. Darker is further within its class; a gap is nothing to compare."
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

/// The squares of a scenario, a row a phase. Only the `first` panel says what colours mean.
fn panel(scenario: &ScenarioFidelity, first: bool) -> Panel {
    let phases = scenario.phases();
    let squares = |wanted: Verdict| -> Vec<Square> {
        let cells = scenario.cells.iter().filter(|cell| cell.verdict == Some(wanted));
        let place = |cell: &Cell| phases.iter().position(|phase| *phase == cell.phase);
        cells.filter_map(|cell| Some(square(cell, place(cell)?))).collect()
    };
    let layer = |name: &str, colour, verdict| Layer {
        name: if first { name.to_owned() } else { String::new() },
        colour,
        shape: LayerShape::Cells(squares(verdict)),
    };
    let names = phases.iter().map(|phase| (*phase).to_owned()).collect();
    let rows = phases.len().max(1) as f64;
    Panel {
        title: scenario.name.clone(),
        y: Axis { label: String::new(), scale: Scale::Linear, range: (-0.5, rows - 0.5), ticks: Ticks::Names(names) },
        weight: rows * 0.13,
        layers: vec![
            layer("ratio up to 1", Colour::Green, Verdict::Within),
            layer("up to 2", Colour::Orange, Verdict::Close),
            layer("over 2", Colour::Vermillion, Verdict::Apart),
        ],
    }
}

/// The square of a cell in the row at `place`.
fn square(cell: &Cell, place: usize) -> Square {
    let column = Measure::ALL.iter().position(|measure| *measure == cell.measure).unwrap_or(0) as f64;
    let (row, ratio) = (place as f64, cell.ratio.unwrap_or(0.0));
    let weight = match ratio {
        within if within <= 1.0 => 0.45 + 0.45 * within,
        close if close <= 2.0 => 0.45 + 0.45 * (close - 1.0),
        apart => (0.45 + 0.45 * (apart / 2.0).log10()).min(1.0),
    };
    // Rows count from the top down.
    Square { x: (column - 0.46, column + 0.46), y: (row + 0.42, row - 0.42), weight }
}
