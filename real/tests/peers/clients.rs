//! Our client and grpcio's under the same load, on the same servers, at the same time.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Stdio},
};

use rustix::process::{Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    child::{pid, wait_until},
    environment::Peers,
    user::User,
};

/// The id of grpcio's first request. Ours has id 0.
pub(crate) const GRPCIO_IDS: u64 = 1_000_000;

/// Both clients have been answered by every server after this many calls.
pub(crate) const WARM_UP: usize = 20;

/// What both clients do.
pub(crate) struct Load {
    /// The service config of both.
    pub(crate) service_config: Value,
    /// Calls per second, whether or not they are answered; `None` for one call after the other.
    pub(crate) rate: Option<u32>,
    /// Deadline of a call in milliseconds. It is not in the service config: C-core computes the end of that one with the cycle
    /// counter of the processor, which on virtual machines can be wrong by more than a second.
    pub(crate) deadline_ms: u64,
    /// Number of tiles in which replies stream, only with calls one after the other; `None` for replies of one message.
    pub(crate) tiles: Option<u64>,
    /// Options of grpcio's channel.
    pub(crate) channel: Value,
    /// Settings of our client, as for `--set`.
    pub(crate) settings: Vec<&'static str>,
}

impl Load {
    /// A load with this service config: 40 calls a second, with a deadline of 2 s.
    pub(crate) fn with(service_config: Value) -> Self {
        Self {
            service_config,
            rate: Some(40),
            deadline_ms: 2_000,
            tiles: None,
            channel: json!({}),
            settings: Vec::new(),
        }
    }
}

/// The statuses of the calls of both clients, in the order in which they were sent.
#[derive(Debug)]
pub(crate) struct Statuses {
    pub(crate) ours: Vec<String>,
    pub(crate) theirs: Vec<String>,
}

/// Both clients under way.
pub(crate) struct Clients {
    ours: Client,
    theirs: Client,
    _folder: TempDir,
}

/// A client under way. Dropped, it is killed.
struct Client {
    name: &'static str,
    child: Child,
    /// A line of JSON for each call that has ended, with its `id` and `status`.
    log: PathBuf,
    /// Its standard error.
    errors: PathBuf,
}

impl Clients {
    /// Starts both, with `servers` as `127.0.0.1:PORT`.
    pub(crate) fn start(peers: &Peers, user: &User, servers: &[String], load: &Load) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let ours = start_ours(folder.path(), user, servers, load);
        let theirs = start_grpcio(folder.path(), peers, servers, load);
        Self { ours, theirs, _folder: folder }
    }

    /// Waits until the first `calls` calls of each have ended.
    pub(crate) fn wait_for(&self, calls: usize) {
        self.ours.wait_for(calls);
        self.theirs.wait_for(calls);
    }

    /// Returns the number of calls that each is known to have sent: ours and grpcio's.
    pub(crate) fn sent(&self) -> [usize; 2] {
        [&self.ours, &self.theirs].map(|client| client.ended().last_key_value().map_or(0, |(id, _)| id + 1))
    }

    /// Waits until each has ended `calls` calls more than it is known to have sent.
    pub(crate) fn wait_for_more(&self, calls: usize) {
        let [ours, theirs] = self.sent();
        self.ours.wait_for(ours + calls);
        self.theirs.wait_for(theirs + calls);
    }

    /// Waits until the last `calls` calls of each that have ended are OK.
    pub(crate) fn wait_until_well(&self, calls: usize) {
        for client in [&self.ours, &self.theirs] {
            wait_until(&format!("the servers are well for {}", client.name), || {
                let ended = client.ended();
                ended.len() >= calls && ended.values().rev().take(calls).all(|status| status == "OK")
            });
        }
    }

    /// Ends both. Calls under way may still end, or are left out.
    pub(crate) fn end(self) -> Statuses {
        let [ours, theirs] = self.end_with_rows().map(|rows| rows.iter().map(status).collect());
        Statuses { ours, theirs }
    }

    /// Does the same, and returns the rows that our client and grpcio have written of the calls.
    pub(crate) fn end_with_rows(mut self) -> [Vec<Value>; 2] {
        kill_process(pid(self.ours.child.id()), Signal::INT).expect("it has not been waited for");
        // The end of its standard input ends it.
        drop(self.theirs.child.stdin.take());
        [self.ours.end(), self.theirs.end()]
    }
}

