//! How well episodes are found: in generated logs whose disturbances are known, and in runs of `sim`.

mod runs;

use std::{env, fs, path::Path, time::Duration};

use kernel::{
    entropy::{Entropy, unit},
    measure::text::table::{Align, TextTable},
    record::RequestRow,
    status::{Code, Outcome},
};

use super::{Episode, episode::episodes};
use crate::{
    fold::Windows,
    rows::{PackedRow, RowTable},
};

/// The length of a simulated log, in seconds.
const LENGTH_S: u64 = 60;

/// The share of requests that fail at any time.
const STEADY: f64 = 0.0125;

/// A kind of stretch in which more requests fail, all are slower, or none is sent.
#[derive(Debug, Clone, Copy)]
struct Kind {
    name: &'static str,
    length_s: f64,
    /// The share of requests that fail.
    failing: f64,
    /// The factor of all latencies.
    slower: f64,
    is_silent: bool,
}

/// Each costs a twentieth of the calls of the minute at least, by a failure or by more than twice its latency.
const KINDS: [Kind; 7] = [
    Kind { name: "nothing", length_s: 0.0, failing: 0.0, slower: 1.0, is_silent: false },
    Kind { name: "all fail", length_s: 3.0, failing: 1.0, slower: 1.0, is_silent: false },
    Kind { name: "half fail", length_s: 6.0, failing: 0.5, slower: 1.0, is_silent: false },
    Kind { name: "30 % fail", length_s: 10.0, failing: 0.3, slower: 1.0, is_silent: false },
    Kind { name: "3 times as slow", length_s: 10.0, failing: 0.0, slower: 3.0, is_silent: false },
    Kind { name: "10 times as slow", length_s: 5.0, failing: 0.0, slower: 10.0, is_silent: false },
    Kind { name: "silence", length_s: 8.0, failing: 0.0, slower: 1.0, is_silent: true },
];

/// Returns the start of the disturbance of a log, in seconds.
fn start_s(seed: u64) -> f64 {
    15.0 + (seed as f64 * 1.7) % 30.0
}

/// Returns the episodes of a simulated log with this number of requests a second.
fn found(seed: u64, rate: u64, kind: Kind) -> Vec<Episode> {
    let mut numbers = Entropy::new(seed).stream("log");
    let disturbed = start_s(seed)..start_s(seed) + kind.length_s;
    let mut rows: Vec<RequestRow> = Vec::new();
    for id in 0..rate * LENGTH_S {
        let at_s = (id as f64 + unit(&mut numbers)) / rate as f64;
        let is_disturbed = disturbed.contains(&at_s);
        let failing = if is_disturbed { kind.failing.max(STEADY) } else { STEADY };
        let slower = if is_disturbed { kind.slower } else { 1.0 };
        let latency_s = (0.005 - 0.005 * unit(&mut numbers).max(1e-9).ln()) * slower;
        let has_failed = unit(&mut numbers) < failing;
        if is_disturbed && kind.is_silent {
            continue;
        }
        let mut row = RequestRow::blank();
        row.id = id;
        row.intended_us = (at_s * 1e6) as u64;
        row.latency_us = Some((latency_s * 1e6) as u64);
        row.sent_us = Some(row.intended_us);
        row.done_us = row.latency_us.map(|us| row.intended_us + us);
        row.status = if has_failed { Outcome::Status(Code::Unavailable) } else { Outcome::OK };
        rows.push(row);
    }
    let table = RowTable::from_rows(&rows);
    let end_us = LENGTH_S * 1_000_000;
    let windows = Windows::of_rows(&table, &RowTable::default(), end_us, Duration::from_secs(1)).unwrap();
    episodes(&windows, &table, true)
}

/// The results for logs of one kind.
#[derive(Debug, Default)]
struct Tally {
    runs: usize,
    /// The number of logs whose disturbance is in an episode.
    hits: usize,
    /// The number of episodes that are of no disturbance.
    wrong: usize,
    /// How far the start and the end of the episode are off, in seconds.
    starts_s: Vec<f64>,
    ends_s: Vec<f64>,
}

