//! A run whose rows are written as they come: the same bytes as those of one that is written at once, and what stays of one
//! that does not come to its end.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use kernel::{
    record::{AttemptRow, Event, EventRow, Records, RequestRow, Row},
    run_folder::{
        Earlier, Journal, Progress, RunEnd, RunFolder, RunInfo, RunState, WaitingLines, read_records, sort_rows,
    },
    scenario::Scenario,
    status::{Code, Outcome},
};

const SCENARIO: &str = "name = \"story\"\nduration = \"2s\"\n[load]\nrate = 100\n[servers]\nreplicas = 2\n";

fn scenario() -> Scenario {
    Scenario::parse("story.toml", SCENARIO, &[]).unwrap()
}

/// Two hundred requests with an attempt and some events each. Of the events some are of the same instant.
fn records() -> Records {
    let mut records = Records::default();
    for id in 0..200 {
        let at_us = id * 10_000;
        let server = format!("server-{}", id % 2);
        let is_ok = id % 7 != 0;
        let status = if is_ok { Code::Ok } else { Code::Unavailable };
        records.requests.push(RequestRow {
            id,
            intended_us: at_us,
            sent_us: Some(at_us),
            done_us: Some(at_us + 3_000 + id),
            latency_us: Some(3_000 + id),
            status: Outcome::Status(status),
            server: is_ok.then(|| server.as_str().into()),
            attempts: 1,
            failovers: 0,
            size: "8x8".to_owned(),
            hedges: 0,
            rejected: false,
            answer: None,
            kind: None,
            user: None,
            stream: None,
        });
        records.attempts.push(AttemptRow {
            request: id,
            attempt: 1,
            server: server.as_str().into(),
            start_us: at_us,
            end_us: at_us + 3_000 + id,
            status,
            cause: (!is_ok).then(|| "the server is down".to_owned()),
            committed_us: None,
        });
        records.events.push(event(at_us, "client", Event::Pick, id, &server));
        records.events.push(event(at_us + 2_000, &server, Event::Finished, id, &server));
        records.events.push(event(at_us + 2_000, "client", Event::Ready, id, &server));
    }
    records.sort();
    records
}

fn event(at_us: u64, source: &str, event: Event, request: u64, target: &str) -> EventRow {
    EventRow {
        at_us,
        source: source.into(),
        event,
        target: Some(target.into()),
        cause: None,
        fault: None,
        request: Some(request),
        call: None,
        attempt: Some(1),
        duration_us: None,
    }
}

/// The rows in an order in which they may arrive: those of a kind out of order, but events of one instant as recorded.
fn arriving(records: &Records) -> Vec<Row> {
    let requests = records.requests.iter().rev().cloned().map(Row::Request);
    let attempts = records.attempts.iter().rev().cloned().map(Row::Attempt);
    let (late, early): (Vec<_>, Vec<_>) = records.events.iter().cloned().partition(|row| row.at_us % 20_000 < 10_000);
    requests.chain(late.into_iter().chain(early).map(Row::Event)).chain(attempts).collect()
}

fn append(journal: &mut Journal, rows: &[Row]) {
    let mut lines = WaitingLines::default();
    for row in rows {
        lines.push(row);
    }
    journal.append(&mut lines).unwrap();
}

fn prepare(place: &Path) -> RunFolder {
    RunFolder::prepare(place, Earlier::Keep).unwrap()
}

/// Every file of the folder at `place`, by name.
fn content(place: &Path) -> BTreeMap<String, String> {
    let entries = fs::read_dir(place).unwrap().map(|entry| entry.unwrap());
    let files = entries.map(|entry| (entry.file_name().into_string().unwrap(), entry.path()));
    files.map(|(name, path)| (name, fs::read_to_string(path).unwrap())).collect()
}

fn only_entry(directory: &Path) -> PathBuf {
    let mut entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let entry = entries.next().expect("there is one");
    assert_eq!(entries.next(), None);
    entry
}

