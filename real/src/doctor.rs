//! `real doctor`: checks if this host can play scenarios, and proposes remedies.

use std::{fmt, io, os::unix::process::ExitStatusExt, path::Path, process::Stdio};

use rustix::process::{Pid, Resource, Signal, getrlimit, kill_process};
use tokio::{process::Command, runtime::Runtime};

use crate::{
    process::PROGRAM,
    role::generator::{GeneratorArgs, ROLE},
    tcp::{self, ReservedPort},
    timer::Timer,
};

/// Number of open files that a replica can need, as each connection is one.
const FILES_MIN: u64 = 256;

/// Number of processes and threads of a run with two replicas, with room for others of the same user.
const PROCESSES_MIN: u64 = 256;

/// Number of cores below which the servers and the load compete for processor time.
const CORES_MIN: usize = 2;

/// The result of one check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Name of the check.
    pub subject: &'static str,
    /// The verdict, with a remedy.
    pub verdict: Verdict,
    /// The observed state of the host.
    pub found: String,
}

/// The verdict of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The host is fit for runs.
    Good,
    /// Runs are possible with a restriction. The text describes it and its remedy.
    Restricted(&'static str),
    /// Runs are not possible. The text is a remedy.
    Bad(&'static str),
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (sign, remedy) = match self.verdict {
            Verdict::Good => ('✓', None),
            Verdict::Restricted(remedy) => ('!', Some(remedy)),
            Verdict::Bad(remedy) => ('✗', Some(remedy)),
        };
        write!(f, "{sign} {:<14} {}", self.subject, self.found)?;
        remedy.map_or(Ok(()), |remedy| write!(f, "\n{:17}{remedy}", ""))
    }
}

/// Runs all checks. Fails only if the checks themselves cannot run.
pub fn examine() -> io::Result<Vec<Finding>> {
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        Ok(vec![
            result("signals", signals().await, "run it where a process may stop and kill its own children"),
            result("loopback", loopback().await, "bring the loopback device up: ip link set lo up"),
            at_least("open files", getrlimit(Resource::Nofile).current, FILES_MIN, "raise it: ulimit -n 4096"),
            at_least("processes", getrlimit(Resource::Nproc).current, PROCESSES_MIN, "raise it: ulimit -u 4096"),
            cores_finding(cores),
            netem_finding(Path::new("/sys/module/sch_netem").exists()),
        ])
    })
}

fn result(subject: &'static str, result: io::Result<String>, remedy: &'static str) -> Finding {
    match result {
        Ok(found) => Finding { subject, verdict: Verdict::Good, found },
        Err(error) => Finding { subject, verdict: Verdict::Bad(remedy), found: error.to_string() },
    }
}

/// Checks that `limit` is `min` at least; `None` is no limit.
fn at_least(subject: &'static str, limit: Option<u64>, min: u64, remedy: &'static str) -> Finding {
    let Some(limit) = limit else {
        return Finding { subject, verdict: Verdict::Good, found: "no limit".to_owned() };
    };
    let verdict = if limit >= min { Verdict::Good } else { Verdict::Bad(remedy) };
    let wanted = if limit >= min { String::new() } else { format!(", {min} are needed") };
    Finding { subject, verdict, found: format!("at most {limit}{wanted}") }
}

fn cores_finding(cores: usize) -> Finding {
    let restricted = Verdict::Restricted("latencies will be longer than the servers make them: use more cores");
    let verdict = if cores >= CORES_MIN { Verdict::Good } else { restricted };
    Finding { subject: "cores", verdict, found: cores.to_string() }
}

fn netem_finding(present: bool) -> Finding {
    let found = if present { "loaded" } else { "not loaded; link faults do without it" };
    Finding { subject: "tc netem", verdict: Verdict::Good, found: found.to_owned() }
}

/// Stops, continues and kills a child, as the faults of a run do.
async fn signals() -> io::Result<String> {
    let words = [ROLE.to_owned()].into_iter().chain(GeneratorArgs::words(false));
    let mut child = Command::new(PROGRAM).args(words).stdin(Stdio::piped()).kill_on_drop(true).spawn()?;
    for signal in [Signal::STOP, Signal::CONT, Signal::STOP, Signal::KILL] {
        let pid = child.id().and_then(|id| Pid::from_raw(id.try_into().ok()?));
        kill_process(pid.ok_or(io::ErrorKind::NotFound)?, signal)?;
    }
    let ended = child.wait().await?;
    if ended.signal() == Some(Signal::KILL.as_raw()) {
        Ok("a child can be stopped, continued and killed".to_owned())
    } else {
        Err(io::Error::other(format!("a child that was killed ended with {ended}")))
    }
}

/// Listens at the loopback device and connects, as a replica and its client do.
async fn loopback() -> io::Result<String> {
    let port = ReservedPort::any()?;
    let _listening = tcp::listen(port.address().port(), Timer::start()?)?;
    tcp::connect(port.address()).await?;
    Ok(format!("{} can be listened at and connected to", port.address().ip()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_shows_its_remedy_below_the_state_of_the_host() {
        let finding = at_least("open files", Some(10), FILES_MIN, "raise it: ulimit -n 4096");
        assert_eq!(
            finding.to_string(),
            "✗ open files     at most 10, 256 are needed\n                 raise it: ulimit -n 4096"
        );
        assert_eq!(at_least("open files", None, FILES_MIN, "").to_string(), "✓ open files     no limit");
        assert!(matches!(cores_finding(1).verdict, Verdict::Restricted(_)));
    }
}
