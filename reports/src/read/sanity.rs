//! Rows that contradict themselves.

use kernel::record::RequestRow;

use crate::run::RecordedRun;

/// Removes the latency of each row whose times contradict each other, and adds a note if there are such rows.
pub(super) fn checked(mut run: RecordedRun) -> RecordedRun {
    let mut strange: Vec<u64> = Vec::new();
    for row in &mut run.records.requests {
        if !is_consistent(row) {
            strange.push(row.id);
            // It still counts as a request. A missing latency is better than a wrong one.
            row.sent_us = None;
            row.latency_us = None;
        }
    }
    if let Some(first) = strange.first() {
        let requests = match strange.len() {
            1 => "1 request has".to_owned(),
            count => format!("{count} requests have"),
        };
        run.notes.push(format!(
            "{requests} inconsistent times, as if a clock went backwards (the first is request {first}); such latencies \
             are left out"
        ));
    }
    // The scenario knows servers that never answered, so it is preferred.
    if run.scenario.is_none() {
        run.servers = servers(&run);
    }
    run
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

/// Returns the number of servers: one more than the highest number of a server in the rows.
fn servers(run: &RecordedRun) -> usize {
    let names = run.records.requests.iter().filter_map(|row| row.server.as_deref());
    let numbers = names.filter_map(|name| name.strip_prefix("server-")?.parse::<usize>().ok());
    numbers.max().map_or(0, |highest| highest.saturating_add(1))
}
