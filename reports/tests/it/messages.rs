//! Logs and folders that mean harm: what the program prints of them is short and has no character that a terminal obeys.

use std::{fs, path::Path, process::Command};

use kernel::{cli::without_variables, visible::is_hidden};

/// Clears the screen, sets the title of the window, turns the direction of writing, and goes on on a line of its own.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\r\nPASS\t\u{7f}";

const MESSAGE_MAX: usize = 24 << 10;

/// Runs the command in `folder`, checks what it prints, and returns its exit code.
#[track_caller]
fn run(folder: &Path, words: &[&str]) -> i32 {
    let mut command = Command::new(env!("CARGO_BIN_EXE_reports"));
    without_variables(&mut command);
    let output = command.args(words).current_dir(folder).output().unwrap();
    for printed in [&output.stdout, &output.stderr] {
        let printed = str::from_utf8(printed).unwrap();
        assert!(printed.len() <= MESSAGE_MAX, "{words:?}: {} bytes", printed.len());
        assert!(!printed.contains(|c| is_hidden(c) && c != '\n'), "{words:?}: {printed}");
        assert!(!printed.lines().any(|line| line.starts_with("PASS\\t")), "{words:?}: {printed}");
    }
    output.status.code().unwrap()
}

#[test]
fn hostile_text_is_escaped_by_every_command() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path();
    let named = format!("{HOSTILE}.csv");
    let value = serde_json::Value::from(HOSTILE);
    let row = serde_json::json!({ "intended_us": 0, "latency_us": 5, "status": HOSTILE, HOSTILE: HOSTILE });
    for (name, text) in [
        ("log.csv", format!("intended_us,latency_us,status,\"{HOSTILE}\"\n0,5,\"{HOSTILE}\",x\n")),
        (&*named, "a,b\n1,2\n".to_owned()),
        ("log.jsonl", format!("{row}\n")),
        ("half.jsonl", format!("{row}\n{{\"{HOSTILE}")),
        ("no.csv", HOSTILE.repeat(10)),
        (
            "slos.toml",
            "name = \"a\"\nduration = \"1s\"\nload = { rate = 1 }\n[[slo]]\nname = \"a\"\nobjective = 0.9\n".to_owned(),
        ),
        ("wide.csv", "x".repeat(3 << 20)),
        ("columns.csv", format!("{}\n1\n", (0..20_000).map(|index| format!("c{index}")).collect::<Vec<_>>().join(","))),
    ] {
        fs::write(path.join(name), text).unwrap();
    }
    fs::create_dir(path.join("run")).unwrap();
    fs::write(path.join("run/requests.jsonl"), format!("{{ \"id\": {value} }}\n")).unwrap();
    fs::create_dir(path.join("sweep")).unwrap();
    fs::write(path.join("sweep/sweep.json"), format!("{{ \"world\": {value} }}")).unwrap();
    fs::create_dir(path.join("campaign")).unwrap();
    fs::write(path.join("campaign/campaign.json"), format!("{{ {value}: {value} }}")).unwrap();
    let columns = format!("status={HOSTILE}");
    let only = format!("{HOSTILE}=x");
    for words in [
        &["log.csv"][..],
        &[&named],
        &["log.jsonl"],
        &["half.jsonl"],
        &["no.csv"],
        &["wide.csv"],
        &["columns.csv"],
        &["log.csv", "--columns", &columns],
        &["log.csv", "--only", &only],
        &["log.csv", "--window", HOSTILE],
        &["run"],
        &["sweep"],
        &["campaign"],
        &["run", "log.csv"],
        &["fidelity", "campaign"],
        &["fidelity", HOSTILE],
        &["merge", "sweep", HOSTILE],
        &["alerts", "run"],
        &["alerts", "sweep"],
        &["alerts", &named],
        &["alerts", &named, "--slos", "slos.toml"],
        &["alerts", "log.csv", "--slos", &named],
        &["alerts", HOSTILE, "log.csv"],
        &["man", "--out", &named],
        &["completions", HOSTILE],
        &[HOSTILE],
    ] {
        run(path, words);
    }
    assert_eq!(run(path, &[HOSTILE]), 2);
}
