//! Event streams: a run's rows through a broker, as a consumer that shares no code with the producer reads them.

#![expect(clippy::disallowed_types, reason = "a broker is not of any World")]

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Write,
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use kernel::run_folder::RunInfo;
use rustix::process::{Signal, kill_process};
use tempfile::TempDir;

use crate::{
    child::{Run, pause, pid, wait_until},
    environment::{Peers, peers},
    user::User,
};

/// A run of which calls fail, wait and are tried again.
const SCENARIO: &str = r#"
name = "streamed"
duration = "8s"
[servers]
replicas = 2
[workload]
sizes = ["8x8"]
[load]
rate = 100
[run]
max_lateness = "1h"
[client]
attempt_timeout = "200ms"
[client.circuit_breaker]
scope = "server"
[client.outlier_detection]
[[fault]]
at = "1s"
kind = "freeze"
target = "server-1"
duration = "2s"
[[fault]]
at = "5s"
kind = "crash"
target = "server-0"
restart_after = "500ms"
"#;

/// Number of partitions of a topic.
const PARTITIONS: usize = 3;

const TOPIC: &str = "rows";

/// What is installed for these tests.
struct Installed {
    peers: &'static Peers,
    broker: PathBuf,
}

/// Returns what `.ci/peers` has installed; `None` without, which is printed.
fn installed() -> Option<Installed> {
    let peers = peers()?;
    let broker = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/peers/tansu");
    if broker.exists() {
        return Some(Installed { peers, broker });
    }
    let skipped =
        "skipped: the tests of event streams, as no broker is installed; `.ci/peers` installs it where pip can\n";
    let _ = std::io::stderr().write_all(skipped.as_bytes());
    None
}

/// A process. Dropped, it is killed.
struct Running(Child);

impl Running {
    fn signal(&self, signal: Signal) {
        kill_process(pid(self.0.id()), signal).expect("it has not been waited for");
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns a free port of the loopback device.
fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr()).expect("there is a free port")
}

impl Installed {
    /// Starts a broker with the topic.
    fn broker(&self, address: SocketAddr) -> Running {
        let broker = self.broker_alone(address, address);
        self.consumer(address, &["create", &PARTITIONS.to_string()]);
        broker
    }

    /// Starts a broker with an empty memory, which tells its clients to connect to `name`.
    fn broker_alone(&self, address: SocketAddr, name: SocketAddr) -> Running {
        let mut command = Command::new(&self.broker);
        command.args(["broker", "--listener-url", &format!("tcp://{address}")]);
        command.args(["--advertised-listener-url", &format!("tcp://{name}")]);
        let broker = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it starts");
        let broker = Running(broker);
        wait_until("the broker listens", || TcpStream::connect(address).is_ok());
        broker
    }

    fn consumer_command(&self, broker: SocketAddr, words: &[&str]) -> Command {
        let broker = broker.to_string();
        let words: Vec<_> = [&*broker, TOPIC].into_iter().chain(words.iter().copied()).collect();
        self.peers.python("consumer.py", &words)
    }

    /// Returns what the consumer prints.
    fn consumer(&self, broker: SocketAddr, words: &[&str]) -> String {
        let output = self.consumer_command(broker, words).stderr(Stdio::inherit()).output().expect("it starts");
        assert!(output.status.success(), "{words:?}");
        String::from_utf8(output.stdout).expect("it is text")
    }
}

/// A value of a message, but for its row.
#[derive(Debug)]
struct Message<'a> {
    run: &'a str,
    world: &'a str,
    file: &'a str,
    seq: u64,
}

