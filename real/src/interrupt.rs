//! Signals that ask this process to end.

use std::io;

use futures_util::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Listens to SIGINT (Ctrl-C), SIGTERM and SIGHUP (a closed terminal).
pub(crate) struct Interrupt {
    signals: Vec<Signal>,
}

impl Interrupt {
    /// Listens from now on; the signals do not end the process by themselves any more.
    pub(crate) fn listen() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Ok(Self { signals: kinds.into_iter().map(signal).collect::<io::Result<_>>()? })
    }

    /// Completes at the next signal.
    pub(crate) async fn next(&mut self) {
        select_all(self.signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    }
}
