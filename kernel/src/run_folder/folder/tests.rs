use super::{
    super::{
        digest::sha256, files::failing::FailingFiles, journal::WaitingLines, place::Earlier, replace::REPORT,
        rows::read_records,
    },
    *,
};
use crate::{
    record::{RequestRow, Row},
    status::Outcome,
};

fn records() -> Records {
    let requests = (0..3).map(|id| RequestRow {
        id,
        intended_us: id * 1_000,
        sent_us: Some(id * 1_000),
        done_us: Some(id * 1_000 + 500),
        latency_us: Some(500),
        status: Outcome::OK,
        server: Some("server-0".into()),
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
    Records { requests: requests.collect(), ..Records::default() }
}

fn write(place: &Path, records: &Records) -> Result<String, FolderError> {
    write_with(Arc::new(OsFiles), place, records)
}

fn write_with(files: Arc<dyn Files>, place: &Path, records: &Records) -> Result<String, FolderError> {
    Ok(write_as(files, place, records, Earlier::Replace)?.digest)
}

fn write_as(files: Arc<dyn Files>, place: &Path, records: &Records, earlier: Earlier) -> Result<Written, FolderError> {
    let text = "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n";
    let scenario = Scenario::parse("short.toml", text, &[]).unwrap();
    let folder = RunFolder::prepare_with(files, place, earlier)?;
    folder.write(&scenario, &RunInfo::new("sim", 1), records, scenario.duration)
}

/// Records `records` to a folder at `place` as they would come, and completes it.
fn record_with(files: Arc<dyn Files>, place: &Path, records: &Records) -> Result<Written, FolderError> {
    let text = "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n";
    let scenario = Scenario::parse("short.toml", text, &[]).unwrap();
    let info = RunInfo::new("real", 1);
    let mut folder = RunFolder::prepare_with(files, place, Earlier::Keep)?;
    let mut journal = folder.begin(&scenario, &info)?;
    for row in records.requests.iter().rev() {
        let mut lines = WaitingLines::default();
        lines.push(&Row::Request(row.clone()));
        if let Err(error) = journal.append(&mut lines) {
            folder.interrupt(&error.to_string());
            return Err(error);
        }
    }
    folder.conclude(&scenario, &info, RunEnd { duration: scenario.duration, end_us: 1_000_000 })
}

/// Returns the folders in `directory` whose runs are not complete.
fn partial(directory: &Path) -> Vec<PathBuf> {
    let paths = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|end| end == "partial")).collect()
}

#[test]
fn an_error_at_any_call_leaves_all_rows_that_were_written_before() {
    for calls in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let files = FailingFiles::failing_at(calls);
        let recorded = record_with(files.clone(), &directory.path().join("run"), &records());
        let ids =
            |place: &Path| -> Vec<u64> { read_records(place).unwrap().requests.iter().map(|row| row.id).collect() };
        match (recorded, partial(directory.path()).as_slice()) {
            (Ok(written), []) => assert_eq!(ids(&written.placed.place), [0, 1, 2]),
            // Nothing had been recorded.
            (Err(_), []) => {}
            (Err(error), [left]) => {
                let ids = ids(left);
                let is_as_they_came = !ids.is_empty() && [2, 1, 0].starts_with(&ids);
                assert!(is_as_they_came || ids == [0, 1, 2], "failed at call {calls}: {ids:?}");
                let what = RunState::read(left).map(|state| state.describe());
                assert!(what.is_none_or(|what| what.contains(&error.to_string())), "failed at call {calls}");
            }
            (recorded, left) => panic!("failed at call {calls}: {recorded:?}, and there is {left:?}"),
        }
        if !files.has_stopped() {
            break;
        }
    }
}

#[test]
fn a_process_that_stops_at_any_call_leaves_a_folder_that_the_next_run_does_not_remove() {
    for calls in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        let files = FailingFiles::stopping_at(calls);
        let recorded = record_with(files.clone(), &place, &records());
        let left = partial(directory.path());
        record_with(Arc::new(OsFiles), &place, &records()).unwrap();
        let kept = partial(directory.path());
        let with_rows: Vec<_> = left.into_iter().filter(|left| has_rows(left)).collect();
        assert_eq!(kept, with_rows, "stopped at call {calls}");
        if !files.has_stopped() {
            assert!(recorded.is_ok());
            break;
        }
    }
}

#[test]
fn a_folder_holds_its_files_and_nothing_is_left_beside_it() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("runs/short/sim-seed1");
    write(&place, &records()).unwrap();
    for file in files_of_a_run() {
        assert!(place.join(file).is_file(), "{file} is missing");
    }
    assert_eq!(fs::read_to_string(place.join(REQUESTS.name)).unwrap().lines().count(), 3);
    assert_eq!(fs::read_dir(place.parent().unwrap()).unwrap().count(), 1);
}

