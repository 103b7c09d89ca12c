//! The roles of the processes that an orchestrator starts: replicas, the load generator, and the store of its cache.

pub mod generator;
pub mod replica;
pub mod store;

use std::{env, io, sync::Arc, time::Duration};

use clap::{Parser, Subcommand};
use kernel::{load::LoadError, world::SharedWorld};
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use tokio::signal::unix::{SignalKind, signal};
use tracing::warn;

use crate::{diagnostics::InvalidFilter, message::ToOrchestrator, token::InvalidToken};

/// Time between two reports of what was measured. A process that is killed loses what it has measured since the last one.
const MEASURED_INTERVAL: Duration = Duration::from_millis(500);

/// The role of a process in a run.
#[derive(Debug, Clone, Subcommand)]
pub enum Role {
    /// A replica of an orchestrated run
    #[command(hide = true, name = replica::ROLE)]
    Replica(Box<replica::ReplicaArgs>),

    /// The load generator of an orchestrated run
    #[command(hide = true, name = generator::ROLE)]
    Generator(generator::GeneratorArgs),

    /// The store of the client's cache in an orchestrated run
    #[command(hide = true, name = store::ROLE)]
    Store(store::StoreArgs),
}

/// A command line that consists of a role.
#[derive(Debug, Parser)]
struct RoleLine {
    #[command(subcommand)]
    role: Role,
}

impl Role {
    /// Returns the role with which an orchestrator has started this process, or `None` if it has not. Ends the process if
    /// the options of the role are invalid.
    ///
    /// [`play`](crate::play) starts the program that calls it once for each process of the run. That program therefore
    /// plays this role, if there is one, before it does anything else.
    pub fn from_command_line() -> Option<Self> {
        let name = env::args().nth(1)?;
        [replica::ROLE, generator::ROLE, store::ROLE].contains(&name.as_str()).then(|| RoleLine::parse().role)
    }

    /// Plays the role. A replica or a store serves until it is killed; the load generator returns when the load has ended.
    ///
    /// # Errors
    ///
    /// Returns an error if the operating system refuses a call, or if the orchestrator ends or sends an invalid command.
    pub fn play(&self) -> Result<(), RoleError> {
        match self {
            Self::Replica(args) => replica::run(args),
            Self::Generator(args) => generator::run(args),
            Self::Store(args) => store::run(args),
        }
    }
}

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
        reason: io::Error,
    },
    /// The value of `REHEARSAL_LOG` is invalid.
    #[error(transparent)]
    Log(#[from] InvalidFilter),
    /// The token in the environment cannot be used.
    #[error(transparent)]
    Token(#[from] InvalidToken),
    /// The load of the app cannot be offered as it is written.
    #[error(transparent)]
    Load(#[from] LoadError),
    /// A command of the orchestrator is invalid, or comes at the wrong time.
    #[error("{0}")]
    Order(String),
}

impl RoleError {
    fn system(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
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

/// Logs every SIGCONT from now on, as a task of `world`. A process cannot see that it is stopped, only that it runs again.
fn log_resumes(world: &SharedWorld) -> io::Result<()> {
    let mut resumed = signal(SignalKind::from_raw(Signal::CONT.as_raw()))?;
    world.spawn(Box::pin(async move {
        while resumed.recv().await.is_some() {
            warn!("runs again after a stop (SIGCONT)");
        }
    }));
    Ok(())
}

/// Reports what is measured again and again, as a task of `world`.
fn report_measured(world: &SharedWorld, reports: Arc<ToOrchestrator>) {
    let clock = world.clone();
    world.spawn(Box::pin(async move {
        loop {
            clock.sleep_until(clock.now() + MEASURED_INTERVAL).await;
            reports.send_measured();
        }
    }));
}

#[cfg(test)]
mod tests {
    use std::error::Error;

    use super::*;

    #[test]
    fn an_error_of_the_operating_system_is_the_source_of_the_error_that_quotes_it() {
        let refused = RoleError::system("cannot listen at 127.0.0.1:1")(io::ErrorKind::PermissionDenied.into());
        assert_eq!(refused.to_string(), "cannot listen at 127.0.0.1:1: permission denied");
        let source = refused.source().and_then(|source| source.downcast_ref::<io::Error>());
        assert_eq!(source.map(io::Error::kind), Some(io::ErrorKind::PermissionDenied));
    }
}
