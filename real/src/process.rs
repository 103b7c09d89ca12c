//! A child process: this program in another role.

use std::{
    fs::OpenOptions,
    io,
    path::{Path, PathBuf},
    pin::pin,
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures_util::future::select;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::{clock::machine_ns, timer::Timer};

/// This program, even if its file has been replaced since it was started.
pub(crate) const PROGRAM: &str = "/proc/self/exe";

/// How long a process that has closed its streams may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Lines of a process's log that its end is explained with.
const LAST_WORDS: usize = 10;

/// A running child. Dropped, it is killed, frozen or not.
///
/// It ties itself to this process as well (see `role`), in case this process is killed before it can drop anything.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// Whether it is meant to end.
    ending: Arc<AtomicBool>,
}

/// The ends of a child's standard streams that are ours.
pub(crate) struct Streams {
    pub(crate) orders: ChildStdin,
    pub(crate) reports: ChildStdout,
}

/// What a child did that it should not have, and what it said about it.
#[derive(Debug, thiserror::Error)]
#[error("{name} {what}{said}", said = said(.last_words))]
pub struct ProcessFailed {
    /// Which one it was.
    pub name: String,
    /// What it did.
    pub what: String,
    /// The last lines of its log.
    pub last_words: Vec<String>,
}

fn said(last_words: &[String]) -> String {
    let lines = last_words.iter().map(|line| format!("\n  | {line}"));
    if last_words.is_empty() { String::new() } else { format!("; the end of its log:{}", lines.collect::<String>()) }
}

impl Process {
    /// Starts `name` with the command line `words`; what it says on its standard error goes to a file in `logs`.
    pub(crate) fn start(name: &str, words: &[String], logs: &Path) -> Result<(Self, Streams), ProcessFailed> {
        let log = logs.join(name).with_extension("log");
        let (mut child, ending) = (Self::spawn(words, &log), Arc::default());
        let streams = child.as_mut().ok().and_then(|child| child.stdin.take().zip(child.stdout.take()));
        match (child, streams) {
            (Ok(child), Some((orders, reports))) => {
                Ok((Self { name: name.to_owned(), child, log, ending }, Streams { orders, reports }))
            }
            (child, _) => {
                let reason = child.err().map_or_else(|| "its streams are gone".to_owned(), |error| error.to_string());
                let what = format!("could not be started: {reason}");
                Err(ProcessFailed { name: name.to_owned(), what, last_words: Vec::new() })
            }
        }
    }

    fn spawn(words: &[String], log: &Path) -> io::Result<Child> {
        let log = OpenOptions::new().create(true).append(true).open(log)?;
        Command::new(PROGRAM)
            .arg0("real")
            .args(words)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            // Of its own, so that a terminal's Ctrl-C reaches this process only, which then ends the run in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    /// Its number, unless it has been waited for.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends it a signal. A process that has died but was not waited for takes any.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?;
        Ok(())
    }

    /// SIGKILL; done when nothing is left of it.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.may_end();
        self.child.kill().await
    }

    /// Its end is no failure from now on.
    pub(crate) fn may_end(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// Whether its end is no failure, for whoever finds out that it has ended.
    pub(crate) fn ending(&self) -> Arc<AtomicBool> {
        self.ending.clone()
    }

    /// How it ended, if it has ended.
    pub(crate) fn ended(&mut self) -> Option<ProcessFailed> {
        let status = self.child.try_wait().ok()??;
        Some(self.failed(format!("ended with {status}")))
    }

    /// How it ended, of one that is about to end or does no more of what it should.
    pub(crate) async fn end(&mut self, timer: &Timer) -> ProcessFailed {
        let patience = timer.sleep_until(machine_ns() + END_TIMEOUT.as_nanos() as u64);
        // What matters is what it is asked next.
        let _ = select(pin!(self.child.wait()), patience).await;
        self.ended().unwrap_or_else(|| self.failed("does not do what it is told"))
    }

    /// It did `what`.
    pub(crate) fn failed(&self, what: impl Into<String>) -> ProcessFailed {
        ProcessFailed { name: self.name.clone(), what: what.into(), last_words: last_words(&self.log) }
    }
}

/// The end of a log.
pub(crate) fn last_words(log: &Path) -> Vec<String> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(str::to_owned).collect();
    lines[lines.len().saturating_sub(LAST_WORDS)..].to_vec()
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rustix::process::test_kill_process;
    use tokio::runtime::Runtime;

    use super::*;

    /// What the child of the test below does: this program knows tests only.
    #[test]
    #[ignore = "it is no test, and ends with its standard input"]
    fn waits_for_the_end_of_its_orders() {
        io::read_to_string(io::stdin()).expect("it can be read");
    }

    #[test]
    fn a_panic_kills_a_child_even_one_that_stands_still() {
        let logs = tempfile::tempdir().expect("there is room for a folder");
        let words = ["--ignored", "--exact", "process::tests::waits_for_the_end_of_its_orders"].map(str::to_owned);
        let runtime = Runtime::new().expect("a runtime can be made");
        let mut pid = None;
        let panicked = catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(async {
                let _child = Process::start("child", &words, logs.path()).map(|(process, streams)| {
                    process.signal(Signal::STOP).expect("it lives");
                    pid = process.id();
                    (process, streams)
                });
                panic!("what a bug in the orchestrator would do");
            })
        }));
        assert!(panicked.is_err());
        let pid = pid.and_then(|pid| Pid::from_raw(pid.try_into().ok()?)).expect("it was started");
        // A frozen process does not end of itself. What was killed is gone once it has been waited for, here or by tokio.
        let looks = 2_000;
        let gone = (0..looks).any(|_| {
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::NOHANG);
            let timer = Timer::start().expect("a thread can be started");
            runtime.block_on(timer.sleep_until(machine_ns() + 5_000_000));
            test_kill_process(pid).is_err()
        });
        assert!(gone, "it is still there");
    }
}
