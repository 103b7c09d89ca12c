//! The statuses of attempts, by server.

use polars::prelude::*;

use super::{Frames, whole};

/// The number of attempts on one server that ended with one status.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ServerTally {
    /// The name of the server.
    pub server: String,
    /// The name of the status.
    pub status: String,
    /// The number of attempts.
    pub attempts: u64,
}

impl Frames {
    /// Returns the number of attempts by server and status, in order of their names.
    ///
    /// # Errors
    /// Errors of polars are passed on.
    pub fn servers(&self) -> PolarsResult<Vec<ServerTally>> {
        let frame = self
            .attempts
            .clone()
            .lazy()
            .group_by([col("attempt_server"), col("attempt_status")])
            .agg([len().alias("count")])
            .sort(["attempt_server", "attempt_status"], SortMultipleOptions::default())
            .collect()?;
        let servers = frame.column("attempt_server")?.str()?.clone();
        let statuses = frame.column("attempt_status")?.str()?.clone();
        let mut tallies = Vec::with_capacity(frame.height());
        for ((server, status), attempts) in servers.iter().zip(statuses.iter()).zip(whole(&frame, "count")?) {
            tallies.push(ServerTally {
                server: server.unwrap_or_default().to_owned(),
                status: status.unwrap_or_default().to_owned(),
                attempts,
            });
        }
        Ok(tallies)
    }
}