#[test]
fn the_digest_follows_the_records() {
    let directory = tempfile::tempdir().unwrap();
    let first = write(&directory.path().join("a"), &records()).unwrap();
    assert_eq!(write(&directory.path().join("b"), &records()).unwrap(), first);
    assert_eq!(records().digest(), first);
    let mut other = records();
    other.requests[1].attempts = 2;
    assert_ne!(write(&directory.path().join("c"), &other).unwrap(), first);
}

#[test]
fn a_run_replaces_the_one_before_but_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    write(&place, &records()).unwrap();
    write(&place, &Records::default()).unwrap();
    assert_eq!(fs::read_to_string(place.join(REQUESTS.name)).unwrap(), "");

    let precious = directory.path().join("precious");
    fs::create_dir(&precious).unwrap();
    fs::write(precious.join("thesis.txt"), "years of work").unwrap();
    assert!(matches!(write(&precious, &records()), Err(FolderError::Occupied { .. })));
    assert!(precious.join("thesis.txt").is_file());
}

#[test]
fn a_run_that_fails_leaves_nothing() {
    let directory = tempfile::tempdir().unwrap();
    drop(RunFolder::prepare(&directory.path().join("runs/short/run"), Earlier::Replace).unwrap());
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
}

#[test]
fn a_file_in_the_way_is_reported_before_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("file");
    fs::write(&file, "").unwrap();
    assert!(matches!(RunFolder::prepare(&file, Earlier::Replace), Err(FolderError::Occupied { .. })));
    assert!(matches!(RunFolder::prepare(&file.join("run"), Earlier::Replace), Err(FolderError::Unwritable { .. })));
    assert!(matches!(
        RunFolder::prepare(&directory.path().join("none/.."), Earlier::Replace),
        Err(FolderError::Unwritable { .. })
    ));
    assert!(matches!(RunFolder::prepare("/".as_ref(), Earlier::Force), Err(FolderError::Occupied { .. })));
}

#[test]
fn a_folder_with_a_file_that_is_called_as_one_of_a_run_is_not_a_run() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("p");
    fs::create_dir_all(place.join("src")).unwrap();
    fs::write(place.join(RUN), "{}").unwrap();
    fs::write(place.join("src/thesis.txt"), "years of work").unwrap();
    for earlier in [Earlier::Replace, Earlier::Keep, Earlier::Force] {
        let refused = RunFolder::prepare(&place, earlier);
        assert!(matches!(refused, Err(FolderError::Occupied { .. })), "{earlier:?}: {refused:?}");
    }
    assert_eq!(fs::read_to_string(place.join("src/thesis.txt")).unwrap(), "years of work");
    assert_eq!(fs::read_to_string(place.join(RUN)).unwrap(), "{}");
}

#[test]
fn files_of_others_stay_in_the_folder_when_its_run_is_replaced() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    write(&place, &records()).unwrap();
    fs::create_dir_all(place.join("logs/mine")).unwrap();
    for name in ["notes.txt", "logs/mine/a.log", "logs/b.log"] {
        fs::write(place.join(name), name).unwrap();
    }
    let mut report = Manifest::new(REPORT);
    fs::create_dir(place.join("report")).unwrap();
    for (name, listed) in [("report.txt", true), ("comments.txt", false)] {
        fs::write(place.join("report").join(name), name).unwrap();
        if listed {
            report.add(name, sha256(name.as_bytes()));
        }
    }
    fs::write(place.join("report").join(MANIFEST), report.to_json()).unwrap();

    write(&place, &Records::default()).unwrap();
    assert_eq!(requests_at(&place), Some(0));
    for name in ["notes.txt", "logs/mine/a.log", "logs/b.log"] {
        assert_eq!(fs::read_to_string(place.join(name)).unwrap(), name);
    }
    // The report of the replaced run is gone, but for what somebody else has put there.
    assert_eq!(OsFiles.list(&place.join("report")).unwrap(), ["comments.txt"]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn a_run_that_was_changed_is_replaced_by_force_only() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    write(&place, &records()).unwrap();
    assert_eq!(RunFolder::damage(&place).unwrap(), None);
    fs::write(place.join(EVENTS.name), "my notes").unwrap();
    assert_eq!(RunFolder::damage(&place).unwrap(), Some(place.join(EVENTS.name)));
    let error = write(&place, &records()).unwrap_err();
    assert!(matches!(&error, FolderError::Changed { path } if *path == place.join(EVENTS.name)), "{error}");
    assert_eq!(fs::read_to_string(place.join(EVENTS.name)).unwrap(), "my notes");
    write_as(Arc::new(OsFiles), &place, &records(), Earlier::Force).unwrap();
    assert_eq!(fs::read_to_string(place.join(EVENTS.name)).unwrap(), "");
}

