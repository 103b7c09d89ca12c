//! What the processes do that an orchestrator starts: one is a replica, another offers the load.

pub mod load;
pub mod replica;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// Why a process could not play its role.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The orchestrator was gone before this process had begun.
    #[error("process {0} is not the parent any more")]
    Orphaned(u32),
    /// The operating system refused.
    #[error("{what}: {reason}")]
    System {
        /// What was tried.
        what: String,
        /// Its words.
        reason: std::io::Error,
    },
    /// What came from the orchestrator makes no sense.
    #[error("{0}")]
    Order(String),
}

impl RoleError {
    fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |reason| Self::System { what, reason }
    }
}

/// From now on the kernel kills this process when the thread of `parent` that started it ends, whatever ends it.
fn die_with(parent: u32) -> Result<(), RoleError> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| RoleError::system("cannot tie this process to its parent")(error.into()))?;
    // It may have ended before.
    let is_parent = |pid: Pid| u32::try_from(pid.as_raw_nonzero().get()) == Ok(parent);
    if getppid().is_some_and(is_parent) { Ok(()) } else { Err(RoleError::Orphaned(parent)) }
}
