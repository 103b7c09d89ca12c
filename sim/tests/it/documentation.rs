//! The documents show what the programs do: outputs, scenarios, the reference of the scenario format, links and the picture.
//!
//! What a command generates is brought up to date by
//!
//! ```console
//! $ UPDATE_DOCS=1 cargo test -p sim --test it documentation
//! ```
//!
//! and, with the outputs of commands that take minutes,
//!
//! ```console
//! $ UPDATE_DOCS=1 cargo test --release -p sim --test it documentation -- --include-ignored
//! ```

mod blocks;
mod console;
mod links;
#[path = "../../examples/terminal_picture/picture.rs"]
mod picture;
mod reference;

use std::{
    env, fs,
    path::{Path, PathBuf},
    sync::{Mutex, MutexGuard, PoisonError},
};

use kernel::scenario::Scenario;

use crate::documentation::{
    blocks::blocks,
    console::{Start, Which},
};

/// The documents, relative to the root of the repository.
const DOCUMENTS: [&str; 15] = [
    "README.md",
    "scenarios/README.md",
    "scenarios/adaptive_limits.md",
    "scenarios/chaos/README.md",
    "scenarios/labs/README.md",
    "scenarios/labs/baseline.md",
    "scenarios/labs/breaker.md",
    "scenarios/labs/retry.md",
    "scenarios/labs/chaos.md",
    "scenarios/labs/cap.md",
    "kernel/README.md",
    "sim/README.md",
    "real/README.md",
    "reports/README.md",
    ".github/CONTRIBUTING.md",
];

/// The documents whose `console` blocks are run: those that show commands of `sim`.
const RUN: [&str; 10] = [
    "README.md",
    "scenarios/README.md",
    "scenarios/chaos/README.md",
    "scenarios/labs/README.md",
    "scenarios/labs/baseline.md",
    "scenarios/labs/breaker.md",
    "scenarios/labs/retry.md",
    "scenarios/labs/chaos.md",
    "scenarios/labs/cap.md",
    "sim/README.md",
];

const PICTURE: &str = "sim/pictures/terminal.svg";
const REFERENCE: &str = "scenarios/README.md";

/// Held from reading a document to writing it, as tests run side by side.
static DOCUMENT: Mutex<()> = Mutex::new(());

fn one_at_a_time() -> MutexGuard<'static, ()> {
    DOCUMENT.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the path of a file of the repository.
fn in_repository(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

fn read(path: &str) -> String {
    fs::read_to_string(in_repository(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// Compares a file of the repository with what it should be, or writes it if `UPDATE_DOCS` is set.
#[track_caller]
fn compare(path: &str, wanted: &str) {
    let present = fs::read_to_string(in_repository(path)).unwrap_or_default();
    if env::var_os("UPDATE_DOCS").is_some() {
        if present != wanted {
            fs::write(in_repository(path), wanted).unwrap();
        }
        return;
    }
    let difference = present.lines().zip(wanted.lines()).position(|(present, wanted)| present != wanted);
    let line = difference.unwrap_or_else(|| present.lines().count().min(wanted.lines().count()));
    assert!(
        present == wanted,
        "{path} is out of date from line {}:\n  is      {}\n  wanted  {}\nUPDATE_DOCS=1 brings it up to date",
        line + 1,
        present.lines().nth(line).unwrap_or("(the end)"),
        wanted.lines().nth(line).unwrap_or("(the end)"),
    );
}

#[test]
fn shown_outputs_are_those_of_the_commands() {
    let _guard = one_at_a_time();
    for document in RUN {
        compare(document, &console::with_real_outputs(&read(document), document, Which::Quick));
    }
}

#[test]
#[ignore = "it takes minutes"]
fn shown_outputs_of_long_commands_are_those_of_the_commands() {
    let _guard = one_at_a_time();
    for document in RUN {
        compare(document, &console::with_real_outputs(&read(document), document, Which::All));
    }
}

#[test]
fn every_scenario_that_is_shown_is_valid() {
    let mut found = 0;
    for document in DOCUMENTS {
        let text = read(document);
        for block in blocks(&text).into_iter().filter(|block| block.language == "toml") {
            let origin = format!("{document}:{}", block.line);
            let scenario = Scenario::parse(&origin, &completed(block.text), &[]);
            scenario.unwrap_or_else(|error| panic!("{error}"));
            found += 1;
        }
    }
    assert!(found > 5, "{found}");
}

/// Returns the tables of an example with the keys in front that every scenario needs.
fn completed(example: &str) -> String {
    if example.starts_with("name =") {
        return example.to_owned();
    }
    let load = if example.contains("[load]\n") { "" } else { "[load]\nrate = 10\n" };
    format!("name = \"example\"\nduration = \"30s\"\n{load}{example}")
}

#[test]
fn the_reference_of_the_scenario_format_is_that_of_the_declarations() {
    let _guard = one_at_a_time();
    compare(REFERENCE, &reference::with_profiles(&reference::with_generated(&read(REFERENCE))));
}

#[test]
fn the_table_of_other_tools_is_that_of_the_program() {
    const START: &str = "<!-- sim from-chaos --table -->\n";
    const END: &str = "<!-- end of the table -->\n";
    let _guard = one_at_a_time();
    let document = "scenarios/chaos/README.md";
    let text = read(document);
    let (before, rest) = text.split_once(START).expect("the document has a place for the table");
    let (_, after) = rest.split_once(END).expect("the table has an end");
    let folder = console::folder();
    let table = console::output(Start::Installed, "from-chaos --table", folder.path()).join("\n");
    compare(document, &format!("{before}{START}\n{}\n\n{END}{after}", table.trim_end()));
}

#[test]
fn the_picture_of_the_terminal_is_that_of_the_run() {
    let folder = console::folder();
    let arguments = "scenarios/crash_then_freeze.toml --seed 42";
    let output = console::output(Start::Installed, arguments, folder.path());
    assert!(output[0].starts_with("PASS"), "{output:#?}");
    compare(PICTURE, &picture::svg(&format!("sim {arguments}"), &output.join("\n")));
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let broken: Vec<_> = DOCUMENTS.iter().flat_map(|document| links::broken(document, &read(document))).collect();
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn the_readme_has_at_most_two_hundred_lines() {
    let lines = read("README.md").lines().count();
    assert!(lines <= 200, "{lines}");
}
