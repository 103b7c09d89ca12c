//! The style sheet of a page.

use crate::draw::Paint;

/// Returns the style sheet: light, and dark for readers who ask for it. The colors of plots are attributes, which weigh
/// less than any rule.
pub(super) fn sheet() -> String {
    let dark = [
        repainted(Paint::PAPER, "#16191d"),
        repainted(Paint::INK, "#e8eaed"),
        repainted(Paint::MUTED, "#a4adb7"),
        repainted(Paint::GRID, "#2b3138"),
        repainted(Paint::PALE, "#4a5a68"),
        repainted(Paint::BAND, "#e0b040"),
        // Blue is too dark for a dark ground.
        repainted(Paint(0x00, 0x72, 0xB2), "#4aa3dc"),
    ];
    format!("{LIGHT}@media (prefers-color-scheme: dark) {{\n{DARK}{}}}\n", dark.concat())
}

/// Returns the rules that give another color to what is painted in `from`.
fn repainted(from: Paint, to: &str) -> String {
    let from = from.hexadecimal();
    format!("  figure [fill=\"{from}\"] {{ fill: {to}; }}\n  figure [stroke=\"{from}\"] {{ stroke: {to}; }}\n")
}

const LIGHT: &str = "\
:root { color-scheme: light dark; --paper: #ffffff; --ink: #1b1f24; --muted: #5b636c; --line: #e4e7eb; --soft: #f5f6f8;
  --pass: #00704f; --fail: #b34700; --link: #00609a; }
* { box-sizing: border-box; }
body { margin: 0; background: var(--paper); color: var(--ink); font: 16px/1.5 system-ui, sans-serif; }
main { max-width: 1000px; margin: 0 auto; padding: 24px 16px 64px; }
h1 { font-size: 1.5rem; line-height: 1.25; margin: 0 0 4px; overflow-wrap: anywhere; }
h2 { font-size: 1.15rem; margin: 40px 0 8px; }
p { margin: 8px 0; overflow-wrap: anywhere; }
li { overflow-wrap: anywhere; }
p.answer { font-size: 1.1rem; }
.muted { color: var(--muted); }
.verdict { display: inline-block; padding: 2px 12px; margin-bottom: 12px; border-radius: 6px; color: #ffffff; font-weight: 700; }
.verdict.pass { background: var(--pass); }
.verdict.fail { background: var(--fail); }
.verdict.none { background: var(--muted); }
.numbers { display: grid; grid-template-columns: repeat(auto-fit, minmax(130px, 1fr)); gap: 10px; margin: 20px 0; padding: 0; }
.numbers div { background: var(--soft); border-radius: 8px; padding: 10px 12px; }
.numbers dt { color: var(--muted); font-size: 0.8rem; }
.numbers dd { margin: 0; font-size: 1.2rem; font-weight: 600; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; width: 100%; font-size: 0.875rem; font-variant-numeric: tabular-nums; }
th, td { text-align: right; padding: 5px 7px; border-bottom: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
th { white-space: normal; vertical-align: bottom; }
td.again { visibility: hidden; }
td.text { white-space: normal; overflow-wrap: anywhere; }
nav { display: flex; flex-wrap: wrap; gap: 4px 16px; margin: 20px 0; font-size: 0.875rem; }
a { color: var(--link); }
.aligned th, .aligned td { text-align: right; }
.aligned .text { text-align: left; }
th { color: var(--muted); font-weight: 600; }
figure { margin: 24px 0; position: relative; }
output { position: absolute; z-index: 1; pointer-events: none; white-space: pre; padding: 6px 10px; border-radius: 6px;
  border: 1px solid var(--line); background: var(--paper); font-size: 0.75rem; font-variant-numeric: tabular-nums; }
output[hidden] { display: none; }
figure svg { width: 100%; height: auto; display: block; }
.narrow { display: none; }
pre { background: var(--soft); border-radius: 8px; padding: 12px; overflow-x: auto; font-size: 0.8125rem; line-height: 1.45; }
.ok { color: var(--pass); }
.bad { color: var(--fail); font-weight: 600; }
.notes { padding-left: 20px; }
@media (max-width: 640px) {
  main { padding: 16px 10px 48px; }
  .wide { display: none; }
  .narrow { display: block; }
  thead { display: none; }
  tr { display: block; padding: 6px 0; border-bottom: 1px solid var(--line); }
  td, .aligned td { display: flex; justify-content: space-between; gap: 12px; padding: 1px 0; border: 0; white-space: normal;
    overflow-wrap: anywhere; text-align: right; }
  td::before { content: attr(data-label); color: var(--muted); text-align: left; flex: none; max-width: 50%; }
  td:first-child { font-weight: 600; }
  td:empty { display: none; }
  td.again { visibility: visible; }
}
@media print { figure, table { break-inside: avoid; } }
";

const DARK: &str = "  :root { --paper: #16191d; --ink: #e8eaed; --muted: #a4adb7; --line: #2b3138; --soft: #20252b;
    --pass: #00704f; --fail: #b34700; --link: #6cb6e6; }
  .ok { color: #4cc9a0; }
  .bad { color: #ff9a5c; }
";
