//! A child process, which runs this program in another role.

use std::{
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom},
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
use kernel::visible::Visible;
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use tracing::info;

use crate::{clock::machine_ns, timer::Timer};

/// Path of this program, also after a build has replaced its file.
pub(crate) const PROGRAM: &str = "/proc/self/exe";

/// Time that a process may take to end after it has closed its streams.
const END_TIMEOUT: Duration = Duration::from_secs(1);

/// Number of log lines in the error about a process that has ended.
const LOG_TAIL_LINES: usize = 10;

/// Number of bytes of a log that are read for them.
const LOG_TAIL_BYTES: u64 = 16 * 1024;

/// A running child. It is killed when this is dropped, even if it is frozen.
///
/// The child also asks the operating system to kill it when this process ends (see `role`), in case this process is
/// killed and drops nothing.
pub(crate) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// The end of the process is expected, and no failure.
    ending: Arc<AtomicBool>,
}

/// This process's ends of a child's standard streams.
pub(crate) struct Streams {
    /// Standard input, for commands.
    pub(crate) commands: ChildStdin,
    /// Standard output, for rows and answers.
    pub(crate) reports: ChildStdout,
}

/// The failure of a child, with the end of its log.
#[derive(Debug, thiserror::Error)]
#[error("{name} {what}{quoted}", quoted = quoted(.log_tail))]
pub struct ProcessFailed {
    /// Name of the process, such as `server-0`.
    pub name: String,
    /// The event, as the rest of a sentence.
    pub what: String,
    /// The last lines of its log.
    pub log_tail: Vec<String>,
}

/// The quotation of a log in a message.
fn quoted(log_tail: &[String]) -> String {
    let lines = log_tail.iter().map(|line| format!("\n  | {line}"));
    if log_tail.is_empty() { String::new() } else { format!("; the end of its log:{}", lines.collect::<String>()) }
}

impl Process {
    /// Starts `name` with the command line `words`. Its standard error is appended to a file in `logs`.
    pub(crate) fn start(name: &str, words: &[String], logs: &Path) -> Result<(Self, Streams), ProcessFailed> {
        let log = logs.join(name).with_extension("log");
        let mut child = Self::spawn(words, &log);
        let ending = Arc::default();
        let streams = child.as_mut().ok().and_then(|child| child.stdin.take().zip(child.stdout.take()));
        match (child, streams) {
            (Ok(child), Some((commands, reports))) => {
                info!(name, pid = child.id(), log = %log.visible(), "process started");
                Ok((Self { name: name.to_owned(), child, log, ending }, Streams { commands, reports }))
            }
            (child, _) => {
                let reason = child.err().map_or_else(|| "its streams are gone".to_owned(), |error| error.to_string());
                let what = format!("could not be started: {reason}");
                Err(ProcessFailed { name: name.to_owned(), what, log_tail: Vec::new() })
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
            // In a process group of its own, so that Ctrl-C reaches the orchestrator only, which then ends the run in order.
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
    }

    /// Process id; `None` after the process has ended and was waited for.
    pub(crate) fn id(&self) -> Option<u32> {
        self.child.id()
    }

    /// Sends a signal. It succeeds also on a process that has ended but was not waited for.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<()> {
        let pid = self.child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        info!(name = self.name, pid = self.child.id(), ?signal, "process receives a signal");
        kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?;
        Ok(())
    }

    /// Kills the process, and waits until it has ended.
    pub(crate) async fn kill(&mut self) -> io::Result<()> {
        self.expect_end();
        info!(name = self.name, pid = self.child.id(), "process is killed");
        self.child.kill().await
    }

    /// Declares that the end of the process is no failure from now on.
    pub(crate) fn expect_end(&self) {
        self.ending.store(true, Ordering::Release);
    }

    /// A flag that is set when the end of the process is expected, for the task that reads its output.
    pub(crate) fn ending(&self) -> Arc<AtomicBool> {
        self.ending.clone()
    }

    /// The failure, if the process has ended.
    pub(crate) fn ended(&mut self) -> Option<ProcessFailed> {
        let status = self.child.try_wait().ok()??;
        Some(self.failed(format!("ended with {status}")))
    }

    /// The failure of a process that is about to end, or that does not respond as it should.
    pub(crate) async fn end(&mut self, timer: &Timer) -> ProcessFailed {
        let patience = timer.sleep_until(machine_ns() + END_TIMEOUT.as_nanos() as u64);
        // Either result is fine: `ended` finds out if the process has ended.
        let _ = select(pin!(self.child.wait()), patience).await;
        self.ended().unwrap_or_else(|| self.failed("does not follow its commands"))
    }

    /// A failure of this process, described by `what`.
    pub(crate) fn failed(&self, what: impl Into<String>) -> ProcessFailed {
        ProcessFailed { name: self.name.clone(), what: what.into(), log_tail: log_tail(&self.log) }
    }
}

/// The last lines of a log; none if it cannot be read.
pub(crate) fn log_tail(log: &Path) -> Vec<String> {
    let text = log_end(log).unwrap_or_default();
    let lines: Vec<_> = text.lines().map(|line| line.visible().to_string()).collect();
    lines[lines.len().saturating_sub(LOG_TAIL_LINES)..].to_vec()
}

/// The last [`LOG_TAIL_BYTES`] of a log. A log that has grown for days can be larger than the memory.
fn log_end(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let start = file.metadata()?.len().saturating_sub(LOG_TAIL_BYTES);
    file.seek(SeekFrom::Start(start))?;
    let mut end = Vec::new();
    file.take(LOG_TAIL_BYTES).read_to_end(&mut end)?;
    Ok(String::from_utf8_lossy(&end).into_owned())
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use rustix::process::test_kill_process;
    use tokio::runtime::Runtime;

    use super::*;

    /// The child of the test below, as the program of this process can only run tests.
    #[test]
    #[ignore = "it is no test, and ends with its standard input"]
    fn waits_for_the_end_of_its_input() {
        io::read_to_string(io::stdin()).expect("it can be read");
    }

    #[test]
    fn a_panic_kills_even_a_frozen_child() {
        let logs = tempfile::tempdir().expect("there is room for a folder");
        let words = ["--ignored", "--exact", "process::tests::waits_for_the_end_of_its_input"].map(str::to_owned);
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
        // A frozen process cannot end by itself. A killed one has ended once it was waited for, here or by tokio.
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
