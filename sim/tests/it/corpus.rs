//! Scenarios that once violated an invariant or failed an expectation, minimised.

use std::{fs, path::Path};

use crate::{
    simulated::{load, simulate},
    soundness,
};

/// Each file begins with what it once violated, and with the command that runs it.
#[test]
fn every_scenario_of_the_corpus_passes() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/corpus");
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    assert!(!files.is_empty(), "the corpus is there");
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        let command = text.lines().find_map(|line| line.strip_prefix("# cargo run -p sim -- ")).unwrap();
        let (path, seed) = command.split_once(" --seed ").unwrap();
        assert!(file.ends_with(path), "{command} does not run {}", file.display());
        let scenario = load(&file);
        assert_eq!(file.file_stem().and_then(|stem| stem.to_str()), Some(&*scenario.name));
        let run = simulate(scenario, seed.parse().unwrap());
        soundness::check(&run);
        // What once broke an invariant may be a single call that fails, which is no success. Expectations hold all the same.
        assert!(run.summary.expectations.iter().all(|checked| checked.pass), "{}", run.report());
    }
}
