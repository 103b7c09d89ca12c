//! The number of a host.

/// A host of the simulation, numbered in the order in which hosts take their turns in a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostId(pub(crate) usize);

impl HostId {
    /// The client's host, which is first in every step.
    pub(crate) const CLIENT: Self = Self(0);

    /// Returns the host of `server-{index}`.
    pub(crate) fn server(index: usize) -> Self {
        Self(index + 1)
    }

    /// Returns the name that records have for this host.
    pub(crate) fn name(self) -> String {
        self.0.checked_sub(1).map_or_else(|| "client".to_owned(), kernel::scenario::server_name)
    }
}
