//! Reports say what `kernel::measure` says, to the last bit.

use std::{fs, time::Duration};

use kernel::{
    measure::{Extent, RunLabel, RunRows, Script, Summary},
    record::{Records, RequestRow},
    status::{Code, Outcome},
};
use proptest::prelude::*;
use reports::{
    analyse::RunAnalysis,
    fold::{Latency, Windows},
    read::{self, Mapping},
    rows::RowTable,
};

use crate::example_run::{S, SCENARIO, folder, write};

#[test]
fn the_report_has_the_summary_that_the_run_left() {
    let directory = tempfile::tempdir().unwrap();
    let place = folder(directory.path(), "sim", 42, 1);
    let run = read::run(&place, &Mapping::default()).unwrap();
    let analysis = RunAnalysis::from_run(run, Duration::from_secs(1)).unwrap();
    let stored: Summary = serde_json::from_str(&fs::read_to_string(place.join("summary.json")).unwrap()).unwrap();
    assert_eq!(analysis.summary, stored);
    assert_eq!(analysis.json()["summary"], serde_json::to_value(&stored).unwrap());
    assert!(analysis.notes.is_empty(), "{:?}", analysis.notes);
}

fn row() -> impl Strategy<Value = (u64, u64, u8)> {
    (0..20 * S, 0..3 * S, 0_u8..10)
}

/// Rows at any time, of which a few fail and a few are dropped.
fn rows(drawn: Vec<(u64, u64, u8)>) -> Vec<RequestRow> {
    let row = |(id, (intended_us, latency_us, kind)): (usize, (u64, u64, u8))| {
        let sent = kind != 0;
        RequestRow {
            id: id as u64,
            intended_us,
            sent_us: sent.then_some(intended_us + latency_us / 3),
            done_us: sent.then_some(intended_us + latency_us),
            latency_us: sent.then_some(latency_us),
            status: match kind {
                0 => Outcome::Dropped,
                1 => Outcome::Status(Code::Unavailable),
                _ => Outcome::OK,
            },
            server: sent.then(|| format!("server-{}", kind % 2).into()),
            attempts: u32::from(sent) * (1 + u32::from(kind % 3)),
            failovers: u32::from(sent) * u32::from(kind % 3 > 1),
            hedges: 0,
            rejected: false,
            answer: None,
            kind: None,
            user: None,
            stream: None,
            size: String::new(),
        }
    };
    drawn.into_iter().enumerate().map(row).collect()
}

fn measured(requests: &[RequestRow]) -> Summary {
    let records = Records { requests: requests.to_vec(), ..Records::default() };
    let run = RunRows::new(2, Duration::from_secs(20), &records);
    Summary::compute(RunLabel { scenario: "any", seed: 0, world: "sim", profile: None }, &run, &Script::default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn a_folder_of_any_rows_reads_back_to_its_summary(drawn in prop::collection::vec(row(), 0..60)) {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        write(&place, "sim", 1, SCENARIO, &Records { requests: rows(drawn), ..Records::default() });
        let run = read::run(&place, &Mapping::default()).unwrap();
        prop_assert_eq!(Some(run.summary()), run.stored);
    }

    /// What is counted in a window is what `kernel::measure` says of a run of that window's requests alone.
    #[test]
    fn windows_agree_with_the_metrics(drawn in prop::collection::vec(row(), 0..300)) {
        let rows = rows(drawn);
        let end_us = measured(&rows).end_us;
        let table = RowTable::from_rows(&rows);
        let windows = Windows::of_rows(&table, &RowTable::default(), end_us, Duration::from_secs(1)).unwrap();
        for (window, rate) in windows.success_rate().into_iter().enumerate() {
            let of_window: Vec<RequestRow> =
                rows.iter().filter(|row| row.intended_us / S == window as u64).cloned().collect();
            let metrics = measured(&of_window).overall;
            prop_assert_eq!((windows.offered[window], windows.succeeded[window]), (metrics.requests, metrics.succeeded));
            prop_assert_eq!((windows.dropped[window], rate), (metrics.dropped, metrics.success_rate));
            prop_assert_eq!((windows.p50[window], windows.p95[window]), (metrics.latency_p50, metrics.latency_p95));

            let ended_here = |row: &&RequestRow| row.done_us.is_some_and(|done_us| done_us / S == window as u64);
            let of_window: Vec<RequestRow> = rows.iter().filter(ended_here).cloned().collect();
            let metrics = measured(&of_window).overall;
            let ended = &windows.ended;
            prop_assert_eq!(
                (ended.p50[window], ended.p95[window], ended.p99[window], ended.max[window]),
                (metrics.latency_p50, metrics.latency_p95, metrics.latency_p99, metrics.latency_max)
            );
            prop_assert_eq!(
                (ended.uncorrected_p50[window], ended.uncorrected_p99[window]),
                (metrics.uncorrected_p50, metrics.uncorrected_p99)
            );
            prop_assert_eq!(windows.attempts_per_call()[window], metrics.attempts_per_call);
        }
        let completed: u64 = windows.completed.iter().sum();
        let sent = rows.iter().filter(|row| row.done_us.is_some_and(|at| at < windows.count() as u64 * S)).count();
        prop_assert_eq!(completed, sent as u64);
        let always = Extent::beginning_in(0..u64::MAX);
        let whole = Latency::within(&table, std::slice::from_ref(&always))[0];
        let overall = measured(&rows).overall;
        prop_assert_eq!((whole.requests, whole.p50_s, whole.p99_s), (overall.requests, overall.latency_p50, overall.latency_p99));
    }
}
