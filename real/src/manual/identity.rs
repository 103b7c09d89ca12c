//! The identity of a process. Its id alone is not enough: the operating system reuses the id of a process that has ended.

use std::{fs, io, os::fd::OwnedFd};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// The identity of a process. No other process ever has an equal one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct ProcessIdentity {
    /// Process id, valid while the process lives.
    pub(crate) pid: u32,
    /// Start time, in clock ticks since the machine started.
    started: u64,
    /// Id of the machine's boot, as the other two repeat after a restart.
    boot: String,
}

/// The state of a process that lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// It is not stopped.
    Running,
    /// A signal has stopped it.
    Frozen,
}

/// A handle of a process that lived when it was made. Signals reach this process or none.
pub(crate) struct ProcessHandle {
    process: OwnedFd,
    identity: ProcessIdentity,
}

impl ProcessIdentity {
    /// The identity of the process `pid`, if it lives.
    pub(crate) fn for_pid(pid: u32) -> Option<Self> {
        let (_, started) = stat(pid)?;
        Some(Self { pid, started, boot: boot() })
    }

    /// The state of the process, if it lives.
    pub(crate) fn state(&self) -> Option<ProcessState> {
        let (state, started) = stat(self.pid)?;
        let same = started == self.started && boot() == self.boot;
        same.then_some(if state == 'T' { ProcessState::Frozen } else { ProcessState::Running })
    }

    /// A handle of the process, if it lives.
    pub(crate) fn hold(&self) -> io::Result<Option<ProcessHandle>> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Only now: the id cannot be reused while the handle is open, so that the check cannot meet another process.
        Ok(self.state().map(|_| ProcessHandle { process, identity: self.clone() }))
    }
}

impl ProcessHandle {
    /// Sends a signal. Returns false if the process has ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.process, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// The state of the process, if it lives.
    pub(crate) fn state(&self) -> Option<ProcessState> {
        self.identity.state()
    }
}

/// The state and the start time of a process that lives, from `/proc/PID/stat`: `PID (NAME) STATE PARENT …`. The name can
/// contain any character, and the start time is the 22nd field. A zombie does not live.
fn stat(pid: u32) -> Option<(char, u64)> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn parse_stat(stat: &str) -> Option<(char, u64)> {
    let mut rest = stat[stat.rfind(')')? + 1..].split_ascii_whitespace();
    let state = rest.next()?.chars().next()?;
    let started = rest.nth(18)?.parse().ok()?;
    (!matches!(state, 'Z' | 'X')).then_some((state, started))
}

fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_process_with_the_same_id_has_another_identity() {
        let this = ProcessIdentity::for_pid(std::process::id()).expect("this lives");
        assert_eq!(this.state(), Some(ProcessState::Running));
        assert!(this.hold().unwrap().is_some());
        let earlier = ProcessIdentity { started: this.started - 1, ..this.clone() };
        let other_boot = ProcessIdentity { boot: "another".to_owned(), ..this };
        for other in [earlier, other_boot] {
            assert_eq!(other.state(), None);
            assert!(other.hold().unwrap().is_none());
        }
    }

    #[test]
    fn the_start_time_is_found_after_any_process_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(&format!("12 (a) b) ({rest}) {rest}")), Some(('S', 4711)));
        assert_eq!(parse_stat(&format!("12 (x) {}", rest.replace('S', "Z"))), None);
        assert_eq!(parse_stat("12 (x"), None);
    }
}
