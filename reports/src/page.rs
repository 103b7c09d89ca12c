//! Reports as one HTML file that needs nothing else: no network, no script, no font.
//!
//! Plots are in the page as SVG, drawn twice, for wide and for narrow screens; style sheets choose, and turn their
//! colours dark with the page.

mod compared;
mod fidelity;
mod many;
mod single;
mod style;
mod tipping;

use kernel::measure::text::table::{Align, TextTable};

use crate::{
    draw::{self, Room},
    figure::Figure,
};

pub use self::{compared::comparison, fidelity::fidelity, many::many, single::report, tipping::tipping};

/// The whole document around `body`.
fn document(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" \
         content=\"width=device-width, initial-scale=1\">\n<title>{}</title>\n<style>\n{}</style>\n</head>\n<body>\n\
         <main>\n{body}</main>\n</body>\n</html>\n",
        escaped(title),
        style::sheet(),
    )
}

fn plots(figures: &[Figure]) -> String {
    figures.iter().map(plot).collect()
}

fn plot(figure: &Figure) -> String {
    let inline = |room| {
        let svg = draw::svg(figure, room);
        // A label for those who cannot see the plot.
        svg.replacen(
            "<svg ",
            &format!("<svg role=\"img\" aria-label=\"{}\" ", escaped(&format!("{}, {}", figure.title, figure.subject))),
            1,
        )
    };
    format!(
        "<figure id=\"{name}\">\n<div class=\"wide\">{}</div>\n<div class=\"narrow\">{}</div>\n</figure>\n",
        inline(Room::Wide),
        inline(Room::Narrow),
        name = figure.name,
    )
}

/// A table whose first column is text and whose others are figures.
fn table(headings: &[&str], rows: &[Vec<String>]) -> String {
    let heading: String = headings.iter().map(|heading| format!("<th>{}</th>", escaped(heading))).collect();
    let row = |cells: &Vec<String>| {
        let cells: String = cells.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        format!("<tr>{cells}</tr>\n")
    };
    let rows: String = rows.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr>{heading}</tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

/// A table that is printed, too; nothing if it has no rows.
fn aligned(table: &TextTable) -> String {
    if table.rows().is_empty() {
        return String::new();
    }
    let headings = table.columns().map(|(heading, _)| heading);
    let row = |row: &Vec<String>| format!("<tr>{}</tr>\n", cells("td", table, row.iter().map(String::as_str)));
    let (heading, rows) = (cells("th", table, headings), table.rows().iter().map(row).collect::<String>());
    format!(
        "<div class=\"scroll\"><table class=\"aligned\">\n<thead><tr>{heading}</tr></thead>\n<tbody>\n{rows}</tbody>\n\
         </table></div>\n"
    )
}

fn cells<'a>(tag: &str, table: &TextTable, texts: impl Iterator<Item = &'a str>) -> String {
    let cell = |(text, (_, align)): (&str, (&str, Align))| {
        let class = if align == Align::Left { " class=\"text\"" } else { "" };
        format!("<{tag}{class}>{}</{tag}>", escaped(text))
    };
    texts.zip(table.columns()).map(cell).collect()
}

fn notes(notes: &[String]) -> String {
    let items: String = notes.iter().map(|note| format!("<li>{}</li>\n", escaped(note))).collect();
    if notes.is_empty() { items } else { format!("<h2>Notes</h2>\n<ul class=\"notes\">\n{items}</ul>\n") }
}

/// `text` as HTML text or in an attribute.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_scenario_says_cannot_become_markup() {
        assert_eq!(escaped("<script>\"a\" & b"), "&lt;script&gt;&quot;a&quot; &amp; b");
    }
}
