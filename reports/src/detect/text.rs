//! The comparison of detectors, for the terminal and as JSON.

use kernel::{
    measure::text::{
        quantity::{duration, percent, trimmed},
        table::{Align, TextTable},
    },
    visible::Visible,
};
use serde_json::{Value, json};

use super::{
    bench::{Bench, Entry},
    figures::{Counts, Share},
};

/// The longest name of a detector in a table; that of a program is its command.
const NAME_MAX: usize = 24;

/// Returns the report. It ends with a line break.
pub(super) fn report(bench: &Bench) -> String {
    let days = bench.entries.first().map_or(0.0, |entry| entry.counts.calm_us as f64 / 86_400e6);
    let mut sections = vec![
        format!("{} runs of the half `{}`; {days:.1} days of them without faults\n", bench.runs, bench.half),
        figures(&bench.entries, &[THRESHOLD, RECALL, PRECISION, FALSE_ALARMS, START, END]).render(),
        format!(
            "Incidents found, by the share of bad calls in their worst minute\n\n{}",
            recalls(&bench.entries, Counts::by_effect).render()
        ),
        format!("Incidents of 5 % and more found, by kind\n\n{}", recalls(&bench.entries, Counts::by_kind).render()),
    ];
    if !bench.curves.is_empty() {
        sections.push(format!(
            "Other thresholds\n\n{}",
            figures(&bench.curves, &[THRESHOLD, RECALL, FALSE_ALARMS, START]).render()
        ));
    }
    sections.join("\n")
}

fn name(entry: &Entry) -> String {
    let shown = entry.name.visible().to_string();
    if shown.chars().count() <= NAME_MAX { shown } else { shown.chars().take(NAME_MAX - 1).chain(['…']).collect() }
}

/// A column of figures: its head, and the figure of a detector.
type Column = (&'static str, fn(&Entry) -> String);

const THRESHOLD: Column = ("threshold", threshold);
const RECALL: Column = ("recall of 5 % and more", |entry| share(entry.counts.recall_of_large()));
const PRECISION: Column = ("precision", |entry| share(entry.counts.alarms));
const FALSE_ALARMS: Column = ("false alarms a day", false_alarms);
const START: Column = ("start later by (p50, p90)", |entry| delays(entry.counts.delays_s()));
const END: Column = ("end later by (p50, p90)", |entry| delays(entry.counts.end_delays_s()));

/// Returns a table of figures: a row for each detector.
fn figures(entries: &[Entry], columns: &[Column]) -> TextTable {
    let heads = columns.iter().map(|(head, _)| (*head, Align::Right));
    let mut table = TextTable::new(&[("detector", Align::Left)].into_iter().chain(heads).collect::<Vec<_>>());
    for entry in entries {
        table.row([name(entry)].into_iter().chain(columns.iter().map(|(_, figure)| figure(entry))).collect());
    }
    table
}

/// Returns a table of recalls by class: a row for each class of incidents, a column for each detector.
fn recalls(entries: &[Entry], by_class: fn(&Counts) -> Vec<(String, Share)>) -> TextTable {
    let columns: Vec<_> = entries.iter().map(|entry| by_class(&entry.counts)).collect();
    let heads: Vec<String> = entries.iter().map(name).collect();
    let mut header = vec![("incidents", Align::Left), ("number", Align::Right)];
    header.extend(heads.iter().map(|head| (head.as_str(), Align::Right)));
    let mut table = TextTable::new(&header);
    for (row, (name, first)) in columns.first().into_iter().flatten().enumerate() {
        let mut cells = vec![name.clone(), first.of.to_string()];
        cells.extend(columns.iter().map(|column| column[row].1.value().map_or_else(|| "–".to_owned(), percent)));
        table.row(cells);
    }
    table
}

fn threshold(entry: &Entry) -> String {
    entry.threshold.map_or_else(|| "–".to_owned(), |threshold| trimmed(&format!("{threshold:.3}")))
}

fn share(share: Share) -> String {
    let Some(value) = share.value() else { return "–".to_owned() };
    let [low, high] = share.interval().map(|share| share * 100.0);
    format!("{} ({low:.1} to {high:.1})", percent(value))
}

fn false_alarms(entry: &Entry) -> String {
    let Some(rate) = entry.counts.false_a_day() else { return "–".to_owned() };
    let [low, high] = entry.counts.false_a_day_interval();
    format!("{rate:.2} ({low:.2} to {high:.2})")
}

fn delays(delays_s: Option<[f64; 2]>) -> String {
    delays_s.map_or_else(|| "–".to_owned(), |delays| delays.map(signed).join(", "))
}

fn signed(seconds: f64) -> String {
    if seconds < 0.0 { format!("-{}", duration(-seconds)) } else { duration(seconds) }
}

/// Returns the figures for programs.
pub(super) fn json(bench: &Bench) -> Value {
    json!({
        "half": bench.half,
        "runs": bench.runs,
        "detectors": bench.entries.iter().map(entry_json).collect::<Vec<_>>(),
        "curves": bench.curves.iter().map(entry_json).collect::<Vec<_>>(),
    })
}

fn entry_json(entry: &Entry) -> Value {
    let counts = &entry.counts;
    json!({
        "detector": entry.name,
        "threshold": entry.threshold,
        "recall": share_json(counts.recall_of_large()),
        "precision": share_json(counts.alarms),
        "false_alarms": counts.false_alarms,
        "calm_days": counts.calm_us as f64 / 86_400e6,
        "false_alarms_a_day": counts.false_a_day(),
        "false_alarms_a_day_interval": counts.false_a_day_interval(),
        "start_delay_s": counts.delays_s(),
        "end_delay_s": counts.end_delays_s(),
        "by_effect": counts.by_effect().into_iter().map(recall_json).collect::<Vec<_>>(),
        "by_kind": counts.by_kind().into_iter().map(recall_json).collect::<Vec<_>>(),
    })
}

fn recall_json((incidents, share): (String, Share)) -> Value {
    json!({ "incidents": incidents, "recall": share_json(share) })
}

fn share_json(share: Share) -> Value {
    json!({ "count": share.count, "of": share.of, "share": share.value(), "interval": share.interval() })
}
