//! The causes of attempts that the client writes and the invariants look for.

/// The recorded cause of an attempt that another attempt of its call made needless.
pub(crate) const SUPERSEDED: &str = "another attempt was faster";

/// The recorded cause of an attempt whose call was cancelled.
pub(crate) const CANCELLED: &str = "cancelled";
