//! Admission: what a replica refuses although its queue has room. The SRE book's load shedding, with gRPC A6's pushback.
//!
//! A request that arrives while `max_concurrent_requests` are in progress, waiting ones included, is refused; so is one that
//! has waited longer than `max_queue_time` when a worker gets to it, as its caller has likely given up or soon will
//! (CoDel's idea). The answer is RESOURCE_EXHAUSTED. With `retry_pushback` it asks the caller to wait that long before it
//! tries again, and so does the answer that the queue is full.

use tonic::{Status, metadata::MetadataValue};

use super::settings::Admission;
use crate::policy::PUSHBACK;

/// Returns the status of a refusal with this message.
pub(super) fn refusal(admission: Option<&Admission>, message: impl Into<String>) -> Status {
    let mut status = Status::resource_exhausted(message);
    if let Some(wait) = admission.and_then(|admission| admission.retry_pushback) {
        // A day is far below the 32 bits of the header.
        let millis = u32::try_from(wait.as_micros().div_ceil(1_000)).unwrap_or(i32::MAX as u32);
        status.metadata_mut().insert(PUSHBACK, MetadataValue::from(millis));
    }
    status
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn pushback(wait: Option<Duration>) -> Option<String> {
        let admission = Admission { retry_pushback: wait, ..Admission::default() };
        let status = refusal(Some(&admission), "no");
        assert_eq!((status.code(), status.message()), (tonic::Code::ResourceExhausted, "no"));
        status.metadata().get(PUSHBACK).map(|value| value.to_str().unwrap().to_owned())
    }

    #[test]
    fn a_refusal_asks_to_wait_in_milliseconds_rounded_up_if_the_settings_say_so() {
        assert_eq!(pushback(None), None);
        assert_eq!(refusal(None, "no").metadata().get(PUSHBACK), None);
        let waits = [(0, "0"), (1, "1"), (999, "1"), (1_000, "1"), (1_001, "2")];
        for (micros, millis) in waits {
            assert_eq!(pushback(Some(Duration::from_micros(micros))).as_deref(), Some(millis));
        }
        // gRPC has 32 bits, with a sign, for it.
        assert_eq!(pushback(Some(Duration::from_secs(1 << 40))).as_deref(), Some("2147483647"));
    }
}
