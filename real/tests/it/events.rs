//! Event streams without a broker: nothing listens, or what listens never answers. `.ci/peers` has one.

#![expect(clippy::disallowed_types, reason = "a broker is not of the World")]

use std::{fs, net::TcpListener, path::Path, process::Output};

use kernel::run_folder::RunInfo;
use tempfile::TempDir;

use crate::{child::records, command::command_of, user::User};

/// A run of a second, with which the machine of the tests may take its time.
const SCENARIO: &str = "name = \"short\"\nduration = \"1s\"\n[servers]\nreplicas = 1\n[workload]\nsizes = [\"8x8\"]\n\
    [load]\nrate = 50\n[run]\nmax_lateness = \"1h\"\n[[expect]]\nmetric = \"success_rate\"\nmin = 1.0\n";

fn play(folder: &Path, url: &str) -> Output {
    let scenario = folder.join("short.toml");
    fs::write(&scenario, SCENARIO).expect("there is room");
    let mut command = command_of(env!("CARGO_BIN_EXE_real"));
    command.arg(scenario).args(["--plain", "--events", url, "--out"]).arg(folder.join("run"));
    command.output().expect("it starts")
}

/// Checks that a run to a broker that takes nothing passes, and says `why` once and that nothing was delivered.
fn takes_nothing(url: &str, why: &str) {
    let folder = TempDir::new().expect("there is room");
    let output = play(folder.path(), url);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    assert_eq!(said.matches("warning: rows are not sent to").count(), 1, "{said}");
    assert!(said.contains(why), "{said}");
    let run = folder.path().join("run");
    let records = records(&run);
    let rows = (records.requests.len() + records.attempts.len() + records.events.len()) as u64;
    let info: RunInfo =
        serde_json::from_slice(&fs::read(run.join("run.json")).expect("it is there")).expect("it is one");
    let events = info.events.expect("the folder says what became of them");
    assert_eq!((events.delivered, events.dropped), (0, 0));
    // The folder leaves out what happens to the processes after the end.
    assert!(events.undelivered >= rows && rows > 100, "{} of {rows}", events.undelivered);
    assert!(said.contains(&format!("0 of {} rows of run {} were delivered", events.undelivered, events.run)), "{said}");
}

#[test]
fn a_run_passes_where_no_broker_listens() {
    let free = TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).expect("there is a free port");
    takes_nothing(&format!("kafka://{free}"), "Connection refused");
}

#[test]
fn a_run_passes_where_a_broker_hangs() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it listens");
    takes_nothing(&format!("kafka://{address}/topic"), "the broker does not answer within");
}

#[test]
fn a_url_that_is_no_topic_is_refused_before_anything_starts() {
    let user = User::new();
    for command in ["run", "load"] {
        for (url, why) in [("http://127.0.0.1:9092", "only Kafka is spoken"), ("kafka://localhost", "it has no port")] {
            let scenario = (command == "run").then_some("none.toml");
            let words: Vec<_> = [command].into_iter().chain(scenario).chain(["--events", url]).collect();
            let (code, said) = user.fails(&words);
            assert_eq!(code, Some(2), "{said}");
            assert!(said.contains(why) && said.contains("such as kafka://127.0.0.1:9092/rehearsal"), "{said}");
        }
    }
}
