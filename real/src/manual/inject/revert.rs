//! The end of a fault that has a duration.

use std::path::PathBuf;

use kernel::cli::Failure;
use rustix::process::Signal;

use super::{
    super::{control::ControlClient, identity::ProcessHandle, log::log_line, registry::RegistryEntry},
    command::end_freezes,
};

/// A fault that is active, with the means to end it.
pub(super) enum Revert {
    /// Resumes this process, and notes it in the log in this folder.
    Resume(Box<RegistryEntry>, PathBuf, ProcessHandle),
    /// Closes the connection that holds a fault of this id, with the fault's description.
    Disconnect(String, String, ControlClient),
}

impl Revert {
    /// Ends the fault.
    pub(super) fn now(self) -> Result<(), Failure> {
        match self {
            Self::Resume(target, folder, process) => {
                let id = &target.id;
                let lives = process.signal(Signal::CONT);
                let lives = lives.map_err(|error| Failure::run_failed(format!("cannot resume {id}: {error}")))?;
                end_freezes(&folder, &target);
                log_line(format!("{id}: {}", if lives { "resume" } else { "it has ended meanwhile" }));
            }
            Self::Disconnect(id, text, control) => {
                // The server ends the faults of a connection when the connection ends.
                drop(control);
                log_line(format!("{id}: {text} is over"));
            }
        }
        Ok(())
    }
}