/// Returns a message and its row, as they are in a value.
fn parsed(value: &str) -> Option<(Message<'_>, &str)> {
    let (head, row) = value.split_once(r#","row":"#)?;
    let [run, world, file] = ["run", "world", "file"].map(|key| {
        let (_, rest) = head.split_once(&format!(r#""{key}":""#))?;
        rest.split_once('"').map(|(text, _)| text)
    });
    let (_, seq) = head.rsplit_once(':')?;
    let message = Message { run: run?, world: world?, file: file?, seq: seq.parse().ok()? };
    serde_json::from_str::<serde_json::Value>(value).ok()?;
    Some((message, row.strip_suffix('}')?))
}

/// The rows of messages by their numbers, without duplicates; and how many duplicates there were.
#[derive(Default)]
struct Consumed {
    rows: BTreeMap<u64, (String, String)>,
    duplicates: usize,
}

impl Consumed {
    /// Adds messages as the consumer prints them, and checks that they are of `run`, and that the rows of a request are in one
    /// partition and in order, but for those that come again.
    fn add(&mut self, printed: &str, run: &str) {
        let mut last: BTreeMap<&str, (&str, u64)> = BTreeMap::new();
        for line in printed.lines() {
            let fields: Vec<_> = line.splitn(4, '\t').collect();
            let [partition, _, key, value] = fields[..] else { panic!("{line}") };
            let (message, text) = parsed(value).unwrap_or_else(|| panic!("{value}"));
            assert_eq!((message.run, message.world), (run, "real"));
            let row: serde_json::Value = serde_json::from_str(text).expect("it is a row");
            let request = if message.file == "requests" { &row["id"] } else { &row["request"] };
            let expected = request.as_u64().map_or(run.to_owned(), |request| format!("{run}/{request}"));
            assert_eq!(key, expected);
            let entry = (message.file.to_owned(), text.to_owned());
            match self.rows.insert(message.seq, entry.clone()) {
                Some(before) => {
                    assert_eq!(before, entry, "a number is that of one row");
                    self.duplicates += 1;
                }
                None => {
                    let (place, before) = last.insert(key, (partition, message.seq)).unwrap_or((partition, 0));
                    assert!(place == partition && before <= message.seq, "{key}: {before}, then {}", message.seq);
                }
            }
        }
    }

    /// Checks that the rows are those of the run's folder, and nothing is missing of what it says was delivered.
    fn check(&self, folder: &Path) {
        let info = info(folder);
        assert_eq!(self.rows.len() as u64, info.delivered, "{info:?}");
        assert_eq!(self.rows.keys().copied().collect::<Vec<_>>(), (0..info.delivered).collect::<Vec<_>>());
        for file in ["requests", "attempts", "events"] {
            let text = fs::read_to_string(folder.join(format!("{file}.jsonl"))).expect("it is there");
            let mut expected: Vec<&str> = text.lines().collect();
            let mut got: Vec<&str> = self.rows.values().filter(|row| row.0 == file).map(|row| &*row.1).collect();
            if file == "events" {
                // What happens to the processes after the end of the run is in no folder.
                let last = expected.iter().map(|row| at_us(row)).max().expect("there are events");
                got.retain(|row| at_us(row) <= last);
            }
            expected.sort_unstable();
            got.sort_unstable();
            assert_eq!(expected, got, "{file}");
            assert!(expected.len() > 100, "{file}: {}", expected.len());
        }
    }
}

fn at_us(row: &str) -> u64 {
    let row: serde_json::Value = serde_json::from_str(row).expect("it is a row");
    row["at_us"].as_u64().expect("an event has a time")
}

/// Returns what the folder of a run says of its rows' delivery.
fn info(folder: &Path) -> kernel::run_folder::EventsInfo {
    let text = fs::read(folder.join("run.json")).expect("it is there");
    let info: RunInfo = serde_json::from_slice(&text).expect("it describes a run");
    info.events.expect("its rows were sent")
}

/// A run whose rows go to a broker.
struct Streamed {
    folder: TempDir,
    run: Run,
}

impl Streamed {
    fn start(broker: SocketAddr) -> Self {
        let folder = TempDir::new().expect("there is room");
        let scenario = folder.path().join("streamed.toml");
        fs::write(&scenario, SCENARIO).expect("there is room");
        let url = format!("kafka://{broker}/{TOPIC}");
        let run = Run::start_with(&scenario, 7, &folder.path().join("run"), &["--plain", "--events", &url]);
        Self { folder, run }
    }

    /// Waits for its end, which must be a success, and returns its folder, and what it has said.
    fn end(self) -> (TempDir, PathBuf, String) {
        let (status, said) = self.run.end();
        assert!(status.success(), "{said}");
        let run = self.folder.path().join("run");
        (self.folder, run, said)
    }
}

#[test]
fn a_consumer_has_every_row_of_a_run_with_faults() {
    let Some(installed) = installed() else { return };
    let address = free();
    let _broker = installed.broker(address);
    let (_folder, run, said) = Streamed::start(address).end();
    let info = info(&run);
    assert_eq!((info.dropped, info.undelivered), (0, 0), "{said}");
    assert!(said.contains(&format!("all {} rows of run {} were delivered", info.delivered, info.run)), "{said}");
    assert!(!said.contains("warning: rows"), "{said}");
    let mut consumed = Consumed::default();
    consumed.add(&installed.consumer(address, &["read", &info.delivered.to_string()]), &info.run);
    consumed.check(&run);
    assert_eq!(consumed.duplicates, 0);
}

#[test]
fn a_consumer_has_every_row_of_a_load_by_hand() {
    let Some(installed) = installed() else { return };
    let address = free();
    let _broker = installed.broker(address);
    let user = User::new();
    user.says(&["up", "1", "--start-port", "0"]);
    let folder = TempDir::new().expect("there is room");
    let run = folder.path().join("run");
    let (url, out) = (format!("kafka://{address}/{TOPIC}"), run.display().to_string());
    let words =
        ["load", "--rate", "100", "--sizes", "8x8", "--duration", "2s", "--quiet", "--events", &url, "--out", &out];
    let output = user.real(&words);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains(" were delivered to kafka://"), "{said}");
    let info = info(&run);
    assert_eq!((info.dropped, info.undelivered), (0, 0), "{said}");
    let mut consumed = Consumed::default();
    consumed.add(&installed.consumer(address, &["read", &info.delivered.to_string()]), &info.run);
    consumed.check(&run);
}

/// The rows of the topic go through a proxy, so that the broker is gone while it is, and keeps what it has.
#[test]
fn a_broker_that_goes_away_and_comes_back_has_every_row() {
    let Some(installed) = installed() else { return };
    let (behind, address) = (free(), free());
    let _broker = installed.broker_alone(behind, address);
    let user = User::new();
    let proxied = |id: &str| {
        let words = ["proxy", "--listen", &address.port().to_string(), "--upstream", &behind.to_string(), "--id", id];
        user.foreground(&words)
    };
    let proxy = proxied("first");
    installed.consumer(address, &["create", &PARTITIONS.to_string()]);
    let mut streamed = Streamed::start(address);
    streamed.run.wait_until_it_says("freeze");
    drop(proxy);
    streamed.run.wait_until_it_says("warning: rows are not sent to");
    let _proxy = proxied("second");
    streamed.run.wait_until_it_says("note: rows are sent to");
    let (_folder, run, said) = streamed.end();
    let info = info(&run);
    assert_eq!((info.dropped, info.undelivered), (0, 0), "{said}");
    let mut consumed = Consumed::default();
    // At least once: what was under way when the connection broke may be there twice.
    consumed.add(&installed.consumer(address, &["read", "1000000"]), &info.run);
    consumed.check(&run);
}

/// The memory of a broker is gone with it, so that a consumer reads all that it has before it is killed, while the run waits.
#[test]
fn a_broker_that_is_killed_and_started_again_has_every_row_once_at_least() {
    let Some(installed) = installed() else { return };
    let address = free();
    let broker = installed.broker(address);
    let mut streamed = Streamed::start(address);
    let scratch = TempDir::new().expect("there is room");
    let followed = scratch.path().join("followed.txt");
    let output = File::create(&followed).expect("there is room");
    let follower = installed.consumer_command(address, &["follow"]).stdout(output).stderr(Stdio::null()).spawn();
    let follower = Running(follower.expect("it starts"));
    streamed.run.wait_until_it_says("freeze");
    streamed.run.signal(Signal::STOP);
    let mut length = 0;
    wait_until("the consumer has all", || {
        (0..50).for_each(|_| pause());
        let before = std::mem::replace(&mut length, fs::metadata(&followed).map_or(0, |file| file.len()));
        length > 0 && length == before
    });
    drop((broker, follower));
    let _broker = installed.broker_alone(address, address);
    streamed.run.signal(Signal::CONT);
    streamed.run.wait_until_it_says("create it, as with `kafka-topics.sh");
    installed.consumer(address, &["create", &PARTITIONS.to_string()]);
    streamed.run.wait_until_it_says("note: rows are sent to");
    let (_folder, run, said) = streamed.end();
    let info = info(&run);
    assert_eq!((info.dropped, info.undelivered), (0, 0), "{said}");
    let mut consumed = Consumed::default();
    let before = fs::read_to_string(&followed).expect("it is text");
    consumed.add(&before, &info.run);
    let first = consumed.rows.len();
    consumed.add(&installed.consumer(address, &["read", "1000000"]), &info.run);
    assert!(first > 0 && consumed.rows.len() > first, "{first} before it was killed, {} in all", consumed.rows.len());
    consumed.check(&run);
}

#[test]
fn a_broker_that_hangs_has_every_row_when_it_goes_on() {
    let Some(installed) = installed() else { return };
    let address = free();
    let broker = installed.broker(address);
    let mut streamed = Streamed::start(address);
    streamed.run.wait_until_it_says("freeze");
    broker.signal(Signal::STOP);
    streamed.run.wait_until_it_says("the broker does not answer within 5 s");
    broker.signal(Signal::CONT);
    let (_folder, run, said) = streamed.end();
    let info = info(&run);
    assert_eq!((info.dropped, info.undelivered), (0, 0), "{said}");
    let mut consumed = Consumed::default();
    consumed.add(&installed.consumer(address, &["read", "1000000"]), &info.run);
    consumed.check(&run);
}
