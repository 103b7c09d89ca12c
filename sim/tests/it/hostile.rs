//! Input that means harm: what a command prints of it is short and has no character that a terminal obeys, and no input takes
//! it long or much memory.

use std::{
    ffi::OsStr,
    fs,
    os::unix::ffi::OsStrExt,
    process::{Command, Stdio},
};

use kernel::visible::is_hidden;
use tempfile::TempDir;

use crate::command::{Ended, program, sim};

/// A name and a value that clear the screen, set the title of the window, turn the direction of writing, and go on on a line
/// of their own.
const HOSTILE: &str = "\u{1b}[2J\u{1b}]0;x\u{7}\u{9b}31m\u{202e}\u{2066}\r\nPASS\t\u{7f}\u{200b}";

const VALID: &str = "name = \"story\"\nduration = \"2s\"\nload = { rate = 5 }\nworkload = { sizes = [\"8x8\"] }\n";

/// The most bytes that a command prints of one mistake, and of as many as it lists.
const MESSAGE_MAX: usize = 24 << 10;
const LIST_MAX: usize = 160 << 10;

/// Returns a folder with `story.toml`, and with hostile files of several kinds.
fn folder() -> TempDir {
    let folder = TempDir::new().unwrap();
    let path = folder.path();
    fs::write(path.join("story.toml"), VALID).unwrap();
    let escaped = HOSTILE.chars().map(|c| format!("\\U{:08X}", u32::from(c))).collect::<String>();
    for (name, text) in [
        ("raw.toml", format!("{VALID}question = \"{HOSTILE}\"\n")),
        ("key.toml", format!("{VALID}\"{escaped}\" = 1\n")),
        ("value.toml", VALID.replace("\"2s\"", &format!("\"{escaped}\""))),
        ("name.toml", VALID.replace("\"story\"", &format!("\"{escaped}\""))),
        ("question.toml", format!("{VALID}question = \"{escaped}\"\n")),
        ("service.toml", format!("{VALID}client = {{ service_config = \"{escaped}\" }}\n")),
        ("images.toml", VALID.replace("sizes = [\"8x8\"]", &format!("images = \"{escaped}*\""))),
        ("config.toml", format!("{VALID}client = {{ service_config = \"config.json\" }}\n")),
        ("config.json", format!("{{ \"loadBalancingPolicy\": {} }}", serde_json::Value::from(HOSTILE))),
        ("calibration.toml", format!("name = \"{escaped}\"\n\"{escaped}\" = 1\n")),
    ] {
        fs::write(path.join(name), text).unwrap();
    }
    fs::create_dir(path.join("run")).unwrap();
    fs::write(path.join("run/run.json"), serde_json::json!({ HOSTILE: HOSTILE }).to_string()).unwrap();
    fs::create_dir(path.join(HOSTILE)).unwrap();
    fs::write(path.join(HOSTILE).join("x.toml"), VALID.replace("rate", "rat")).unwrap();
    folder
}

#[track_caller]
fn check(ended: &Ended, most: usize, codes: &[i32]) {
    for output in [&ended.stdout, &ended.stderr] {
        assert!(output.len() <= most, "{} bytes", output.len());
        let hidden = output.chars().find(|c| is_hidden(*c) && !matches!(c, '\n'));
        assert_eq!(hidden, None, "{output}");
        assert!(!output.lines().any(|line| line.starts_with("PASS\\t")), "a line of its own:\n{output}");
    }
    assert!(ended.code.is_some_and(|code| codes.contains(&code)), "{ended:?}");
}

