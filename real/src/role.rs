//! The roles of the processes that an orchestrator starts: replicas, and the load generator.

pub mod generator;
pub mod replica;

use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};

/// An error that ends a process of a run.
#[derive(Debug, thiserror::Error)]
pub enum RoleError {
    /// The orchestrator with this process id ended before this process was tied to it.
    #[error("process {0} is not the parent any more")]
    Orphaned(u32),
    /// A call to the operating system failed.
    #[error("{what}: {reason}")]
    System {
        /// Description of the failed action.
        what: String,
        /// The error of the operating system.
        #[source]
        reason: std::io::Error,
    },
    /// A command of the orchestrator is invalid, or comes at the wrong time.
    #[error("{0}")]
    Order(String),
}

impl RoleError {
    fn system(what: impl Into<String>) -> impl FnOnce(std::io::Error) -> Self {
        let what = what.into();
        |reason| Self::System { what, reason }
    }
}

/// Has Linux kill this process when the thread of `parent` that started it ends, for any reason. Fails if it has ended.
fn die_with(parent: u32) -> Result<(), RoleError> {
    set_parent_process_death_signal(Some(Signal::KILL))
        .map_err(|error| RoleError::system("cannot tie this process to its parent")(error.into()))?;
    // The parent can have ended before the call above, and then no signal comes.
    let actual = getppid().and_then(|pid: Pid| u32::try_from(pid.as_raw_nonzero().get()).ok());
    if actual == Some(parent) { Ok(()) } else { Err(RoleError::Orphaned(parent)) }
}
