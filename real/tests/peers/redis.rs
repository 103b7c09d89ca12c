//! The store of a client's cache in Debian's Redis, which is killed and started again while calls are made.

#![expect(clippy::disallowed_types, clippy::disallowed_methods, reason = "Redis runs outside of any World")]

use std::{
    collections::BTreeSet,
    fs,
    io::Write,
    net::{Ipv4Addr, TcpListener},
    ops::Range,
    path::PathBuf,
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use kernel::{
    record::{Answer, Event, Records},
    status::{Code, Outcome},
};
use tempfile::TempDir;

use crate::child::{self, Run};

/// A backend that is down from 8 s to 10 s, behind a store that the test ends and starts again before.
const SCENARIO: &str = r#"
name = "redis"
duration = "11s"
[servers]
replicas = 1
workers = 64
[workload]
kind = "backend"
failure_rate = 0.0
delay = "10ms"
[load]
rate = 50
[client]
attempt_timeout = "500ms"
[client.retry]
max_attempts = 1
[client.cache]
ttl = "300ms"
store_pause = "200ms"
[client.fallback]
kind = "stale"
[[fault]]
at = "8s"
kind = "crash"
target = "server-0"
restart_after = "2s"
"#;

/// The programs of Redis that `.ci/peers` has installed.
struct Redis {
    folder: PathBuf,
    port: u16,
}

/// A process. Dropped, it is killed.
struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Redis {
    /// Returns Redis at a free port; `None` if it is not installed, which is printed.
    fn find() -> Option<Self> {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../target/peers/redis");
        if !folder.join("usr/bin/redis-cli").exists() {
            let skipped =
                "skipped: the test against Redis, which is not installed; `.ci/peers` installs it where apt-get can\n";
            let _ = std::io::stderr().write_all(skipped.as_bytes());
            return None;
        }
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|socket| socket.local_addr());
        Some(Self { folder, port: free.expect("there is a free port").port() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.folder.join("usr/bin").join(program));
        let libraries = fs::read_dir(self.folder.join("usr/lib")).expect("it was unpacked");
        let libraries: Vec<_> = libraries.filter_map(|entry| Some(entry.ok()?.path().display().to_string())).collect();
        command.env("LD_LIBRARY_PATH", libraries.join(":")).stderr(Stdio::null());
        command
    }

    /// Starts it, and waits until it answers.
    fn start(&self) -> Running {
        let mut command = self.command("redis-server");
        command.args(["--port", &self.port.to_string(), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
        let running = Running(command.stdout(Stdio::null()).spawn().expect("it starts"));
        child::wait_until("Redis answers", || self.says(&["ping"]) == "PONG");
        running
    }

    /// Returns what redis-cli prints for a command on database 1.
    fn says(&self, words: &[&str]) -> String {
        let mut command = self.command("redis-cli");
        command.args(["-p", &self.port.to_string(), "-n", "1"]).args(words);
        let output = command.output().expect("it starts");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    fn keys(&self) -> Vec<String> {
        self.says(&["--scan", "--pattern", "rehearsal:redis:*"]).lines().map(str::to_owned).collect()
    }
}

/// How the calls ended that were intended within a span, and where their answers came from.
fn ends(records: &Records, micros: Range<u64>) -> BTreeSet<String> {
    let rows = records.requests.iter().filter(|row| micros.contains(&row.intended_us));
    rows.map(|row| end(row.status, row.answer)).collect()
}

fn end(status: Outcome, answer: Option<Answer>) -> String {
    format!("{} {answer:?}", status.name())
}

#[test]
fn answers_are_in_a_redis_which_is_killed_and_started_again() {
    let Some(redis) = Redis::find() else { return };
    let server = redis.start();
    let folder = TempDir::new().unwrap();
    let (file, out) = (folder.path().join("redis.toml"), folder.path().join("run"));
    fs::write(&file, SCENARIO).unwrap();
    let store = format!("client.cache.store=redis://127.0.0.1:{}/1", redis.port);
    let run = Run::start_with(&file, 7, &out, &["--set", &store, "--set", "run.max_lateness=1h"]);
    child::wait_until("the first answer is stored", || redis.keys().len() == 1);
    let key = redis.keys().remove(0);
    let kept: u64 = redis.says(&["pttl", &key]).parse().expect("the key expires");
    assert!((3_500_000..=3_600_000).contains(&kept), "{kept} of an hour");
    assert_eq!(redis.says(&["getrange", &key, "0", "3"]), "RHA1");
    thread::sleep(Duration::from_secs(2));
    drop(server);
    thread::sleep(Duration::from_secs(2));
    let _server = redis.start();
    let (_, said) = run.end();

    let records = child::records(&out);
    let lost_and_restored =
        records.events.iter().filter(|row| matches!(row.event, Event::StoreLost | Event::StoreRestored));
    let at: Vec<_> = lost_and_restored.map(|row| (row.event, row.at_us)).collect();
    let [(Event::StoreLost, lost_us), (Event::StoreRestored, restored_us)] = at[..] else { panic!("{at:?}: {said}") };
    let failures = records.events.iter().filter(|row| row.event == Event::StoreFailed).count();
    // One for each pause of 200 ms in 2 s, and those under way.
    assert!((3..=20).contains(&failures), "{failures}");

    let [plain, cached] = [None, Some(Answer::Cached)].map(|answer| end(Outcome::OK, answer));
    let of_both = BTreeSet::from([plain.clone(), cached]);
    assert_eq!(ends(&records, 500_000..lost_us.saturating_sub(200_000)), of_both, "before: {said}");
    let without = BTreeSet::from([plain]);
    assert_eq!(ends(&records, lost_us + 200_000..restored_us.saturating_sub(200_000)), without, "without it: {said}");
    assert_eq!(ends(&records, restored_us + 500_000..7_500_000), of_both, "with the one that was started: {said}");
    // The answer of an empty store that was filled again, a moment after the backend has gone.
    let down = BTreeSet::from([end(Outcome::Degraded, Some(Answer::Stale))]);
    assert_eq!(ends(&records, 8_600_000..9_500_000), down, "the backend is down: {said}");
    assert!(!records.requests.iter().any(|row| row.status == Outcome::Status(Code::Unavailable)), "{said}");
    assert_eq!(redis.keys(), [key], "the run leaves its key, which expires, and no other");
}
