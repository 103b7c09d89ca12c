//! The identity of an attempt.

/// Identifies one attempt within a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId {
    /// The id of the request, unique within the run.
    pub request: u64,
    /// The attempt's number within its call, from 1.
    pub number: u32,
}
