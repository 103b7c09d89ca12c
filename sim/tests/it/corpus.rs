//! Scenarios that once broke an invariant or an expectation, as small as they could be made.

use std::{fs, path::Path};

use crate::{
    play::{load, play},
    soundness,
};

/// Each says in its head what it once broke, and which command plays it.
#[test]
fn nothing_that_was_found_once_breaks_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/corpus");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus is there");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let command = text.lines().find_map(|line| line.strip_prefix("# cargo run -p sim -- ")).unwrap();
        let (path, seed) = command.split_once(" --seed ").unwrap();
        assert!(file.ends_with(path), "{command} does not play {}", file.display());
        let scenario = load(&file);
        assert_eq!(file.file_stem().and_then(|stem| stem.to_str()), Some(&*scenario.name));
        let story = play(scenario, seed.parse().unwrap());
        soundness::check(&story);
        assert!(story.summary.pass, "{}", story.account());
    }
}
