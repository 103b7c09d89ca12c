//! The number of a process, and the machine on which it runs.

use kernel::{settings::limits, store};

/// A turmoil host, numbered in the order in which turmoil gives turns in a step. Processes share it, so that a step costs
/// what the processes that have something to do cost, however many there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MachineId(pub(crate) usize);

impl MachineId {
    /// The client's machine, which is first in every step.
    pub(crate) const CLIENT: Self = Self(0);
    /// The machine of all replicas.
    pub(crate) const SERVERS: Self = Self(1);
}

/// A simulated host: one process with an address, a clock's timers and faults of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct HostId {
    /// The machine that runs its tasks.
    pub(crate) machine: MachineId,
    /// Its number among all hosts: 0 is the client, `server-{index}` is `index + 1`, and the store is behind the largest number of servers.
    pub(crate) number: usize,
}

impl HostId {
    /// The client's host.
    pub(crate) const CLIENT: Self = Self { machine: MachineId::CLIENT, number: 0 };

    /// Returns the host of `server-{index}`.
    pub(crate) fn server(index: usize) -> Self {
        Self { machine: MachineId::SERVERS, number: index + 1 }
    }

    /// The host of the store of the client's cache.
    pub(crate) const STORE: Self = Self { machine: MachineId::SERVERS, number: *limits::REPLICAS.end() + 1 };

    /// Returns the name that records have for this host.
    pub(crate) fn name(self) -> String {
        if self == Self::STORE {
            return store::NAME.to_owned();
        }
        self.number.checked_sub(1).map_or_else(|| "client".to_owned(), kernel::scenario::server_name)
    }
}
