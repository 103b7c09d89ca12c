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
    figures::Share,
};

/// The longest name of a detector in a table; that of a program is its command.
const NAME_MAX: usize = 24;

/// Returns the report. It ends with a line break.
pub(super) fn report(bench: &Bench) -> String {
    let days = bench.entries.first().map_or(0.0, |entry| entry.counts.calm_us as f64 / 86_400e6);
    let mut sections = vec![
        format!("{} runs of the half `{}`; {days:.1} days of them without faults\n", bench.runs, bench.half),
        overview(&bench.entries).render(),
        format!(
            "Incidents found, by the share of bad calls in their worst minute\n\n{}",
            by_effect(&bench.entries).render()
        ),
        format!("Incidents of 5 % and more found, by kind\n\n{}", by_kind(&bench.entries).render()),
    ];
    if !bench.curves.is_empty() {
        sections.push(format!("Other thresholds\n\n{}", curve(&bench.curves).render()));
    }
    sections.join("\n")
}

fn name(entry: &Entry) -> String {
    let shown = entry.name.visible().to_string();
    if shown.chars().count() <= NAME_MAX { shown } else { shown.chars().take(NAME_MAX - 1).chain(['…']).collect() }
}

fn overview(entries: &[Entry]) -> TextTable {
    let mut table = TextTable::new(&[
        ("detector", Align::Left),
        ("threshold", Align::Right),
        ("recall of 5 % and more", Align::Right),
        ("precision", Align::Right),
        ("false alarms a day", Align::Right),
        ("start later by (p50, p90)", Align::Right),
        ("end later by (p50, p90)", Align::Right),
    ]);
    for entry in entries {
        let counts = &entry.counts;
        table.row(vec![
            name(entry),
            threshold(entry),
            share(counts.recall_of_large()),
            share(counts.alarms),
            false_alarms(entry),
            delays(counts.delays_s()),
            delays(counts.end_delays_s()),
        ]);
    }
    table
}

fn by_effect(entries: &[Entry]) -> TextTable {
    let classes: Vec<_> = entries.iter().map(|entry| entry.counts.by_effect()).collect();
    let names: Vec<String> = classes.first().into_iter().flatten().map(|(name, _)| (*name).to_owned()).collect();
    let cells = classes.into_iter().map(|classes| classes.into_iter().map(|(_, share)| share).collect());
    recalls(&names, entries, cells)
}

fn by_kind(entries: &[Entry]) -> TextTable {
    let kinds: Vec<_> = entries.iter().map(|entry| entry.counts.by_kind()).collect();
    let names: Vec<String> = kinds.first().into_iter().flatten().map(|(name, _)| name.clone()).collect();
    let cells = kinds.into_iter().map(|kinds| kinds.into_iter().map(|(_, share)| share).collect());
    recalls(&names, entries, cells)
}

/// Returns a table of recalls: a row for each name, a column for each detector.
fn recalls(names: &[String], entries: &[Entry], cells: impl Iterator<Item = Vec<Share>>) -> TextTable {
    let columns: Vec<Vec<Share>> = cells.collect();
    let heads: Vec<String> = entries.iter().map(name).collect();
    let mut header = vec![("incidents", Align::Left), ("number", Align::Right)];
    header.extend(heads.iter().map(|head| (head.as_str(), Align::Right)));
    let mut table = TextTable::new(&header);
    for (row, name) in names.iter().enumerate() {
        let number = columns.first().map_or(0, |column| column[row].of);
        let mut cells = vec![name.clone(), number.to_string()];
        cells.extend(columns.iter().map(|column| column[row].value().map_or_else(|| "–".to_owned(), percent)));
        table.row(cells);
    }
    table
}

fn curve(entries: &[Entry]) -> TextTable {
    let mut table = TextTable::new(&[
        ("detector", Align::Left),
        ("threshold", Align::Right),
        ("recall of 5 % and more", Align::Right),
        ("false alarms a day", Align::Right),
        ("start later by (p50, p90)", Align::Right),
    ]);
    for entry in entries {
        let counts = &entry.counts;
        table.row(vec![
            name(entry),
            threshold(entry),
            share(counts.recall_of_large()),
            false_alarms(entry),
            delays(counts.delays_s()),
        ]);
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
    let signed = |seconds: f64| if seconds < 0.0 { format!("-{}", duration(-seconds)) } else { duration(seconds) };
    delays_s.map_or_else(|| "–".to_owned(), |delays| delays.map(signed).join(", "))
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
    let recall = |(name, share): (String, Share)| json!({ "incidents": name, "recall": share_json(share) });
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
        "by_effect": counts.by_effect().into_iter().map(|(name, share)| recall((name.to_owned(), share))).collect::<Vec<_>>(),
        "by_kind": counts.by_kind().into_iter().map(recall).collect::<Vec<_>>(),
    })
}

fn share_json(share: Share) -> Value {
    json!({ "count": share.count, "of": share.of, "share": share.value(), "interval": share.interval() })
}
