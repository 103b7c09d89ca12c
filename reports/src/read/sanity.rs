//! Rows that cannot be true.

use kernel::record::RequestRow;

use crate::run::RecordedRun;

/// Takes the times of rows that contradict themselves out of the latencies, and compares with what the run itself
/// measured; the notes tell.
pub(super) fn checked(mut run: RecordedRun) -> RecordedRun {
    let mut strange: Vec<u64> = Vec::new();
    for row in &mut run.records.requests {
        if !is_consistent(row) {
            strange.push(row.id);
            // Counted as a request, but without a latency: none is better than a wrong one.
            (row.sent_us, row.latency_us) = (None, None);
        }
    }
    if let Some(first) = strange.first() {
        let (count, verb) = (strange.len(), if strange.len() == 1 { "request ends" } else { "requests end" });
        run.notes.push(format!(
            "{count} {verb} before it begins or has a latency that is not from its intended start to its end, as if a \
             clock went backwards (the first is request {first}); no latency is taken from there"
        ));
    }
    if run.scenario.is_none() {
        run.servers = servers(&run);
    }
    run
}

fn is_consistent(row: &RequestRow) -> bool {
    match (row.sent_us, row.done_us) {
        (Some(sent), Some(done)) => {
            row.intended_us <= sent && sent <= done && row.latency_us == Some(done - row.intended_us)
        }
        (None, None) => row.latency_us.is_none(),
        _ => false,
    }
}

/// One more than the highest number of a server in the rows.
fn servers(run: &RecordedRun) -> usize {
    let names = run.records.requests.iter().filter_map(|row| row.server.as_deref());
    let number = |name: &str| name.strip_prefix("server-").and_then(|number| number.parse::<usize>().ok());
    names.filter_map(number).max().map_or(0, |highest| highest.saturating_add(1))
}
