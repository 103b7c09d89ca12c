//! A server of grpcio, which answers as a script says and logs every attempt.

use std::{fs, path::PathBuf};

use rustix::process::{Signal, kill_process};
use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::{
    child::{pid, wait_until},
    clients::GRPCIO_IDS,
    environment::{Listener, Peers},
};

/// A server of grpcio.
pub(crate) struct GrpcioServer {
    listener: Listener,
    log: PathBuf,
    _folder: TempDir,
}

/// An attempt as the server saw it.
#[derive(Debug, Deserialize)]
pub(crate) struct SeenAttempt {
    /// The request's id.
    pub(crate) request: u64,
    /// The value of `grpc-previous-rpc-attempts`.
    pub(crate) previous: Option<String>,
    pub(crate) user_agent: Option<String>,
}

impl GrpcioServer {
    /// Starts a server that answers by `script`, with these options of its `channel`. `server.py` describes both.
    pub(crate) fn start(peers: &Peers, script: &Value, channel: &Value) -> Self {
        Self::start_with(peers, &json!({ "script": script, "channel": channel }))
    }

    /// Starts a server with settings of `server.py`.
    pub(crate) fn start_with(peers: &Peers, settings: &Value) -> Self {
        let folder = tempfile::tempdir().expect("there is room for a folder");
        let log = folder.path().join("attempts.jsonl");
        let mut settings = settings.clone();
        settings["log"] = json!(log);
        let listener = peers.listener("server.py", &[&peers.stubs(), &settings.to_string()]);
        Self { listener, log, _folder: folder }
    }

    /// Returns `127.0.0.1:PORT`.
    pub(crate) fn address(&self) -> String {
        self.listener.address()
    }

    /// Returns the attempts in the order in which they arrived: those of our client, and those of grpcio's, with the ids of the
    /// requests from 0.
    pub(crate) fn attempts(&self) -> [Vec<SeenAttempt>; 2] {
        let text = fs::read_to_string(&self.log).unwrap_or_default();
        let attempts = text.lines().map(|line| serde_json::from_str(line).expect("the line is whole"));
        let (ours, mut theirs): (Vec<SeenAttempt>, Vec<_>) =
            attempts.partition(|attempt: &SeenAttempt| attempt.request < GRPCIO_IDS);
        theirs.iter_mut().for_each(|attempt| attempt.request -= GRPCIO_IDS);
        [ours, theirs]
    }

    /// Has its health service say the opposite of what it says.
    pub(crate) fn switch_health(&self) {
        kill_process(pid(self.listener.id()), Signal::USR1).expect("it has not been waited for");
    }

    /// Has it end as gRPC servers end: after a GOAWAY, and after the calls under way. Returns when it has ended.
    pub(crate) fn drain(&mut self) {
        kill_process(pid(self.listener.id()), Signal::TERM).expect("it has not been waited for");
        wait_until("the server has drained", || self.listener.has_ended());
    }
}
