//! Who answered what.

use polars::prelude::*;

use super::{Frames, whole};

/// Attempts on one server that ended with one status.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct ServerTally {
    pub server: String,
    pub status: String,
    pub attempts: u64,
}

impl Frames {
    /// Attempts by server and status, in order of their names.
    ///
    /// # Errors
    /// Polars' own.
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
        let names = servers.iter().zip(statuses.iter()).zip(whole(&frame, "count")?);
        let tally = |((server, status), attempts): ((Option<&str>, Option<&str>), u64)| ServerTally {
            server: server.unwrap_or_default().to_owned(),
            status: status.unwrap_or_default().to_owned(),
            attempts,
        };
        Ok(names.map(tally).collect())
    }
}
