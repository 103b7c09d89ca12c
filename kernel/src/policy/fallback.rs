//! Fallback: a degraded answer instead of a failure. Lab 3's graceful degradation, Resilience4j's fallback method.
//!
//! When a call has failed with one of `status_codes`, after all that its other policies could do, the caller gets an answer
//! of less use instead: a blank one (`default`), or the last one known for this input, however old (`stale`, RFC 5861's
//! stale-if-error, which needs a cache). It is marked in the record and is no success, unless `counts_as_success` says so.

use super::{AroundAttempts, PolicyConfig};
use crate::{
    scenario::keys::{Named, table},
    status::Code,
};

table! {
    /// `[client.fallback]`: a degraded answer instead of a failure.
    Fallback {
        /// What the answer is.
        kind: FallbackKind = FallbackKind::Default, ();
        /// Failures to stand in for.
        status_codes: Vec<Code> = vec![
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Internal,
            Code::ResourceExhausted,
        ], "to have no fallback, leave the table out";
        /// Whether a degraded answer, a stale one of the cache included, is a success.
        counts_as_success: bool = false, ();
    }
}

/// Where a degraded answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FallbackKind {
    /// It is blank.
    Default,
    /// It is the last one known for the input; without one the call fails.
    Stale,
}

impl Named for FallbackKind {
    const WHAT: &'static str = "a kind of fallback";
    const NAMES: &'static [(Self, &'static str)] = &[(Self::Default, "default"), (Self::Stale, "stale")];
}

impl PolicyConfig for Fallback {
    type Policy = AroundAttempts;
}