#[test]
fn an_earlier_run_that_is_kept_leaves_the_next_name() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("real-seed42");
    for (name, records) in
        [("real-seed42", records()), ("real-seed42-2", Records::default()), ("real-seed42-3", records())]
    {
        let written = write_as(Arc::new(OsFiles), &place, &records, Earlier::Keep).unwrap();
        assert_eq!(written.placed.place, directory.path().join(name));
        assert_eq!(requests_at(&written.placed.place), Some(records.requests.len()));
    }
    assert_eq!(requests_at(&place), Some(3));
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
}

#[test]
fn a_simulated_run_does_not_replace_a_real_one() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let scenario =
        Scenario::parse("short.toml", "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n", &[]).unwrap();
    let folder = RunFolder::prepare(&place, Earlier::Keep).unwrap();
    folder.write(&scenario, &RunInfo::new("real", 1), &records(), scenario.duration).unwrap();
    let written = write_as(Arc::new(OsFiles), &place, &Records::default(), Earlier::Replace).unwrap();
    assert_eq!(written.placed.place, directory.path().join("run-2"));
    assert_eq!((requests_at(&place), requests_at(&written.placed.place)), (Some(3), Some(0)));
    write_as(Arc::new(OsFiles), &place, &Records::default(), Earlier::Force).unwrap();
    assert_eq!(requests_at(&place), Some(0));
}

#[test]
fn a_second_run_into_a_place_is_refused_before_it_starts() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let first = RunFolder::prepare(&place, Earlier::Replace).unwrap();
    for earlier in [Earlier::Replace, Earlier::Keep, Earlier::Force] {
        assert!(matches!(RunFolder::prepare(&place, earlier), Err(FolderError::InUse { .. })));
    }
    drop(first);
    write(&place, &records()).unwrap();
}

#[test]
fn a_run_is_not_lost_to_what_came_into_its_place() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let text = "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n";
    let scenario = Scenario::parse("short.toml", text, &[]).unwrap();
    let folder = RunFolder::prepare(&place, Earlier::Replace).unwrap();
    fs::create_dir(&place).unwrap();
    fs::write(place.join("thesis.txt"), "years of work").unwrap();
    let written = folder.write(&scenario, &RunInfo::new("sim", 1), &records(), scenario.duration).unwrap();
    assert_eq!(written.placed.place, directory.path().join("run-2"));
    assert_eq!(requests_at(&written.placed.place), Some(3));
    assert_eq!(OsFiles.list(&place).unwrap(), ["thesis.txt"]);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2);
}

#[test]
fn what_a_killed_run_left_is_removed_but_nothing_that_cannot_be_had_again() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let left = |number: u32, files: &[(&str, &str)]| {
        let folder = directory.path().join(format!("run.12-{number}.partial"));
        for (name, content) in files {
            let path = folder.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        folder
    };
    let info = |world: &str| pretty(&RunInfo::new(world, 1));
    let removed = [
        left(0, &[("logs/server-0.log", "ready")]),
        left(1, &[(RUN, &info("sim")), (REQUESTS.name, "{\"id"), (EVENTS.name, "")]),
        left(2, &[(RUN, &info("real")), (EVENTS.name, "")]),
    ];
    let kept = [
        left(3, &[("thesis.txt", "years of work")]),
        left(4, &[("logs/thesis.txt", "years of work")]),
        left(5, &[("run.json/thesis.txt", "years of work")]),
        left(6, &[(RUN, &info("real")), (EVENTS.name, "{\"at_us")]),
        left(7, &[(EVENTS.name, "{\"at_us")]),
    ];
    write(&place, &records()).unwrap();
    assert!(removed.iter().all(|folder| !folder.exists()), "{removed:?}");
    assert!(kept.iter().all(|folder| folder.exists()), "{kept:?}");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1 + kept.len());
}

#[test]
fn a_folder_that_is_called_as_a_replaced_one_is_not_touched() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    write(&place, &records()).unwrap();
    // A copy by the user, and what a kill left that somebody has put something into.
    write(&directory.path().join("run.replaced"), &records()).unwrap();
    let other = directory.path().join("run.12-3.replaced");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("thesis.txt"), "years of work").unwrap();
    write(&place, &Records::default()).unwrap();
    assert_eq!(requests_at(&directory.path().join("run.replaced")), Some(3));
    assert!(other.join("thesis.txt").is_file());
}

