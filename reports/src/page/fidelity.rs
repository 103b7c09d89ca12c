//! The page of a campaign.

use super::{document, escaped, notes, plots, table};
use crate::{fidelity::Fidelity, figure::Figure, text};

/// The page of a campaign with its plots. The same campaign gives the same bytes.
pub fn fidelity(fidelity: &Fidelity, figures: &[Figure]) -> String {
    let title = "Fidelity: simulated against real";
    let manifest = &fidelity.manifest;
    let (tally, [goals, reached, beyond]) = (fidelity.tally(), fidelity.goals());
    let facts = [
        ["at most the floor".to_owned(), format!("{} of {}", tally.within, tally.cells)],
        ["at most twice the floor".to_owned(), format!("{} of {}", tally.close, tally.cells)],
        ["goals reached".to_owned(), format!("{reached} of {goals}, by far {beyond}")],
        ["host".to_owned(), format!("{}, {} cores", manifest.host.operating_system, manifest.host.cores)],
        ["begun".to_owned(), format!("{}, a {} build", manifest.started, manifest.profile)],
        ["calibration".to_owned(), manifest.calibration.sha256.clone()],
    ];
    let headings = ["phase", "measure", "real", "sim", "error", "goal", "floor", "sim/real", "ratio", "p", "verdict"];
    let scenarios = fidelity.scenarios.iter().map(|scenario| {
        let row = |cell: &crate::fidelity::Cell| [vec![cell.phase.clone()], text::fidelity::row(cell)].concat();
        let rows: Vec<Vec<String>> = scenario.cells.iter().map(row).collect();
        format!("<h2>{}</h2>\n{}", escaped(&scenario.name), table(&headings, &rows))
    });
    let body = [
        format!("<h1>{title}</h1>\n"),
        table(&["", ""], &facts.map(Vec::from)),
        plots(figures),
        scenarios.collect(),
        notes(&fidelity.notes),
    ];
    document(title, &body.concat())
}
