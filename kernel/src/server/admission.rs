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