#[test]
fn rows_that_are_written_as_they_come_leave_the_same_bytes() {
    let directory = tempfile::tempdir().unwrap();
    let (scenario, info, records) = (scenario(), RunInfo::new("real", 3), records());
    let at_once = directory.path().join("at_once");
    let written = prepare(&at_once).write(&scenario, &info, &records, scenario.duration).unwrap();

    let as_it_came = directory.path().join("as_it_came");
    let mut folder = prepare(&as_it_came);
    let mut journal = folder.begin(&scenario, &info).unwrap();
    let mut rows = arriving(&records);
    // What happens to the processes when the run has ended is no part of it.
    rows.push(Row::Event(event(9_000_000, "server-0", Event::Listening, 0, "server-0")));
    rows.chunks(70).for_each(|rows| append(&mut journal, rows));
    let recorded =
        folder.conclude(&scenario, &info, RunEnd { duration: scenario.duration, end_us: 2_500_000 }).unwrap();

    assert_eq!(content(&as_it_came), content(&at_once));
    assert_eq!((recorded.digest, recorded.summary), (written.digest, written.summary));
    assert_eq!(read_records(&as_it_came).unwrap(), records);
}

#[test]
fn rows_of_a_run_that_is_not_complete_can_be_read_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let mut folder = prepare(&directory.path().join("run"));
    let mut journal = folder.begin(&scenario(), &RunInfo::new("real", 3)).unwrap();
    append(&mut journal, &arriving(&records()));
    folder.interrupt("a test");
    let left = folder.remains().unwrap();
    // A kill in the middle of a write.
    let mut file = fs::File::options().append(true).open(left.join("requests.jsonl")).unwrap();
    file.write_all(b"{\"id\":200,").unwrap();
    let sorted = directory.path().join("sorted");
    fs::create_dir(&sorted).unwrap();
    sort_rows(left, &sorted).unwrap();
    assert_eq!(read_records(&sorted).unwrap(), records());
}

#[test]
fn a_run_that_a_panic_ends_leaves_its_rows_and_the_next_one_does_not_remove_them() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let panicked = catch_unwind(AssertUnwindSafe(|| {
        let mut folder = prepare(&place);
        let mut journal = folder.begin(&scenario(), &RunInfo::new("real", 3)).unwrap();
        append(&mut journal, &arriving(&records()));
        panic!("what a bug would do");
    }));
    assert!(panicked.is_err());
    let left = only_entry(directory.path());
    let before = content(&left);
    assert_eq!(
        before.keys().collect::<Vec<_>>(),
        ["attempts.jsonl", "events.jsonl", "requests.jsonl", "run.json", "scenario.toml", "state.json"]
    );
    assert_eq!(RunState::read(&left).map(|state| state.state), Some(Progress::Running));
    let mut next = prepare(&place);
    next.begin(&scenario(), &RunInfo::new("real", 3)).unwrap();
    next.interrupt("nothing was recorded");
    drop(next);
    assert_eq!(only_entry(directory.path()), left);
    assert_eq!(content(&left), before);
}

#[test]
fn a_run_that_is_interrupted_leaves_what_was_recorded_if_anything_was() {
    let directory = tempfile::tempdir().unwrap();
    let mut folder = prepare(&directory.path().join("run"));
    let mut journal = folder.begin(&scenario(), &RunInfo::new("real", 3)).unwrap();
    folder.interrupt("too early");
    assert_eq!(folder.remains(), None);
    append(&mut journal, &arriving(&records())[..5]);
    folder.interrupt("load ended with signal: 9 (SIGKILL)");
    let left = folder.remains().unwrap().to_owned();
    drop(folder);
    assert_eq!(only_entry(directory.path()), left);
    let state = RunState::read(&left).unwrap();
    assert_eq!(state.describe(), "ended before its time: load ended with signal: 9 (SIGKILL)");
}
