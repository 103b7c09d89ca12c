//! The stages of a request, of which its latency consists.

use crate::record::RequestRow;

/// Number of stages.
pub const STAGES: usize = 4;

/// The names of the stages in tables, in order of time: from the intended time until the request is sent, until a worker has it, until the worker is
/// done, until the caller has the reply.
pub const STAGE_NAMES: [&str; STAGES] = ["timer late by", "client to worker", "service", "worker to client"];

/// Returns the moments at which the stages of a request begin and end, in microseconds of the run; they never descend. `finished` is when a worker
/// was done with its attempt, and for how long it had it. `None` if the request was not sent, or has no reply.
pub fn moments(request: &RequestRow, finished: (u64, u64)) -> Option<[u64; STAGES + 1]> {
    let (end, held) = finished;
    let (sent, done) = (request.sent_us?, request.done_us?);
    // Each process rounds to whole microseconds, so that an effect can seem to precede its cause.
    let sent = sent.max(request.intended_us);
    let started = end.saturating_sub(held).max(sent);
    let end = end.max(started);
    Some([request.intended_us, sent, started, end, done.max(end)])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request(sent_us: Option<u64>, done_us: Option<u64>) -> RequestRow {
        let row = serde_json::json!({
            "id": 1, "intended_us": 100, "sent_us": sent_us, "done_us": done_us, "latency_us": null, "status": "OK",
            "server": "server-0", "attempts": 1, "failovers": 0, "size": "64x64",
        });
        serde_json::from_value(row).unwrap()
    }

    #[test]
    fn the_stages_of_a_request_follow_each_other() {
        assert_eq!(moments(&request(Some(130), Some(900)), (800, 500)), Some([100, 130, 300, 800, 900]));
        assert_eq!(moments(&request(None, None), (800, 500)), None);
        assert_eq!(moments(&request(Some(130), None), (800, 500)), None);
    }

    #[test]
    fn moments_that_were_rounded_apart_do_not_descend() {
        assert_eq!(moments(&request(Some(99), Some(130)), (131, 40)), Some([100, 100, 100, 131, 131]));
        assert_eq!(moments(&request(Some(120), Some(150)), (5, 9)), Some([100, 120, 120, 120, 150]));
    }
}