/// Returns the status in the row of a call.
fn status(row: &Value) -> String {
    row["status"].as_str().expect("a call that has ended has a status").to_owned()
}

impl Client {
    /// The rows of the calls that have ended, by the calls' numbers from 0.
    fn rows(&self) -> BTreeMap<usize, Value> {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        // The last line may be on its way.
        let rows = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        rows.map(|row| (row["id"].as_u64().expect("a call has a number") as usize, row)).collect()
    }

    /// The statuses of the calls that have ended, by the calls' numbers from 0.
    fn ended(&self) -> BTreeMap<usize, String> {
        self.rows().iter().map(|(id, row)| (*id, status(row))).collect()
    }

    fn wait_for(&self, calls: usize) {
        // Their numbers have no gap: the first `calls` have ended if the last of those is in its place.
        let have_ended = || self.ended().keys().nth(calls - 1) == Some(&(calls - 1));
        wait_until(&format!("{calls} calls of {} have ended: {}", self.name, self.said()), have_ended);
    }

    fn said(&self) -> String {
        let text = fs::read_to_string(&self.errors).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(5)..].join(" | ")
    }

    /// Waits until it has ended, and returns the rows of its calls up to the first one that was cut off.
    fn end(mut self) -> Vec<Value> {
        let status = self.child.wait().expect("it is our child");
        // 1 says that no call has succeeded.
        assert!(matches!(status.code(), Some(0 | 1)), "{}: {status}: {}", self.name, self.said());
        let rows = self.rows().into_iter().enumerate();
        let whole = rows.take_while(|(index, (id, row))| index == id && row["status"] != "CANCELLED");
        whole.map(|(_, (_, row))| row).collect()
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn start_ours(folder: &Path, user: &User, servers: &[String], load: &Load) -> Client {
    fs::write(folder.join("service_config.json"), load.service_config.to_string()).expect("there is room");
    let arrivals = match load.rate {
        Some(rate) => format!("rate = {rate}"),
        None => "users = 1\nthink_time = \"1ms\"\nthink_time_distribution = \"constant\"".to_owned(),
    };
    let deadline = load.deadline_ms;
    let tiles = load.tiles.map(|tiles| format!("tiles = {tiles}\n")).unwrap_or_default();
    let text = format!(
        "name = \"peers\"\nduration = \"1h\"\n[load]\n{arrivals}\n[workload]\nsizes = [\"8x8\"]\n{tiles}\
         [client]\nservice_config = \"service_config.json\"\ndeadline = \"{deadline}ms\"\n"
    );
    let scenario = folder.join("scenario.toml");
    fs::write(&scenario, text).expect("there is room");
    let log = folder.join("ours.jsonl");
    let errors = folder.join("ours.txt");
    let mut command = user.command(&["load", "--quiet", "--servers", &servers.join(",")]);
    command.arg("--scenario").arg(scenario).arg("--log").arg(&log);
    load.settings.iter().for_each(|setting| {
        command.args(["--set", setting]);
    });
    command.stdout(Stdio::null()).stderr(File::create(&errors).expect("there is room"));
    Client { name: "our client", child: command.spawn().expect("the program starts"), log, errors }
}

fn start_grpcio(folder: &Path, peers: &Peers, servers: &[String], load: &Load) -> Client {
    let log = folder.join("theirs.jsonl");
    let errors = folder.join("theirs.txt");
    let settings = json!({
        "target": format!("ipv4:{}", servers.join(",")),
        "service_config": load.service_config,
        "rate": load.rate,
        "deadline_s": load.deadline_ms as f64 / 1e3,
        "tiles": load.tiles,
        "channel": load.channel,
        "first_id": GRPCIO_IDS,
        "log": log,
    });
    let mut command = peers.python("client.py", &[&peers.stubs(), &settings.to_string()]);
    command.stdin(Stdio::piped()).stdout(Stdio::null()).stderr(File::create(&errors).expect("there is room"));
    Client { name: "grpcio", child: command.spawn().expect("the interpreter starts"), log, errors }
}
