//! A user who starts, steers and ends processes by hand.

use std::{
    fs,
    io::{BufRead, BufReader},
    net::SocketAddr,
    process::{Child, Command, Output, Stdio},
};

use rustix::process::{Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::{child::pid, command::command_of};

/// A user with a registry of their own. Whatever runs when this is dropped is killed.
pub(crate) struct User {
    pub(crate) runtime: TempDir,
}

impl User {
    pub(crate) fn new() -> Self {
        Self { runtime: tempfile::tempdir().expect("there is room for a folder") }
    }

    pub(crate) fn command(&self, words: &[&str]) -> Command {
        let mut command = command_of(env!("CARGO_BIN_EXE_real"));
        if let Some((&"load", options)) = words.split_first() {
            // The machine of the tests is busy. What the test itself sets comes later, and so applies.
            command.args(["load", "--set", "run.max_lateness=1h"]).args(options);
        } else {
            command.args(words);
        }
        command.env("XDG_RUNTIME_DIR", self.runtime.path()).stdin(Stdio::null());
        command.env_remove("REHEARSAL_TOKEN").env_remove("REHEARSAL_TOKEN_FILE");
        command
    }

    pub(crate) fn real(&self, words: &[&str]) -> Output {
        self.command(words).output().expect("the program starts")
    }

    /// What the command says on standard output, which must succeed.
    pub(crate) fn says(&self, words: &[&str]) -> String {
        let output = self.real(words);
        assert!(output.status.success(), "{words:?}: {}", String::from_utf8_lossy(&output.stderr));
        String::from_utf8(output.stdout).expect("it is text")
    }

    /// Exit code and what it says on standard error of a command that must not succeed.
    pub(crate) fn fails(&self, words: &[&str]) -> (Option<i32>, String) {
        let output = self.real(words);
        assert!(!output.status.success(), "{words:?}");
        (output.status.code(), String::from_utf8(output.stderr).expect("it is text"))
    }

    /// As [`fails`](Self::fails), with a variable in the environment.
    pub(crate) fn fails_with(&self, variable: &str, value: &str, words: &[&str]) -> (Option<i32>, String) {
        let output = self.command(words).env(variable, value).output().expect("the program starts");
        assert!(!output.status.success(), "{words:?}");
        (output.status.code(), String::from_utf8(output.stderr).expect("it is text"))
    }

    pub(crate) fn folder(&self) -> std::path::PathBuf {
        self.runtime.path().join("rehearsal")
    }

    pub(crate) fn entries(&self) -> Vec<Value> {
        let files = fs::read_dir(self.folder()).into_iter().flatten().filter_map(|file| Some(file.ok()?.path()));
        let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "json"));
        // A test may have put something there that reading would wait for.
        let files = files.filter(|path| fs::symlink_metadata(path).is_ok_and(|found| found.is_file()));
        files.filter_map(|path| serde_json::from_str(&fs::read_to_string(path).ok()?).ok()).collect()
    }

    fn entry(&self, id: &str) -> Value {
        self.entries().into_iter().find(|entry| entry["id"] == id).expect("it runs")
    }

    pub(crate) fn pid(&self, id: &str) -> u32 {
        pid_of(&self.entry(id))
    }

    pub(crate) fn address(&self, id: &str) -> SocketAddr {
        self.entry(id)["address"].as_str().and_then(|address| address.parse().ok()).expect("it is an address")
    }

    /// A command in the foreground that has said where it listens.
    pub(crate) fn foreground(&self, words: &[&str]) -> Foreground {
        let mut child = self.command(words).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("it starts");
        let mut line = String::new();
        let read = BufReader::new(child.stdout.take().expect("it is a pipe")).read_line(&mut line);
        assert!(read.is_ok_and(|bytes| bytes > 0), "{words:?} says nothing");
        Foreground(child)
    }
}

impl Drop for User {
    fn drop(&mut self) {
        for entry in self.entries() {
            // The registry is this user's alone, and what is in it was started by this test.
            let _ = kill_process(pid(pid_of(&entry)), Signal::KILL);
        }
    }
}

fn pid_of(entry: &Value) -> u32 {
    entry["process"]["pid"].as_u64().and_then(|pid| pid.try_into().ok()).expect("it has an id")
}

/// A child. Dropped, it is killed.
pub(crate) struct Foreground(pub(crate) Child);

impl Drop for Foreground {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
