//! `sim incidents` writes sets of runs with known faults.

use std::fs;

use tempfile::TempDir;

use crate::command::{Ended, sim};

const SMALL: [&str; 6] = ["--seed", "3", "--runs", "2", "--calm-runs", "0"];

fn incidents(folder: &TempDir, name: &str, options: &[&str]) -> Ended {
    Ended::after(sim(folder.path()).args(["incidents", name]).args(options))
}

#[test]
fn a_set_is_the_same_again_and_goes_on_where_it_was() {
    let folder = TempDir::new().unwrap();
    let [first, second] = ["first", "second"].map(|name| {
        let ended = incidents(&folder, name, &SMALL);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        assert!(ended.stdout.starts_with("2 runs of seed 3 with "), "{ended:?}");
        ["runs.jsonl", "calls/00000", "calls/00001"].map(|file| fs::read(folder.path().join(name).join(file)).unwrap())
    });
    assert!(first == second && first[1] != first[2] && first[1].len() > 5_000);

    let lost = folder.path().join("first/calls/00001");
    fs::remove_file(&lost).unwrap();
    assert_eq!(incidents(&folder, "first", &SMALL).code, Some(0));
    assert_eq!(fs::read(lost).unwrap(), first[2]);
}

#[test]
fn a_folder_of_something_else_is_refused_and_stays_as_it_was() {
    let folder = TempDir::new().unwrap();
    fs::create_dir(folder.path().join("mine")).unwrap();
    fs::write(folder.path().join("mine/notes"), "mine").unwrap();
    fs::create_dir(folder.path().join("other")).unwrap();
    fs::write(folder.path().join("other/runs.jsonl"), "{}\n").unwrap();
    for (name, message) in [("mine", "is not empty and no set"), ("other", "holds a set of another draw")] {
        let ended = incidents(&folder, name, &SMALL);
        assert_eq!(ended.code, Some(2), "{ended:?}");
        assert!(ended.stderr.contains(message) && ended.stderr.contains("choose another folder"), "{ended:?}");
    }
    assert_eq!(fs::read_to_string(folder.path().join("mine/notes")).unwrap(), "mine");
    assert_eq!(fs::read_to_string(folder.path().join("other/runs.jsonl")).unwrap(), "{}\n");
}
