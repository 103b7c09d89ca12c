//! Ctrl-C, and the signals by which clusters end jobs.

use std::{
    io,
    sync::{Arc, atomic::AtomicBool},
};

use kernel::cli::Exit;
use signal_hook::{
    consts::{SIGHUP, SIGINT, SIGTERM},
    flag,
};

/// Returns a flag that such a signal sets. A second signal ends the process.
///
/// # Errors
///
/// Returns an error if the operating system refuses.
pub(crate) fn flag() -> io::Result<Arc<AtomicBool>> {
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        flag::register_conditional_shutdown(signal, Exit::RunFailed as i32, stop.clone())?;
        flag::register(signal, stop.clone())?;
    }
    Ok(stop)
}
