//! The statuses of attempts, by server.

use std::collections::BTreeMap;

use kernel::record::{AttemptRow, Name};

use crate::rows::RowTable;

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

impl ServerTally {
    /// Returns the number of attempts by server and status, in order of their names.
    pub fn of_attempts(attempts: &RowTable<AttemptRow>) -> Vec<Self> {
        let mut counts: BTreeMap<(Name, &'static str), u64> = BTreeMap::new();
        attempts.each(|row| *counts.entry((row.server.clone(), row.status.name())).or_default() += 1);
        counts
            .into_iter()
            .map(|((server, status), attempts)| Self {
                server: server.as_str().to_owned(),
                status: status.to_owned(),
                attempts,
            })
            .collect()
    }
}