impl Tally {
    fn count(kind: Kind, rate: u64, seeds: u64) -> Self {
        let mut tally = Self::default();
        for seed in 0..seeds {
            let start_s = start_s(seed);
            let end_s = start_s + kind.length_s;
            let overlaps =
                |episode: &Episode| kind.length_s > 0.0 && episode.start_s < end_s && episode.end_s > start_s;
            let (hits, wrong): (Vec<Episode>, Vec<Episode>) = found(seed, rate, kind).into_iter().partition(overlaps);
            tally.runs += 1;
            tally.wrong += wrong.len();
            if let (Some(first), Some(last)) = (hits.first(), hits.last()) {
                tally.hits += 1;
                tally.starts_s.push((first.start_s - start_s).abs());
                tally.ends_s.push((last.end_s - end_s).abs());
            }
        }
        tally.starts_s.sort_by(f64::total_cmp);
        tally.ends_s.sort_by(f64::total_cmp);
        tally
    }
}

fn median(sorted: &[f64]) -> f64 {
    sorted.get(sorted.len() / 2).copied().unwrap_or(f64::INFINITY)
}

fn p95(sorted: &[f64]) -> Option<f64> {
    sorted.get(sorted.len() * 95 / 100).copied()
}

fn shown(seconds: Option<f64>) -> String {
    seconds.map_or_else(String::new, |seconds| format!("{seconds:.2} s"))
}

#[test]
fn steady_errors_are_rarely_an_episode_at_any_rate() {
    for (rate, seeds) in [(20, 200), (200, 50), (1_000, 20)] {
        let wrong = Tally::count(KINDS[0], rate, seeds).wrong;
        assert!(wrong as u64 <= seeds / 50, "{wrong} of {seeds} at {rate}/s");
    }
}

#[test]
fn what_costs_a_twentieth_of_the_calls_is_found_where_it_is() {
    for (rate, seeds) in [(20, 40), (1_000, 4)] {
        for kind in &KINDS[1..] {
            let tally = Tally::count(*kind, rate, seeds);
            assert!(
                tally.hits * 20 >= tally.runs * 19 && tally.wrong * 20 <= tally.runs,
                "{kind:?} at {rate}/s: {tally:?}"
            );
            assert!(median(&tally.starts_s) < 1.0, "{kind:?} at {rate}/s: {tally:?}");
        }
    }
}

/// `UPDATE_DOCS=1` brings the table up to date.
#[test]
#[ignore = "it takes a minute"]
fn the_table_of_two_thousand_logs_is_as_it_was_measured() {
    let mut table = TextTable::new(&[
        ("disturbance", Align::Left),
        ("seconds", Align::Right),
        ("requests/s", Align::Right),
        ("logs", Align::Right),
        ("found", Align::Right),
        ("wrong episodes", Align::Right),
        ("start off by", Align::Right),
        ("p95", Align::Right),
        ("end off by", Align::Right),
        ("p95", Align::Right),
    ]);
    let mut logs = 0;
    for (rate, seeds) in [(20, 200), (200, 86)] {
        for kind in KINDS {
            let tally = Tally::count(kind, rate, seeds);
            logs += tally.runs;
            table.row(vec![
                kind.name.to_owned(),
                kind.length_s.to_string(),
                rate.to_string(),
                tally.runs.to_string(),
                if kind.length_s > 0.0 { tally.hits.to_string() } else { String::new() },
                tally.wrong.to_string(),
                shown(tally.starts_s.get(tally.starts_s.len() / 2).copied()),
                shown(p95(&tally.starts_s)),
                shown(tally.ends_s.get(tally.ends_s.len() / 2).copied()),
                shown(p95(&tally.ends_s)),
            ]);
        }
    }
    let text = format!(
        "Episodes found in {logs} generated logs of a minute, in which {} % of the requests fail at any time\n\n{}",
        STEADY * 100.0,
        table.render()
    );
    bring_up_to_date("detection.txt", &text);
}

/// Writes a table of `measured` if `UPDATE_DOCS` asks for it. Fails if the table there is another one.
fn bring_up_to_date(name: &str, text: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("measured").join(name);
    if env::var_os("UPDATE_DOCS").is_some() {
        fs::write(&path, text).unwrap();
    }
    assert_eq!(fs::read_to_string(&path).unwrap_or_default(), text, "UPDATE_DOCS=1 brings it up to date");
}
