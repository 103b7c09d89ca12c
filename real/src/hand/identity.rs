//! Which process it is: not its id alone, which the system gives to another once it has ended.

use std::{fs, io, os::fd::OwnedFd};

use rustix::process::{Pid, PidfdFlags, Signal, pidfd_open, pidfd_send_signal};
use serde::{Deserialize, Serialize};

/// A process, for good: no other one ever equals it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Identity {
    /// Its id, while it lives.
    pub(crate) pid: u32,
    /// When it was started, in clock ticks since the machine was.
    started: u64,
    /// Which start of the machine that was.
    boot: String,
}

/// What a process that lives is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Running,
    /// Stopped by a signal.
    Frozen,
}

/// A hold on a process that lived when it was taken. Signals reach this process or nobody.
pub(crate) struct Hold {
    process: OwnedFd,
    identity: Identity,
}

impl Identity {
    /// The process `pid`, if it lives.
    pub(crate) fn of(pid: u32) -> Option<Self> {
        let (_, started) = stat(pid)?;
        Some(Self { pid, started, boot: boot() })
    }

    /// What it is doing, if it lives.
    pub(crate) fn state(&self) -> Option<State> {
        let (state, started) = stat(self.pid)?;
        let same = started == self.started && boot() == self.boot;
        same.then_some(if state == 'T' { State::Frozen } else { State::Running })
    }

    /// A hold on it, if it lives.
    pub(crate) fn hold(&self) -> io::Result<Option<Hold>> {
        let pid = i32::try_from(self.pid).ok().and_then(Pid::from_raw).ok_or(io::ErrorKind::InvalidData)?;
        let process = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(process) => process,
            Err(rustix::io::Errno::SRCH) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        // Looked at only now: what is held keeps its id to itself.
        Ok(self.state().map(|_| Hold { process, identity: self.clone() }))
    }
}

impl Hold {
    /// Sends it a signal. False if it has ended.
    pub(crate) fn signal(&self, signal: Signal) -> io::Result<bool> {
        match pidfd_send_signal(&self.process, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    pub(crate) fn state(&self) -> Option<State> {
        self.identity.state()
    }
}

/// State and start of a process that lives, from `/proc/PID/stat`: `PID (NAME) STATE PARENT …`, where the name may hold
/// anything, and the start is the 22nd field. A dead one that nobody has waited for does not live.
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
    fn a_process_is_told_from_another_of_its_id() {
        let this = Identity::of(std::process::id()).expect("this lives");
        assert_eq!(this.state(), Some(State::Running));
        assert!(this.hold().unwrap().is_some());
        let earlier = Identity { started: this.started - 1, ..this.clone() };
        let other_boot = Identity { boot: "another".to_owned(), ..this };
        for other in [earlier, other_boot] {
            assert_eq!(other.state(), None);
            assert!(other.hold().unwrap().is_none());
        }
    }

    #[test]
    fn the_start_is_found_whatever_the_name() {
        let rest = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 4711 20";
        assert_eq!(parse_stat(&format!("12 (a) b) ({rest}) {rest}")), Some(('S', 4711)));
        assert_eq!(parse_stat(&format!("12 (x) {}", rest.replace('S', "Z"))), None);
        assert_eq!(parse_stat("12 (x"), None);
    }
}
