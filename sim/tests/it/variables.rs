//! Options from environment variables.

use std::{fs, path::Path};

use tempfile::TempDir;

use crate::command::{Ended, sim};

const STORY: &str =
    "name = \"story\"\nduration = \"1s\"\n[workload]\nsizes = [\"8x8\"]\n[load]\nrate = 20\narrivals = \"poisson\"\n";

fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    fs::write(folder.path().join("story.toml"), STORY).unwrap();
    folder
}

/// Runs the command line with these variables.
fn run(folder: &Path, words: &[&str], variables: &[(&str, &str)]) -> Ended {
    Ended::after(sim(folder).args(words).envs(variables.iter().copied()))
}

#[test]
fn a_variable_is_as_its_option_and_the_command_line_comes_first() {
    let folder = folder();
    let place = folder.path();
    let seed = |words: &[&str], variables: &[(&str, &str)]| {
        let words = [&["story.toml", "--force", "--out", "run"], words].concat();
        let ended = run(place, &words, variables);
        assert_eq!((ended.code, ended.stderr.as_str()), (Some(0), ""), "{ended:?}");
        ended.stdout
    };
    let seven = seed(&["--seed", "7"], &[]);
    assert_eq!(seed(&[], &[("REHEARSAL_SEED", "7")]), seven);
    assert_eq!(seed(&["--seed", "7"], &[("REHEARSAL_SEED", "8")]), seven);
    let set = seed(&[], &[("REHEARSAL_SET", "load.rate=0.5"), ("REHEARSAL_SEED", "7")]);
    assert_eq!(set, seed(&["--seed", "7", "--set", "load.rate=0.5"], &[]));
}

#[test]
fn the_variable_of_an_option_without_a_value_says_whether_it_is_given() {
    let folder = folder();
    let run = |value| run(folder.path(), &["list", "--json", "."], &[("REHEARSAL_JSON", value)]);
    assert!(run("0").stdout.starts_with(['{', '[']), "the command line comes first");
    let run = |value| super::variables::run(folder.path(), &["list", "."], &[("REHEARSAL_JSON", value)]);
    for value in ["1", "true", "yes", "on"] {
        assert!(run(value).stdout.starts_with(['{', '[']), "{value}");
    }
    for value in ["0", "false", "no", "off"] {
        assert!(run(value).stdout.contains("story"), "{value}");
        assert!(!run(value).stdout.starts_with(['{', '[']), "{value}");
    }
}

#[test]
fn a_wrong_value_and_a_conflict_name_the_variable() {
    let folder = folder();
    let said = |words: &[&str], variables: &[(&str, &str)]| {
        let ended = run(folder.path(), words, variables);
        assert_eq!((ended.code, ended.stdout.as_str()), (Some(2), ""), "{ended:?}");
        ended.stderr
    };
    let wrong = said(&["story.toml"], &[("REHEARSAL_SEED", "many\u{1b}[2J")]);
    assert!(wrong.starts_with("error: invalid value 'many"), "{wrong}");
    assert!(wrong.contains("note: `--seed` is from the environment variable REHEARSAL_SEED"), "{wrong}");
    assert!(!wrong.contains('\u{1b}'), "{wrong:?}");
    let conflict = said(&["story.toml", "--seeds", "0..2"], &[("REHEARSAL_SEED", "7")]);
    assert!(conflict.contains("note: `--seed` is from the environment variable REHEARSAL_SEED"), "{conflict}");
    assert!(!conflict.contains("REHEARSAL_SEEDS"), "{conflict}");
    let flag = said(&["list", "."], &[("REHEARSAL_JSON", "perhaps")]);
    assert!(flag.contains("REHEARSAL_JSON"), "{flag}");
    // What is wrong on the command line itself has no note.
    let own = said(&["story.toml", "--seed", "x"], &[("REHEARSAL_SEED", "7")]);
    assert!(!own.contains("note:"), "{own}");
}

#[test]
fn the_help_and_the_manual_pages_name_the_variables_and_not_their_values() {
    let folder = folder();
    let help = run(folder.path(), &["run", "--help"], &[("REHEARSAL_SEED", "12345")]).stdout;
    assert!(help.contains("[env: REHEARSAL_SEED]") && !help.contains("12345"), "{help}");
    assert_eq!(run(folder.path(), &["man", "--out", "pages"], &[]).code, Some(0));
    let page = fs::read_to_string(folder.path().join("pages/sim-run.1")).unwrap();
    assert!(page.replace("\\-", "-").contains("REHEARSAL_SEED"), "{page}");
}

/// A command that the help does not show is started by the program itself, with all that it needs.
#[test]
fn a_check_of_determinism_is_the_same_with_variables() {
    let folder = folder();
    let words = ["verify", "story.toml", "--seeds", "0..2"];
    let plain = run(folder.path(), &words, &[]);
    assert_eq!(plain.code, Some(0), "{plain:?}");
    let other = run(folder.path(), &words, &[("REHEARSAL_SET", "load.rate=1"), ("REHEARSAL_SEED", "9")]);
    assert_eq!(other.code, Some(0), "{other:?}");
}