#[test]
fn hostile_text_is_escaped_by_every_command() {
    let folder = folder();
    let set = format!("question={HOSTILE}");
    let other = format!("client.{HOSTILE}=1");
    let file = format!("{HOSTILE}/x.toml");
    let none = format!("{HOSTILE}.toml");
    let out = format!("story.toml/{HOSTILE}");
    let calibrated = ["story.toml", "--calibration"];
    let lines: Vec<Vec<&str>> = vec![
        vec!["list"],
        vec!["list", "--json"],
        vec!["list", &none],
        vec!["check", &file, &none],
        vec![
            "check",
            "raw.toml",
            "key.toml",
            "value.toml",
            "name.toml",
            "question.toml",
            "service.toml",
            "config.toml",
        ],
        vec!["check", "key.toml", "--json"],
        vec!["check", "story.toml", "--set", &other],
        vec!["run", "question.toml"],
        vec!["run", "images.toml"],
        vec!["run", "story.toml", "--set", &set],
        vec!["run", "story.toml", "--set", &set, "--json"],
        vec!["run", "story.toml", "--out", &out],
        vec!["run", "story.toml", "--seed", HOSTILE],
        vec!["run", "story.toml", HOSTILE],
        vec!["run", "story.toml", "--seeds", "0..2", "--vary", &other],
        vec!["run", "story.toml", "--seeds", "0..2", "--vary", &set],
        vec!["run", "story.toml", "--seeds", HOSTILE],
        [&calibrated[..], &["calibration.toml"]].concat(),
        [&calibrated[..], &[&none]].concat(),
        vec!["new", HOSTILE],
        vec!["keys", HOSTILE],
        vec!["hunt", &file],
        vec!["hunt", "story.toml", "--runs", "1", "--out", &out],
        vec!["hunt", "story.toml", "--for", HOSTILE],
        vec!["shrink", "run"],
        vec!["shrink", &file],
        vec!["tip", "story.toml", "--recovery", "--along", &other],
        vec!["tip", "story.toml", "--along", HOSTILE],
        vec!["verify", &none],
        vec!["verify", "key.toml"],
        vec!["completions", HOSTILE],
        vec!["man", "--out", &out],
        vec![HOSTILE],
    ];
    for line in lines {
        let ended = Ended::after(sim(folder.path()).args(&line));
        // A scenario with a hostile question is valid.
        check(&ended, MESSAGE_MAX, if ended.code == Some(0) { &[0] } else { &[2] });
    }
}

#[test]
fn bytes_that_are_no_text_are_named_in_a_message() {
    let folder = folder();
    let name = OsStr::from_bytes(b"\xff\xfe.toml");
    check(&Ended::after(sim(folder.path()).arg("run").arg(name)), MESSAGE_MAX, &[2]);
    fs::write(folder.path().join(name), b"\xff").unwrap();
    check(&Ended::after(sim(folder.path()).arg("run").arg(name)), MESSAGE_MAX, &[2]);
}

/// Texts of a few megabytes, each of a kind that once took seconds, or megabytes of output.
#[test]
fn a_large_file_has_a_short_answer() {
    let folder = TempDir::new().unwrap();
    let fault = |index: usize| format!("[[fault]]\nat = \"{index}us\"\nkind = \"reset\"\ntarget = \"server-0\"\n");
    let long = "x".repeat(3 << 20);
    for (text, most) in [
        (format!("{VALID}a = {}\n", "[".repeat(1 << 20)), MESSAGE_MAX),
        (format!("{VALID}a{} = 1\n", ".a".repeat(1 << 20)), MESSAGE_MAX),
        (format!("{VALID}[a{}]\n", ".a".repeat(1 << 20)), MESSAGE_MAX),
        (format!("{VALID}a = {}1\n", "{a=".repeat(1 << 20)), MESSAGE_MAX),
        (format!("{VALID}question = \"{long}\"\n"), MESSAGE_MAX),
        (format!("{VALID}{long} = 1\n"), MESSAGE_MAX),
        (
            format!("{VALID}[{long}]\n{}", (0..20_000).map(|key| format!("k{key} = 1\n")).collect::<String>()),
            MESSAGE_MAX,
        ),
        (format!("{VALID}client = {{ service_config = \"{long}\" }}\n"), MESSAGE_MAX),
        (
            format!("{VALID}[servers]\n{}", (0..100_000).map(|key| format!("k{key} = 1\n")).collect::<String>()),
            LIST_MAX,
        ),
        (VALID.replace("[\"8x8\"]", &format!("[{}]", "\"8x8\",".repeat(500_000))), MESSAGE_MAX),
        (format!("{VALID}{}", (0..10_001).map(fault).collect::<String>()), MESSAGE_MAX),
        (format!("{VALID}{}", "[[expect]]\nmetric = \"retries\"\nmax = 1\n".repeat(1_001)), MESSAGE_MAX),
        ("x".repeat((4 << 20) + 1), MESSAGE_MAX),
    ] {
        fs::write(folder.path().join("large.toml"), text).unwrap();
        check(&Ended::after(sim(folder.path()).args(["check", "large.toml"])), most, &[2]);
    }
}

