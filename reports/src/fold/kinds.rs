//! The requests of each kind, where the load has kinds.

use std::collections::BTreeMap;

use kernel::{
    measure::GroupedValues,
    record::{Name, RequestRow},
};

use super::Latency;
use crate::rows::RowTable;

/// The requests of one kind.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct KindTally {
    /// The name of the kind.
    pub kind: String,
    /// The number of requests that succeeded.
    pub succeeded: u64,
    /// The number of all requests, dropped ones included, and the latencies of those that were sent.
    #[serde(flatten)]
    pub latency: Latency,
}

/// The counts of a kind, and its place among all kinds.
#[derive(Default)]
struct Counts {
    place: usize,
    requests: u64,
    succeeded: u64,
}

impl KindTally {
    /// Returns the tally of each kind in order of their names. Requests without a kind are in none.
    pub fn of_requests(requests: &RowTable<RequestRow>) -> Vec<Self> {
        let mut kinds: BTreeMap<Name, Counts> = BTreeMap::new();
        requests.each(|row| {
            let Some(kind) = &row.kind else { return };
            let counts = kinds.entry(kind.clone()).or_default();
            counts.requests += 1;
            counts.succeeded += u64::from(row.status.is_success());
        });
        kinds.values_mut().enumerate().for_each(|(place, counts)| counts.place = place);
        let each = |visit: &mut dyn FnMut(usize, u64)| {
            requests.each(|row| {
                let counts = row.kind.as_ref().and_then(|kind| kinds.get(kind));
                if let (Some(counts), Some(latency_us)) = (counts, row.latency_us) {
                    visit(counts.place, latency_us);
                }
            });
        };
        let percentiles = GroupedValues { groups: kinds.len(), each: &each }.percentiles(Latency::RANKS);
        let tallies = kinds.iter().zip(percentiles).map(|((kind, counts), values)| Self {
            kind: kind.as_str().to_owned(),
            succeeded: counts.succeeded,
            latency: Latency::of_values(counts.requests, values),
        });
        tallies.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kernel::status::{Code, Outcome};

    use crate::rows::PackedRow;

    fn request(id: u64, kind: Option<&str>, status: Outcome, latency_us: Option<u64>) -> RequestRow {
        let mut row = RequestRow::blank();
        (row.id, row.status, row.latency_us) = (id, status, latency_us);
        row.kind = kind.map(Name::from);
        row
    }

    #[test]
    fn each_kind_has_its_own_counts_and_latencies() {
        let failed = Outcome::Status(Code::Unavailable);
        let rows = [
            request(0, Some("show"), Outcome::OK, Some(30_000)),
            request(1, Some("list"), Outcome::OK, Some(1_000)),
            request(2, Some("show"), failed, Some(50_000)),
            request(3, None, Outcome::OK, Some(9_000_000)),
            request(4, Some("show"), Outcome::Dropped, None),
        ];
        let tallies = KindTally::of_requests(&RowTable::from_rows(&rows));
        let shown: Vec<_> = tallies.iter().map(|tally| (tally.kind.as_str(), tally.succeeded, tally.latency)).collect();
        let latency = |requests, p50_s, max_s| Latency {
            requests,
            p50_s: Some(p50_s),
            p95_s: Some(max_s),
            p99_s: Some(max_s),
            max_s: Some(max_s),
        };
        assert_eq!(shown, [("list", 1, latency(1, 0.001, 0.001)), ("show", 1, latency(3, 0.03, 0.05))]);
        assert_eq!(KindTally::of_requests(&RowTable::from_rows(&rows[3..4])), []);
    }
}
