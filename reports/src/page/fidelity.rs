//! The page of a campaign.

use maud::html;

use super::{document, notes, plots, table};
use crate::{
    fidelity::{Cell, Fidelity},
    figure::Figure,
    text,
};

const TITLE: &str = "Fidelity: simulated and real runs";

const HEADINGS: [&str; 11] =
    ["phase", "measure", "real", "sim", "error", "goal", "floor", "sim/real", "ratio", "p", "verdict"];

/// Returns the page of a campaign with its plots. The same campaign gives the same bytes.
pub fn fidelity(fidelity: &Fidelity, figures: &[Figure]) -> String {
    let body = html! {
        h1 { (TITLE) }
        @for scenario in &fidelity.scenarios {
            p { (text::fidelity::sentence(scenario)) }
        }
        (table(&text::fidelity::SUMMARY_HEADINGS, &text::fidelity::summary_rows(fidelity)))
        @if let Some(left_out) = text::fidelity::left_out(fidelity) {
            p { (left_out) }
        }
        (table(&["", ""], &facts(fidelity)))
        (plots(figures))
        @for scenario in &fidelity.scenarios {
            h2 { (scenario.name) }
            (table(&HEADINGS, &scenario.cells.iter().map(row).collect::<Vec<_>>()))
        }
        (notes(&fidelity.notes))
    };
    document(TITLE, &body)
}

fn facts(fidelity: &Fidelity) -> Vec<Vec<String>> {
    let manifest = &fidelity.manifest;
    vec![
        vec!["host".to_owned(), format!("{}, {} cores", manifest.host.operating_system, manifest.host.cores)],
        vec!["started".to_owned(), format!("{}, a {} build", manifest.started, manifest.profile)],
        vec!["calibration".to_owned(), manifest.calibration.sha256.clone()],
    ]
}

fn row(cell: &Cell) -> Vec<String> {
    [vec![cell.phase.clone()], text::fidelity::row(cell)].concat()
}