#[test]
fn settings_that_amount_to_too_much_are_refused_before_the_run() {
    let folder = folder();
    let names = vec!["x"; 10_000].join(".");
    let long = format!("question={}", "x".repeat(100_000));
    for (settings, says) in [
        (vec!["client.health_check.interval=100ns"], "out of range; allowed is 1ms to 24h"),
        (
            vec!["client.health_check.interval=1ms", "duration=24h", "load.rate=0.001"],
            "health checks; allowed are up to",
        ),
        (vec!["client.outlier_detection.interval=1ns"], "out of range"),
        (vec!["client.outlier_detection.interval=1ms", "duration=24h", "load.rate=0.001"], "sweeps; allowed are up to"),
        (vec!["load.rate=1000000", "duration=24h"], "requests; allowed are up to"),
        (vec!["workload.sizes=[\"4096x4096\"]", "load={ rate = 1000, max_in_flight = 100000 }"], "may be under way"),
        (
            vec!["workload.sizes=[\"4096x4096\",\"4096x4095\",\"4095x4096\",\"4095x4095\",\"4000x4000\"]"],
            "pixels; allowed",
        ),
        (vec!["workload={ images = \"**/**/**/x.png\" }"], "`**` more than 2 times"),
        (vec![&format!("{names}=1")], "no key has more than 16"),
        (vec![&long], "allowed are up to 32768"),
    ] {
        let mut command = sim(folder.path());
        command.args(["run", "story.toml"]);
        settings.iter().for_each(|setting| {
            command.args(["--set", setting]);
        });
        let ended = Ended::after(&mut command);
        check(&ended, MESSAGE_MAX, &[2]);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}

#[test]
fn runs_of_a_sweep_that_take_too_long_have_rows_that_say_so() {
    let folder = folder();
    let limits = ["--set", "duration=24h", "--set", "load.rate=200", "--time-limit", "200ms"];
    let line = [&["story.toml", "--seeds", "0..2", "--out", "many"][..], &limits].concat();
    // The second time no run is missing.
    for _ in 0..2 {
        let ended = Ended::after(sim(folder.path()).args(&line));
        check(&ended, MESSAGE_MAX, &[3]);
        assert!(
            ended.stdout.starts_with("INTERRUPTED  story (sim, seeds 0..2): 0 of 2 runs pass\n"),
            "{}",
            ended.stdout
        );
        assert!(ended.stdout.contains("stopped before their end: 2 of 2 runs"), "{}", ended.stdout);
    }
    let rows = fs::read_to_string(folder.path().join("many/runs.jsonl")).unwrap();
    assert_eq!(rows.matches("it hit the limit of 200ms of real time").count(), 2, "{rows}");
}

#[test]
fn a_run_that_takes_too_long_keeps_what_it_has() {
    let folder = folder();
    let line = ["story.toml", "--set", "duration=24h", "--set", "load.rate=200", "--time-limit", "2s", "--out", "cut"];
    let ended = Ended::after(sim(folder.path()).args(line));
    check(&ended, MESSAGE_MAX, &[3]);
    assert!(ended.stdout.starts_with("INTERRUPTED  story (sim, seed 0, resilient)"), "{}", ended.stdout);
    assert!(!ended.stdout.contains("digest"), "{}", ended.stdout);
    assert!(ended.stderr.contains("it hit the limit of 2s of real time"), "{}", ended.stderr);
    let read = |name: &str| fs::read_to_string(folder.path().join("cut").join(name)).unwrap();
    assert!(read("requests.jsonl").lines().count() > 10);
    for document in ["run.json", "summary.json"] {
        let document: serde_json::Value = serde_json::from_str(&read(document)).unwrap();
        assert!(document["stopped"].as_str().is_some_and(|why| why.contains("2s of real time")), "{document}");
    }
    assert_eq!(serde_json::from_str::<serde_json::Value>(&read("summary.json")).unwrap()["pass"], false);
}

#[test]
fn numbers_of_options_are_bounded() {
    let folder = folder();
    let max = u64::MAX.to_string();
    let all = format!("0..{max}");
    for line in [
        &["run", "story.toml", "--seeds", "0..2", "--jobs", "100000000"][..],
        &["run", "story.toml", "--seeds", "0..2", "--jobs", &max],
        &["run", "story.toml", "--seeds", "0..2", "--jobs", "0"],
        &["run", "story.toml", "--seeds", &all],
        &["run", "story.toml", "--seeds", "0..10", "--shard", &format!("{max}/{max}")],
        &["hunt", "story.toml", "--jobs", "5000"],
        &["run", "story.toml", "--time-limit", "0s"],
        &["run", "story.toml", "--time-limit", "9000h"],
        &["hunt", "story.toml", "--for", "9000h"],
        &["tip", "story.toml", "--recovery", "--along", "load.rate=1..2", "--from-seed", &max],
        &["tip", "story.toml", "--along", "load.rate=1..9", "--runs", &max],
    ] {
        check(&Ended::after(sim(folder.path()).args(line)), MESSAGE_MAX, &[2]);
    }
    // The shard of one seed is found without going through all of them.
    let line = ["run", "story.toml", "--seeds", &all, "--shard", &format!("{max}/{max}"), "--out", "one"];
    check(&Ended::after(sim(folder.path()).args(line)), MESSAGE_MAX, &[0]);
}

#[test]
fn only_files_and_pipes_are_read() {
    let folder = folder();
    let path = folder.path();
    assert!(Command::new("mkfifo").arg(path.join("pipe.toml")).status().unwrap().success());
    for file in ["/dev/zero", "/dev/random", "/dev/tty", ".", "pipe.toml"] {
        for line in [&["run", file][..], &["check", file], &["story.toml", "--calibration", file]] {
            check(&Ended::after(sim(path).args(line)), MESSAGE_MAX, &[2]);
        }
    }
    // A folder of files is listed without waiting for a pipe.
    check(&Ended::after(sim(path).args(["list", "run"])), MESSAGE_MAX, &[2]);
    let shell = "cat story.toml | \"$0\" check /dev/stdin && \"$0\" check /dev/stdin <story.toml";
    check(
        &Ended::after(program("sh").args(["-c", shell, env!("CARGO_BIN_EXE_sim")]).current_dir(path)),
        MESSAGE_MAX,
        &[0],
    );
}

#[test]
fn an_endless_pipe_ends_at_the_limit() {
    let folder = folder();
    let mut writer = Command::new("yes").stdout(Stdio::piped()).spawn().unwrap();
    let endless = writer.stdout.take().unwrap();
    let ended = Ended::after(sim(folder.path()).args(["check", "/dev/stdin"]).stdin(endless));
    writer.wait().unwrap();
    check(&ended, MESSAGE_MAX, &[2]);
    assert!(ended.stdout.contains("more than 8388608 bytes"), "{}", ended.stdout);
}
