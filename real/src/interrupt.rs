//! Whoever asks this process to end.

use std::io;

use futures_util::future::select_all;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, a request to terminate, or a terminal that is gone.
pub(crate) struct Interrupt {
    signals: Vec<Signal>,
}

impl Interrupt {
    /// From now on these signals end nothing by themselves.
    pub(crate) fn listen() -> io::Result<Self> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        Ok(Self { signals: kinds.into_iter().map(signal).collect::<io::Result<_>>()? })
    }

    /// Completes when the next of them comes.
    pub(crate) async fn next(&mut self) {
        select_all(self.signals.iter_mut().map(|signal| Box::pin(signal.recv()))).await;
    }
}
