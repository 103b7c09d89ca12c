//! A terminal as SVG: plain text in a window, with the marks of a report in colour.

use std::fmt::Write;

/// Width of a character, in pixels.
const COLUMN: f64 = 7.8;
/// Height of a line, in pixels.
const LINE: f64 = 18.0;
/// Space around the text, in pixels.
const MARGIN: f64 = 20.0;
/// Height of the window's bar, in pixels.
const BAR: f64 = 32.0;

const BACKGROUND: &str = "#161b22";
const BAR_COLOR: &str = "#21262d";
const TEXT: &str = "#d1d7e0";
const GOOD: &str = "#3fb950";
const BAD: &str = "#f85149";
const FAINT: &str = "#768390";

/// Returns the picture of a terminal in which `command` has printed `output`.
///
/// Every line is stretched to its number of columns, so that tables are aligned in whichever font the reader's system has.
pub(crate) fn svg(command: &str, output: &str) -> String {
    let prompt = format!("$ {command}");
    let lines: Vec<&str> = [prompt.as_str(), ""].into_iter().chain(output.lines()).collect();
    let columns = lines.iter().map(|line| line.chars().count()).max().unwrap_or(0);
    let width = columns as f64 * COLUMN + 2.0 * MARGIN;
    let height = BAR + lines.len() as f64 * LINE + 2.0 * MARGIN;
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {width:.0} {height:.0}\" role=\"img\" aria-label=\"Output of {label}\">\n\
         <rect width=\"{width:.0}\" height=\"{height:.0}\" rx=\"8\" fill=\"{BACKGROUND}\"/>\n\
         <path d=\"M0 {BAR}V8a8 8 0 0 1 8-8H{right:.0}a8 8 0 0 1 8 8V{BAR}z\" fill=\"{BAR_COLOR}\"/>\n",
        label = escaped(command),
        right = width - 8.0,
    );
    for (place, color) in [(20, "#f85149"), (40, "#d29922"), (60, "#3fb950")] {
        svg += &format!("<circle cx=\"{place}\" cy=\"16\" r=\"6\" fill=\"{color}\"/>\n");
    }
    svg += &format!(
        "<g font-family=\"ui-monospace,SFMono-Regular,Menlo,Consolas,DejaVu Sans Mono,monospace\" font-size=\"13\" \
         fill=\"{TEXT}\">\n"
    );
    for (index, line) in lines.iter().enumerate() {
        let y = BAR + MARGIN + (index as f64 + 0.7) * LINE;
        add_line(&mut svg, line, y);
    }
    svg + "</g>\n</svg>\n"
}

/// Adds a line of text with its colours, at the height `y`.
fn add_line(svg: &mut String, line: &str, y: f64) {
    let text = line.trim_start();
    if text.is_empty() {
        return;
    }
    let x = MARGIN + (line.chars().count() - text.chars().count()) as f64 * COLUMN;
    let length = text.chars().count() as f64 * COLUMN;
    let mut spans = String::new();
    for (part, color) in colored(text) {
        let part = escaped(part);
        // Writing to a string cannot fail.
        let _ = match color {
            Some(color) => write!(spans, "<tspan fill=\"{color}\">{part}</tspan>"),
            None => write!(spans, "{part}"),
        };
    }
    *svg +=
        &format!("<text xml:space=\"preserve\" x=\"{x:.1}\" y=\"{y:.1}\" textLength=\"{length:.1}\">{spans}</text>\n");
}

/// Splits a line into parts, each with its colour if it is not that of all text.
fn colored(line: &str) -> Vec<(&str, Option<&str>)> {
    for (mark, color) in [("PASS", GOOD), ("✓", GOOD), ("FAIL", BAD), ("✗", BAD), ("$", GOOD)] {
        if let Some(rest) = line.strip_prefix(mark) {
            return vec![(mark, Some(color)), (rest, None)];
        }
    }
    for label in ["folder", "digest", "replay"] {
        if let Some(rest) = line.strip_prefix(label) {
            return vec![(label, Some(FAINT)), (rest, None)];
        }
    }
    let is_rule = line.chars().all(|character| matches!(character, '-' | ' '));
    vec![(line, is_rule.then_some(FAINT))]
}

/// Returns the text with the characters replaced that XML gives a meaning.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
