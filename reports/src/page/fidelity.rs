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
        @for section in text::fidelity::tables(fidelity) {
            p { (section.sentence) }
            (table(&section.headings, &section.rows))
        }
        (table(&fact_headings(fidelity), &facts(fidelity)))
        (plots(figures))
        @for scenario in &fidelity.scenarios {
            h2 { (scenario.label) }
            (table(&HEADINGS, &scenario.cells.iter().map(row).collect::<Vec<_>>()))
        }
        (notes(&fidelity.notes))
    };
    document(TITLE, &body)
}

/// Returns the headings of the facts: an empty one, and the name of each campaign if there are several.
fn fact_headings(fidelity: &Fidelity) -> Vec<&str> {
    let several = fidelity.campaigns.len() > 1;
    let names = fidelity.campaigns.iter().map(|campaign| if several { campaign.name.as_str() } else { "" });
    [""].into_iter().chain(names).collect()
}

/// Returns the facts, a row each, with a column for each campaign.
fn facts(fidelity: &Fidelity) -> Vec<Vec<String>> {
    let columns: Vec<_> = fidelity.campaigns.iter().map(text::fidelity::fact_rows).collect();
    let names = columns.first().into_iter().flatten().map(|(name, _)| (*name).to_owned());
    let rows = names.enumerate().map(|(place, name)| {
        let values = columns.iter().map(|column| column[place].1.clone());
        [name].into_iter().chain(values).collect()
    });
    rows.collect()
}

fn row(cell: &Cell) -> Vec<String> {
    [vec![cell.phase.clone()], text::fidelity::row(cell)].concat()
}