#[test]
fn a_run_without_a_manifest_is_replaced_by_force_and_kept_by_a_real_run() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    write(&place, &records()).unwrap();
    fs::remove_file(place.join(MANIFEST)).unwrap();
    fs::write(place.join("thesis.txt"), "years of work").unwrap();
    assert!(matches!(RunFolder::prepare(&place, Earlier::Replace), Err(FolderError::Unlisted { .. })));
    let beside = RunFolder::prepare(&place, Earlier::Keep).unwrap();
    assert_eq!(beside.place().path(), directory.path().join("run-2"));
    drop(beside);
    write_as(Arc::new(OsFiles), &place, &Records::default(), Earlier::Force).unwrap();
    assert_eq!(requests_at(&place), Some(0));
    assert_eq!(fs::read_to_string(place.join("thesis.txt")).unwrap(), "years of work");
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[cfg(unix)]
#[test]
fn nothing_outside_the_folder_is_touched_whatever_its_manifest_lists() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let elsewhere = directory.path().join("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::write(elsewhere.join("thesis.txt"), "years of work").unwrap();
    write(&place, &records()).unwrap();
    let mut manifest = Manifest::read(&place).unwrap();
    manifest.add("logs/thesis.txt", sha256(b"years of work"));
    manifest.add("thesis.txt", sha256(b"years of work"));
    fs::write(place.join(MANIFEST), manifest.to_json()).unwrap();
    std::os::unix::fs::symlink(&elsewhere, place.join("logs")).unwrap();
    std::os::unix::fs::symlink(elsewhere.join("thesis.txt"), place.join("thesis.txt")).unwrap();

    assert!(matches!(write(&place, &records()), Err(FolderError::Changed { .. })));
    write_as(Arc::new(OsFiles), &place, &records(), Earlier::Force).unwrap();
    assert_eq!(fs::read_to_string(elsewhere.join("thesis.txt")).unwrap(), "years of work");
    assert!(place.join("logs").is_symlink());
}

fn files_of_a_run() -> impl Iterator<Item = &'static str> {
    ROWS.into_iter().chain([SCENARIO, RUN, SUMMARY, MANIFEST])
}

/// Returns how many requests the complete run folder at `place` holds; none if there is no complete one.
fn requests_at(place: &Path) -> Option<usize> {
    files_of_a_run().all(|file| place.join(file).is_file()).then_some(())?;
    Some(fs::read_to_string(place.join(REQUESTS.name)).ok()?.lines().count())
}

/// Calls `check` with a folder that holds a run and a file of somebody else, and with operations that fail from each
/// call on, or at each call alone, until a run is written without reaching the call.
fn with_every_failure(failing: impl Fn(usize) -> Arc<FailingFiles>, check: impl Fn(&Path, &Path)) {
    for calls in 0.. {
        let directory = tempfile::tempdir().unwrap();
        let place = directory.path().join("run");
        write(&place, &Records::default()).unwrap();
        fs::write(place.join("thesis.txt"), "years of work").unwrap();
        let files = failing(calls);
        let written = write_with(files.clone(), &place, &records());
        check(directory.path(), &place);
        // Whatever was left, the next run writes its folder.
        write(&place, &records()).unwrap();
        assert_eq!(requests_at(&place), Some(3));
        assert_eq!(fs::read_to_string(place.join("thesis.txt")).unwrap(), "years of work");
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "call {calls}");
        if !files.has_stopped() {
            written.unwrap();
            assert!(calls > 30, "only {calls} calls");
            break;
        }
    }
}

#[test]
fn a_process_that_stops_at_any_call_leaves_the_earlier_run_or_the_new_one() {
    with_every_failure(FailingFiles::stopping_at, |folder, place| {
        // Between the two moves there is none under the run's own name.
        let folders: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
        let kept = requests_at(place).or_else(|| folders.iter().find_map(|former| requests_at(former)));
        assert!(matches!(kept, Some(0 | 3)), "{kept:?}");
        assert!(folders.iter().any(|folder| folder.join("thesis.txt").is_file()));
    });
}

#[test]
fn an_error_at_any_call_leaves_the_earlier_run_or_the_new_one_in_its_place() {
    with_every_failure(FailingFiles::failing_at, |_, place| {
        assert!(matches!(requests_at(place), Some(0 | 3)), "{:?}", requests_at(place));
    });
}

#[cfg(unix)]
#[test]
fn a_link_goes_on_pointing_to_the_run() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("run");
    let link = directory.path().join("latest");
    write(&place, &records()).unwrap();
    std::os::unix::fs::symlink(&place, &link).unwrap();
    write(&link, &Records::default()).unwrap();
    assert!(link.is_symlink());
    assert_eq!(fs::read_to_string(place.join(REQUESTS.name)).unwrap(), "");

    let nowhere = directory.path().join("nowhere");
    std::os::unix::fs::symlink("gone", &nowhere).unwrap();
    assert!(matches!(RunFolder::prepare(&nowhere, Earlier::Replace), Err(FolderError::Occupied { .. })));
}
