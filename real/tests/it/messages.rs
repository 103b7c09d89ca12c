//! Options, files and settings of the environment that mean harm: what the program prints of them is short and has no character
//! that a terminal obeys.

use std::{fs, path::Path};

use kernel::visible::is_hidden;

use crate::command::command_of;

/// Clears the screen, sets the title of the window, turns the direction of writing, and goes on on a line of its own.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\r\nPASS\t\u{7f}";

const MESSAGE_MAX: usize = 24 << 10;

/// Runs the command in `folder`, which is its runtime folder, too, checks what it prints, and returns its exit code.
#[track_caller]
fn run(folder: &Path, words: &[&str], log: &str) -> i32 {
    let mut command = command_of(env!("CARGO_BIN_EXE_real"));
    command.args(words).current_dir(folder).env("XDG_RUNTIME_DIR", folder).env("REHEARSAL_LOG", log);
    let output = command.output().expect("it starts");
    for printed in [&output.stdout, &output.stderr] {
        let printed = str::from_utf8(printed).expect("it is text");
        assert!(printed.len() <= MESSAGE_MAX, "{words:?}: {} bytes", printed.len());
        assert!(!printed.contains(|c| is_hidden(c) && c != '\n'), "{words:?}: {printed}");
        assert!(!printed.lines().any(|line| line.starts_with("PASS\\t")), "{words:?}: {printed}");
    }
    output.status.code().expect("no signal ended it")
}

#[test]
fn hostile_text_is_escaped_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let file = format!("{HOSTILE}.toml");
    let valid = "name = \"story\"\nduration = \"2s\"\nload = { rate = 5 }\n";
    fs::write(path.join(&file), valid.replace("rate", "rat")).unwrap();
    fs::write(path.join("story.toml"), valid).unwrap();
    fs::write(path.join("bad.toml"), format!("{valid}question = \"{HOSTILE}\"\n")).unwrap();
    let set = format!("client.{HOSTILE}=1");
    let out = format!("story.toml/{HOSTILE}");
    for words in [
        &["run", &file][..],
        &["run", "bad.toml"],
        &["run", "/dev/zero"],
        &["run", "none.toml", "--set", &set],
        &["run", "story.toml", "--set", &set],
        &["run", "story.toml", "--out", &out],
        &["run", "story.toml", "--seed", HOSTILE],
        &["fidelity", &file, "--runs", "2"],
        &["fidelity", "story.toml", "--runs", "2", "--calibration", &file],
        &["fidelity", "story.toml", "--runs", "2", "--calibration", "/dev/zero"],
        &["fidelity", "story.toml", "--runs", "2", "--rates", HOSTILE],
        &["calibrate", "--sizes", HOSTILE],
        &["calibrate", "--out", "."],
        &["up", HOSTILE],
        &["up", "2", "--start-port", "65535"],
        &["down", HOSTILE],
        &["serve", "--port", HOSTILE],
        &["serve", "--port", "0", "--id", HOSTILE],
        &["load", "--servers", HOSTILE],
        &["load", "--scenario", &file],
        &["load", "--scenario", "story.toml", "--set", &set],
        &["inject", "crash", HOSTILE],
        &["inject", HOSTILE, "server-0"],
        &["proxy", "--listen", HOSTILE, "--upstream", "x"],
        &["proxy", "--listen", "0", "--upstream", HOSTILE],
        &["alert-rules", &file],
        &["alert-rules", "story.toml"],
        &["alert-rules", "story.toml", "--set", &set],
        &["completions", HOSTILE],
        &["man", "--out", &out],
        &[HOSTILE],
    ] {
        assert!([2, 3].contains(&run(path, words, "")), "{words:?}");
    }
    assert_eq!(run(path, &["list"], HOSTILE), 2);
}
