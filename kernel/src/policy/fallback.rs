//! Fallback: a degraded answer instead of a failure. It is Lab 3's graceful degradation and Resilience4j's fallback method.
//!
//! When a call has failed with one of `status_codes`, in spite of its other policies, the caller gets a degraded answer instead:
//! a blank one (`default`), the last known one for this input, however old (`stale`, RFC 5861's stale-if-error, which needs a
//! cache), or, of a reply that streams, the messages that have come (`partial`). The answer is marked in the record and is not a success, unless `counts_as_success` is set.

use super::{AroundAttempts, PolicyConfig};
use crate::{
    settings::{named::named, samples, table_macro::table},
    status::Code,
};

table! {
    /// `[client.fallback]`: a degraded answer instead of a failure.
    Fallback {
        /// Source of the answer.
        kind: FallbackKind = FallbackKind::Default, (), &["\"default\"", "\"stale\""];
        /// Failures that the answer replaces.
        status_codes: Vec<Code> = vec![
            Code::Unavailable,
            Code::DeadlineExceeded,
            Code::Internal,
            Code::ResourceExhausted,
        ], "to have no fallback, leave the table out", samples::CODES;
        /// A degraded answer, a stale one of the cache included, counts as a success.
        counts_as_success: bool = false, (), samples::FLAGS;
    }
}

/// The source of a degraded answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum FallbackKind {
    /// A blank answer.
    Default,
    /// The last known answer for the input. Without one the call fails.
    Stale,
    /// The messages that have come, of a reply that streams and fails behind its headers, such as the tiles of an image. Without any
    /// message the call fails.
    Partial,
}

named!(FallbackKind, "a kind of fallback");

impl PolicyConfig for Fallback {
    type Policy = AroundAttempts;
}
