//! Inputs with every kind of damage: an error that names the place and the remedy, in bounded memory and time.

use std::{
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use kernel::cli::Exit;
use tempfile::TempDir;

use crate::example_run::{folder, reports, word};

fn refused(words: &[&str]) -> String {
    let failure = reports(words).expect_err("it is refused");
    assert_eq!(failure.exit, Exit::WrongInput);
    failure.message
}

fn written(directory: &TempDir, name: &str, content: &[u8]) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

/// A file that goes on with 100 MB of zeros.
fn with_long_line(directory: &TempDir, name: &str, start: &str) -> PathBuf {
    let path = written(directory, name, start.as_bytes());
    File::options().write(true).open(&path).unwrap().set_len(100_000_000).unwrap();
    path
}

const HEADER: &str = "intended_us,latency_us,status,server\n";

#[test]
fn a_log_that_is_none_is_refused_with_its_line() {
    let directory = tempfile::tempdir().unwrap();
    let nothing = "it has no requests; the format is CSV with a header line, or JSON lines";
    let cases: [(&[u8], &str); 13] = [
        (b"", nothing),
        (b"\n\n  \n", nothing),
        (HEADER.as_bytes(), nothing),
        (b"intended_us,latency_us,status,server", nothing),
        (b"\x1f\x8b\x08\x00junk\n", "it is compressed with gzip and damaged: "),
        (b"PK\x03\x04junk", "it is a ZIP archive; unpack it first"),
        (b"\x89PNG\r\n\x1a\n\xff\xfe\x00", "line 1: its first line is not text; the format is CSV with a header line"),
        (&[0; 5_000], nothing),
        (b"intended_us,latency_us,status\n1,2,OK\n3,4,\xff\xfe\n", "line 3: the cell of `status` is not text in UTF-8"),
        (b"intended_us,latency_us,status\n1,2,OK\n3,x,OK\n5,6,OK\n", "line 3: `x` in `latency_us` is not a time"),
        (b"{\"intended_us\":1,\"latency_us\":2,\"status\":\"OK\"}\n\x00\x00\n{}\n", "line 2: "),
        (b"{\"intended_us\":1,\"latency_us\":2,\"status\":\"OK\"}\n{\"intended_us\":\n{}\n", "line 2: "),
        (
            b"{\"intended_us\":1,\"latency_us\":2,\"status\":\"OK\"}\n[1,2]\n",
            "line 2: invalid type: sequence, expected an object",
        ),
    ];
    for (number, (content, wanted)) in cases.into_iter().enumerate() {
        let path = written(&directory, &format!("{number}.log"), content);
        let message = refused(&[word(&path)]);
        assert!(message.contains(wanted), "case {number}: {message:?}");
        assert!(!path.with_file_name(format!("{number}.log.report")).exists(), "case {number} left a report");
    }
}

#[test]
fn a_line_of_100_mb_is_refused_whatever_the_format() {
    let directory = tempfile::tempdir().unwrap();
    let json = "{\"intended_us\":1,\"latency_us\":2,\"status\":\"OK\"}\n{\"intended_us\":2";
    for (name, start, line) in [
        ("header.csv", "intended_us,lat", 1),
        ("row.csv", "intended_us,latency_us,status\n1,2,OK\n3,", 3),
        ("quoted.csv", "intended_us,latency_us,status\n\"1", 2),
        ("row.jsonl", json, 2),
    ] {
        let message = refused(&[word(&with_long_line(&directory, name, start))]);
        assert!(message.contains(&format!("{name}, line {line}: the line is longer than 16 MiB")), "{message}");
    }
    let place = folder(directory.path(), "sim", 1, 1);
    for file in ["requests.jsonl", "attempts.jsonl", "events.jsonl"] {
        let path = place.join(file);
        let sound = fs::read(&path).unwrap();
        let lines = sound.iter().filter(|byte| **byte == b'\n').count();
        File::options().write(true).open(&path).unwrap().set_len(100_000_000).unwrap();
        let message = refused(&[word(&place)]);
        assert!(message.contains(&format!("{file}:{} is not the row of a", lines + 1)), "{message}");
        assert!(message.contains("the line is longer than 16 MiB"), "{message}");
        fs::write(&path, sound).unwrap();
    }
}

#[test]
fn what_is_no_file_is_not_opened() {
    let directory = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    for place in [pipe.as_path(), Path::new("/dev/zero")] {
        assert!(refused(&[word(place)]).contains("it is neither a file nor a folder"), "{}", place.display());
    }
    // In a folder: opening one of these would wait for ever.
    let place = folder(directory.path(), "sim", 1, 1);
    for file in ["summary.json", "run.json"] {
        let sound = fs::read(place.join(file)).unwrap();
        fs::remove_file(place.join(file)).unwrap();
        assert!(Command::new("mkfifo").arg(place.join(file)).status().unwrap().success());
        assert!(refused(&[word(&place)]).contains(&format!("{file}: it is not a file")));
        fs::remove_file(place.join(file)).unwrap();
        fs::write(place.join(file), sound).unwrap();
    }
    fs::remove_file(place.join("events.jsonl")).unwrap();
    std::os::unix::fs::symlink("/dev/zero", place.join("events.jsonl")).unwrap();
    assert!(reports(&[word(&place)]).unwrap().text.contains("note: events.jsonl is missing"));
}

#[test]
fn the_rest_of_an_interrupted_write_is_left_out_and_noted() {
    let directory = tempfile::tempdir().unwrap();
    let rows = format!("{HEADER}1000,20,OK,a\n2000,30,OK,b\n");
    let text = |name: &str, rest: &str| {
        let path = written(&directory, name, format!("{rows}{rest}").as_bytes());
        reports(&[word(&path)]).unwrap().text
    };
    let cut = text("cut.csv", "3000,4");
    assert!(cut.contains("note: the log ends in the middle of line 4, which is left out"), "{cut}");
    assert!(cut.contains("2 requests in "), "{cut}");
    // All cells are there: many programs write no last line break.
    let whole = text("whole.csv", "3000,40,OK,a");
    assert!(whole.contains("3 requests in ") && !whole.contains("ends in the middle"), "{whole}");
}

#[test]
fn what_is_written_while_a_log_is_read_is_left_for_the_next_report() {
    let directory = tempfile::tempdir().unwrap();
    let path = written(&directory, "grows.csv", HEADER.as_bytes());
    let mut file = File::options().append(true).open(&path).unwrap();
    for row in 0..200_000 {
        writeln!(file, "{},20,OK,a", row * 100).unwrap();
    }
    let text = std::thread::scope(|scope| {
        scope.spawn(|| {
            for row in 200_000..400_000 {
                // In two writes, so that the log often ends in the middle of a line.
                write!(file, "{},2", row * 100).unwrap();
                writeln!(file, "0,OK,a").unwrap();
            }
        });
        reports(&[word(&path), "--json"]).unwrap().text
    });
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let requests = json["summary"]["overall"]["requests"].as_u64().unwrap();
    assert!((200_000..=400_000).contains(&requests), "{requests}");
    assert_eq!(json["summary"]["overall"]["latency_p50"], 0.00002, "no row was read in half");
    assert_eq!(json["summary"]["overall"]["latency_max"], 0.00002);
}

#[test]
fn a_column_that_names_no_servers_is_refused_and_a_strange_number_is_a_name() {
    let directory = tempfile::tempdir().unwrap();
    let rows: String = (0..20_000).map(|row| format!("{row},20,OK,host-{row}\n")).collect();
    let path = written(&directory, "many.csv", format!("{HEADER}{rows}").as_bytes());
    assert!(refused(&[word(&path)]).contains("more than 10000 different servers; map a column"));
    let path = written(&directory, "strange.csv", format!("{HEADER}1,2,OK,server-18446744073709551615\n").as_bytes());
    let json: serde_json::Value = serde_json::from_str(&reports(&[word(&path), "--json"]).unwrap().text).unwrap();
    assert_eq!(json["summary"]["servers"].as_object().unwrap().len(), 1);
}

#[test]
fn columns_that_come_late_are_found_in_either_format() {
    let directory = tempfile::tempdir().unwrap();
    // The first 64 KiB have no `sent_us`; only a later line has it, and it is the earliest time of all.
    let line = |row: u64| format!("{{\"done_us\":{},\"latency_us\":5,\"status\":\"OK\"}}\n", 1_000 + row);
    let rows: String = (0..3_000).map(line).collect();
    let late = "{\"sent_us\":10,\"done_us\":1000,\"latency_us\":5,\"status\":\"OK\"}\n";
    let path = written(&directory, "late.jsonl", format!("{rows}{late}").as_bytes());
    let json: serde_json::Value = serde_json::from_str(&reports(&[word(&path), "--json"]).unwrap().text).unwrap();
    assert_eq!(json["summary"]["overall"]["requests"], 3_001);
    assert_eq!(json["summary"]["overall"]["latency_max"], 0.00099, "from when it was sent to its end");
    // A column of our own that is empty throughout gives way to the one with a unit in its name.
    let path = written(&directory, "empty.csv", b"intended_us,latency,latency_us,status\n1,,20,OK\n2,,30,OK\n");
    let json: serde_json::Value = serde_json::from_str(&reports(&[word(&path), "--json"]).unwrap().text).unwrap();
    assert_eq!(json["summary"]["overall"]["latency_max"], 0.00003);
}
