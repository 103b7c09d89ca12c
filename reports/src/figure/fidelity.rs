//! The plots of a campaign: a matrix of everything that was compared, and each scenario's runs over time.

use super::{Axis, Cell as Square, Colour, Figure, Layer, Panel, Scale, Shape, Ticks, compared::overlay};
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

/// A square for each measure of each phase of each scenario.
fn matrix(fidelity: &Fidelity) -> Figure {
    let rows: Vec<(&ScenarioFidelity, &str)> = fidelity
        .scenarios
        .iter()
        .flat_map(|scenario| scenario.phases().into_iter().map(move |phase| (scenario, phase)))
        .collect();
    let names: Vec<String> = rows.iter().map(|(scenario, phase)| row_name(&scenario.name, phase)).collect();
    let squares = |wanted: Verdict| -> Vec<Square> {
        let of_row = |(place, (scenario, phase)): (usize, &(&ScenarioFidelity, &str))| {
            let cells = scenario.cells.iter().filter(|cell| cell.phase == *phase && cell.verdict == Some(wanted));
            cells.map(|cell| square(cell, place)).collect::<Vec<_>>()
        };
        rows.iter().enumerate().flat_map(of_row).collect()
    };
    let layer =
        |name: &str, colour, verdict| Layer { name: name.into(), colour, shape: Shape::Cells(squares(verdict)) };
    let (columns, count) = (Measure::ALL.len() as f64, rows.len().max(1) as f64);
    let y = Axis { label: String::new(), scale: Scale::Linear, range: (-0.5, count - 0.5), ticks: Ticks::Names(names) };
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
        panels: vec![Panel {
            title: "Ratio".into(),
            y,
            weight: (count * 0.13).max(0.6),
            layers: vec![
                layer("up to 1", Colour::Green, Verdict::Within),
                layer("up to 2", Colour::Orange, Verdict::Close),
                layer("over 2", Colour::Vermillion, Verdict::Apart),
            ],
        }],
        bands: Vec::new(),
    }
}

fn row_name(scenario: &str, phase: &str) -> String {
    format!("{scenario} {phase}")
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
    Square { x: (column - 0.46, column + 0.46), y: (row - 0.42, row + 0.42), weight }
}
