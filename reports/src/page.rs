//! Reports as one HTML file that needs nothing else: no network and no font. Its only script shows the values of plots under
//! the pointer, and the page is whole without it.
//!
//! Plots are in the page as SVG, drawn twice, for wide and for narrow screens. The style sheet shows one of the two, and
//! darkens its colors with the page. Templates are `maud`'s, so what a scenario says is escaped by construction.

mod alerts;
mod compared;
mod contents;
mod distribution;
mod fidelity;
mod hover;
mod single;
mod style;
mod sweep;
mod threshold;

use std::borrow::Cow;

use kernel::{
    measure::{
        self,
        text::table::{Align, TextTable},
    },
    run_folder::CalibrationInfo,
};
use maud::{Markup, PreEscaped, html};

use crate::{
    draw::{self, Room},
    figure::Figure,
};

pub use self::{
    alerts::alerts, compared::comparison, distribution::distribution, fidelity::fidelity, single::report, sweep::sweep,
    threshold::threshold,
};

/// Returns the whole document around `body`.
fn document(title: &str, body: &Markup) -> String {
    let document = html! {
        (PreEscaped("<!doctype html>\n"))
        html lang="en" {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                title { (title) }
                style { (PreEscaped(style::sheet())) }
            }
            body {
                main { (PreEscaped(contents::with_contents(&body.0))) }
                script { (PreEscaped(hover::SCRIPT)) }
            }
        }
        (PreEscaped("\n"))
    };
    document.into_string()
}

/// How a run or a sweep ended, as the head of a page shows it.
#[derive(Debug, Clone, Copy)]
struct Verdict {
    /// The class of the style sheet: `pass`, `fail` or `none`.
    class: &'static str,
    text: &'static str,
}

impl From<measure::Verdict> for Verdict {
    fn from(verdict: measure::Verdict) -> Self {
        let class = match verdict {
            measure::Verdict::Pass => "pass",
            measure::Verdict::NoExpectations => "none",
            _ => "fail",
        };
        Self { class, text: verdict.word() }
    }
}

/// Returns the head of a page: the verdict, the title, and what the scenario asks.
fn head(verdict: Verdict, title: &str, question: Option<&str>) -> Markup {
    html! {
        div class={ "verdict " (verdict.class) } { (verdict.text) }
        h1 { (title) }
        @if let Some(question) = question {
            p { (question) }
        }
    }
}

/// Returns the most important figures, each with its name.
fn numbers(numbers: &[(&str, String)]) -> Markup {
    html! {
        dl class="numbers" {
            @for (name, value) in numbers {
                div {
                    dt { (name) }
                    dd { (value) }
                }
            }
        }
    }
}

fn plots(figures: &[Figure]) -> Markup {
    html! {
        @for figure in figures {
            figure id=(figure.name) aria-label=(figure.title) {
                div class="wide" { (inline(figure, Room::Wide)) }
                div class="narrow" { (inline(figure, Room::Narrow)) }
                (hover::values(figure))
            }
        }
    }
}

/// Returns the plot as an element of the page, with a label for screen readers.
fn inline(figure: &Figure, room: Room) -> PreEscaped<String> {
    let label = format!("{}, {}", figure.title, figure.subject);
    // The label becomes an attribute of text that is not a template, so it is escaped here.
    let label = html! { (label) }.into_string();
    PreEscaped(draw::svg(figure, room).replacen("<svg ", &format!("<svg role=\"img\" aria-label=\"{label}\" "), 1))
}

/// Returns a table whose first column is text and whose other columns are figures.
fn table(headings: &[&str], rows: &[Vec<String>]) -> Markup {
    let rows: Vec<Vec<Markup>> = rows.iter().map(|row| row.iter().map(|cell| html! { (cell) }).collect()).collect();
    markup_table(headings, &rows)
}

/// Returns a table like [`table()`] of cells that may have links. On narrow screens each row is a list of headings and cells.
fn markup_table(headings: &[&str], rows: &[Vec<Markup>]) -> Markup {
    html! {
        div class="scroll" {
            table {
                thead {
                    tr {
                        @for heading in headings { th { (heading) } }
                    }
                }
                tbody {
                    @for row in rows {
                        tr {
                            @for (cell, heading) in row.iter().zip(headings) { td data-label=(heading) { (cell) } }
                        }
                    }
                }
            }
        }
    }
}

