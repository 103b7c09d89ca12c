//! The program under test as a process, and the processes it starts.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Child, ChildStderr, ExitStatus, Stdio},
    thread,
    time::Duration,
};

use kernel::record::{AttemptRow, EventRow, Records, RequestRow};
use rustix::process::{Pid, Signal, kill_process};
use serde::de::DeserializeOwned;

use crate::command::command_of;

/// Nothing here takes as long as this on any machine.
const PATIENCE: Duration = Duration::from_secs(40);
const LOOK_INTERVAL: Duration = Duration::from_millis(20);

/// A run of the program. Dropped, it is killed.
pub(crate) struct Run {
    child: Child,
    said: BufReader<ChildStderr>,
}

impl Run {
    /// Plays the file `scenario` with `seed` and leaves its folder at `out`. It is trusted on a machine as busy as that of the
    /// tests.
    pub(crate) fn start(scenario: &Path, seed: u64, out: &Path) -> Self {
        Self::start_with(scenario, seed, out, &["--set", "run.max_lateness=1h"])
    }

    /// Does the same with further options.
    pub(crate) fn start_with(scenario: &Path, seed: u64, out: &Path, options: &[&str]) -> Self {
        let mut child = command_of(env!("CARGO_BIN_EXE_real"))
            .arg(scenario)
            .args(["--seed", &seed.to_string(), "--out"])
            .arg(out)
            .args(options)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program starts");
        let said = BufReader::new(child.stderr.take().expect("it is a pipe"));
        Self { child, said }
    }

    /// Reads what it says on its standard error until that holds `words`. It ends by itself, and so does this.
    pub(crate) fn wait_until_it_says(&mut self, words: &str) {
        let mut line = String::new();
        while self.said.read_line(&mut line).expect("it is text") > 0 {
            if line.contains(words) {
                return;
            }
            line.clear();
        }
        panic!("it ended without saying `{words}`");
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(pid(self.child.id()), signal).expect("it has not been waited for");
    }

    /// Its process id.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Its child processes, by id.
    pub(crate) fn children(&self) -> Vec<u32> {
        let ids = fs::read_dir("/proc").expect("this is Linux").filter_map(|entry| {
            let id = entry.ok()?.file_name().to_str()?.parse().ok()?;
            (parent_and_state(id)?.0 == self.child.id()).then_some(id)
        });
        ids.collect()
    }

    /// How it ended, and the rest of what it said.
    pub(crate) fn end(mut self) -> (ExitStatus, String) {
        let mut rest = String::new();
        self.said.read_to_string(&mut rest).expect("it is text");
        let mut status = None;
        wait_until("it ends", || {
            status = self.child.try_wait().expect("it is our child");
            status.is_some()
        });
        (status.expect("it has ended"), rest)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Panics if it takes too long until `what`.
pub(crate) fn wait_until(what: &str, mut holds: impl FnMut() -> bool) {
    let looks = PATIENCE.as_millis() / LOOK_INTERVAL.as_millis();
    for _ in 0..looks {
        if holds() {
            return;
        }
        pause();
    }
    panic!("waited {} s in vain until {what}", PATIENCE.as_secs());
}

pub(crate) fn pause() {
    pause_for(LOOK_INTERVAL);
}

#[expect(clippy::disallowed_methods, reason = "a test of processes has no World to wait in")]
fn pause_for(time: Duration) {
    thread::sleep(time);
}

pub(crate) fn pid(id: u32) -> Pid {
    Pid::from_raw(id.try_into().expect("ids are small")).expect("ids are not 0")
}

/// Stops the process for this time, as a machine that is too busy does.
pub(crate) fn stop_for(id: u32, time: Duration) {
    kill_process(pid(id), Signal::STOP).expect("it has not been waited for");
    pause_for(time);
    kill_process(pid(id), Signal::CONT).expect("it has not been waited for");
}

/// Returns whether the process exists and is no zombie.
pub(crate) fn lives(id: u32) -> bool {
    parent_and_state(id).is_some_and(|(_, state)| state != 'Z' && state != 'X')
}

/// Whether it has been stopped by a signal.
pub(crate) fn is_stopped(id: u32) -> bool {
    parent_and_state(id).is_some_and(|(_, state)| state == 'T')
}

/// The words of the command line of a process.
pub(crate) fn command_line(id: u32) -> Option<Vec<String>> {
    let words = fs::read_to_string(format!("/proc/{id}/cmdline")).ok()?;
    Some(words.split_terminator('\0').map(str::to_owned).collect())
}

/// From `/proc/ID/stat`: `ID (NAME) STATE PARENT …`, where the name may hold anything.
fn parent_and_state(id: u32) -> Option<(u32, char)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut rest = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = rest.next()?.chars().next()?;
    Some((rest.next()?.parse().ok()?, state))
}

/// The rows in a run folder.
pub(crate) fn records(folder: &Path) -> Records {
    Records {
        requests: rows::<RequestRow>(&folder.join("requests.jsonl")),
        attempts: rows::<AttemptRow>(&folder.join("attempts.jsonl")),
        events: rows::<EventRow>(&folder.join("events.jsonl")),
        calls: Vec::new(),
    }
}

fn rows<T: DeserializeOwned>(file: &Path) -> Vec<T> {
    let text = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    text.lines().map(|line| serde_json::from_str(line).expect("every line is a row")).collect()
}
