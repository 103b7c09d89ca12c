//! Requests as they are read: packed, and what of all of them has to be known first.

use kernel::record::RequestRow;

use super::{RowTable, Spill, TableBuilder};

/// The greatest number of servers that a log is read with. A report has a lane and a row for each.
pub(crate) const SERVERS_MAX: usize = 10_000;

/// Collects the requests of a run, or of a part of it.
#[derive(Debug)]
pub(crate) struct RequestsRead {
    table: TableBuilder<RequestRow>,
    /// The number of rows whose times contradict each other, and the id of the first.
    inconsistent: (u64, Option<u64>),
    /// The last intended start.
    last_us: Option<u64>,
    /// One more than the highest number of a server, at most [`SERVERS_MAX`].
    servers: usize,
}

/// All requests of a run, or of a part of it.
#[derive(Debug, Default)]
pub(crate) struct AllRequests {
    pub(crate) table: RowTable<RequestRow>,
    inconsistent: (u64, Option<u64>),
    /// The last intended start; `None` if there is no request.
    pub(crate) last_us: Option<u64>,
    /// The number of servers: one more than the highest number of a server in the rows.
    pub(crate) servers: usize,
}

impl RequestsRead {
    pub(crate) fn new(spill: &Spill) -> Self {
        Self { table: TableBuilder::new(spill), inconsistent: (0, None), last_us: None, servers: 0 }
    }

    /// Adds a row, without its latency if its times contradict each other.
    pub(crate) fn push(&mut self, row: &mut RequestRow) {
        if !is_consistent(row) {
            self.inconsistent = (self.inconsistent.0 + 1, self.inconsistent.1.or(Some(row.id)));
            // It still counts as a request. A missing latency is better than a wrong one.
            row.sent_us = None;
            row.latency_us = None;
        }
        self.last_us = self.last_us.max(Some(row.intended_us));
        let number = row.server.as_ref().and_then(|name| name.strip_prefix("server-")?.parse::<usize>().ok());
        // A number beyond is part of a name: there are not that many servers.
        self.servers = self.servers.max(number.filter(|number| *number < SERVERS_MAX).map_or(0, |number| number + 1));
        self.table.push(row);
    }

    /// Returns the rows that were added. Their memory is that of the packed rows then, or none if they are on disk.
    pub(crate) fn finish(self) -> AllRequests {
        AllRequests {
            table: self.table.finish(),
            inconsistent: self.inconsistent,
            last_us: self.last_us,
            servers: self.servers,
        }
    }
}

impl AllRequests {
    /// Returns the requests of all parts, in this order.
    pub(crate) fn from_parts(parts: impl IntoIterator<Item = Self>) -> Self {
        let mut all = Self::default();
        for part in parts {
            all.table.append(part.table);
            all.inconsistent = (all.inconsistent.0 + part.inconsistent.0, all.inconsistent.1.or(part.inconsistent.1));
            all.last_us = all.last_us.max(part.last_us);
            all.servers = all.servers.max(part.servers);
        }
        all
    }

    /// Returns a note if times of some rows contradict each other.
    pub(crate) fn note(&self) -> Option<String> {
        let (count, first) = self.inconsistent;
        let first = first?;
        let requests = match count {
            1 => "1 request has".to_owned(),
            count => format!("{count} requests have"),
        };
        Some(format!(
            "{requests} inconsistent times, as if a clock went backwards (the first is request {first}); such latencies \
             are left out"
        ))
    }
}

/// Returns true if the times of the row are in order and its latency is the difference between intended start and end.
fn is_consistent(row: &RequestRow) -> bool {
    match (row.sent_us, row.done_us) {
        (Some(sent), Some(done)) => {
            row.intended_us <= sent && sent <= done && row.latency_us == Some(done - row.intended_us)
        }
        // A dropped request has none of the three.
        (None, None) => row.latency_us.is_none(),
        _ => false,
    }
}