/// Returns a table that the terminal shows, too, under a heading. Returns nothing if it has no rows.
fn headed_table(heading: &str, table: &TextTable) -> Markup {
    html! {
        @if !table.rows().is_empty() {
            h2 { (heading) }
            (aligned(table))
        }
    }
}

/// Returns a table that the terminal shows, too. Returns nothing if it has no rows.
fn aligned(table: &TextTable) -> Markup {
    html! {
        @if !table.rows().is_empty() {
            div class="scroll" {
                table class="aligned" {
                    thead {
                        tr {
                            @for (heading, align) in table.columns() {
                                th class=[text_class(align)] { (heading) }
                            }
                        }
                    }
                    tbody {
                        @for (row, name) in table.rows().iter().zip(row_names(table)) {
                            tr {
                                @for (index, (cell, (heading, align))) in row.iter().zip(table.columns()).enumerate() {
                                    @if index == 0 && cell.is_empty() {
                                        td class="again" data-label=(heading) { (name) }
                                    } @else {
                                        td class=[text_class(align)] data-label=(heading) { (cell) }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// Returns the first cell of each row, or of the row above it that has one. A narrow screen shows it in every row, as a row may be
/// alone there.
fn row_names(table: &TextTable) -> Vec<&str> {
    let mut names: Vec<&str> = Vec::new();
    for row in table.rows() {
        let name = row.first().map_or("", String::as_str);
        names.push(if name.is_empty() { names.last().copied().unwrap_or_default() } else { name });
    }
    names
}

/// Returns the class of a cell that is text. Figures need none.
fn text_class(align: Align) -> Option<&'static str> {
    (align == Align::Left).then_some("text")
}

fn notes(notes: &[String]) -> Markup {
    html! {
        @if !notes.is_empty() {
            h2 { "Notes" }
            ul class="notes" {
                @for note in notes { li { (note) } }
            }
        }
    }
}

/// Returns the text of a scenario, as it was run.
fn scenario(text: &str) -> Markup {
    let shown: String = text.split_inclusive('\n').map(shortened).collect();
    html! {
        h2 { "The scenario with all defaults" }
        pre { (shown) }
    }
}

/// The most characters of a line of a scenario that a page shows. The times of a trace are one line.
const LINE_MAX: usize = 2_000;

/// Returns the start of a long line, and a short one as it is.
fn shortened(line: &str) -> Cow<'_, str> {
    match line.char_indices().nth(LINE_MAX) {
        Some((end, _)) => format!("{}… and {} bytes more\n", &line[..end], line.len() - end).into(),
        None => line.into(),
    }
}

/// Returns the version, the calibration and the scenario that an experiment was run with.
fn experiment_origin(version: &str, calibration: &CalibrationInfo, scenario: &str) -> Markup {
    html! {
        p class="muted" {
            "Run by version " (version) ", calibration " (calibration.name) " (" (calibration.sha256) ")."
        }
        (self::scenario(scenario))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_line_of_a_scenario_is_cut() {
        let long = format!("short\n{}\nend", "é".repeat(LINE_MAX + 3));
        let page = scenario(&long).into_string();
        assert!(page.contains(&format!("short\n{}… and 7 bytes more\nend</pre>", "é".repeat(LINE_MAX))));
    }

    #[test]
    fn a_row_has_the_name_of_those_above_for_narrow_screens() {
        let mut table = TextTable::new(&[("metric", Align::Left), ("variant", Align::Right)]);
        for cells in [["p95", "0"], ["", "1"], ["p99", "0"]] {
            table.row(cells.map(str::to_owned).into());
        }
        assert_eq!(row_names(&table), ["p95", "p95", "p99"]);
        let page = aligned(&table).into_string();
        assert!(page.contains(r#"<td class="again" data-label="metric">p95</td>"#), "{page}");
    }

    #[test]
    fn the_text_of_a_scenario_cannot_become_markup() {
        let page = scenario("<script>\"a\" & b").into_string();
        assert!(page.ends_with("<pre>&lt;script&gt;&quot;a&quot; &amp; b</pre>"), "{page}");
    }
}
