//! The faults that act on a server at one time, and what they add up to.

use std::collections::{BTreeMap, BTreeSet};

use crate::{link::Shape, server::Injection};

/// The faults that act on one server now, by their index in the scenario.
#[derive(Default)]
pub(super) struct ActiveFaults {
    freezes: BTreeSet<usize>,
    shapes: BTreeMap<usize, Shape>,
    injections: BTreeMap<usize, Injection>,
}

impl ActiveFaults {
    /// Adds the freeze of the fault `index`.
    pub(super) fn add_freeze(&mut self, index: usize) {
        self.freezes.insert(index);
    }

    /// Removes the freeze of the fault `index`. Returns true if the server thaws, because this was the last freeze. It
    /// returns false if the freeze had ended before, with the process that a crash has killed.
    pub(super) fn remove_freeze(&mut self, index: usize) -> bool {
        self.freezes.remove(&index) && self.freezes.is_empty()
    }

    /// Adds the link shape of the fault `index`.
    pub(super) fn add_shape(&mut self, index: usize, shape: Shape) {
        self.shapes.insert(index, shape);
    }

    /// Removes the link shape of the fault `index`.
    pub(super) fn remove_shape(&mut self, index: usize) {
        self.shapes.remove(&index);
    }

    /// Returns the shape of the link: that of the scenario's `network` and all faults together.
    pub(super) fn shape(&self, network: Shape) -> Shape {
        self.shapes.values().fold(network, |all, shape| all.and(*shape))
    }

    /// Adds the injection of the fault `index`.
    pub(super) fn add_injection(&mut self, index: usize, injection: Injection) {
        self.injections.insert(index, injection);
    }

    /// Removes the injection of the fault `index`. Returns false if it had ended before, with the process that a crash has
    /// killed.
    pub(super) fn remove_injection(&mut self, index: usize) -> bool {
        self.injections.remove(&index).is_some()
    }

    /// Returns the injection of all faults together.
    pub(super) fn injection(&self) -> Injection {
        self.injections.values().fold(Injection::default(), Injection::and)
    }

    /// Removes the faults that end with the process. Those of the link stay.
    pub(super) fn end_with_process(&mut self) {
        self.freezes.clear();
        self.injections.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_server_thaws_when_its_last_freeze_ends() {
        let mut faults = ActiveFaults::default();
        faults.add_freeze(0);
        faults.add_freeze(1);
        assert!(!faults.remove_freeze(0));
        assert!(faults.remove_freeze(1));
    }

    #[test]
    fn a_crash_ends_freezes_and_injections_and_leaves_the_link() {
        let mut faults = ActiveFaults::default();
        faults.add_freeze(0);
        faults.add_injection(1, Injection { slow: 2.0, ..Injection::default() });
        let shape = Shape { latency: Duration::from_millis(5), ..Shape::default() };
        faults.add_shape(2, shape);
        faults.end_with_process();
        assert!(!faults.remove_freeze(0));
        assert!(!faults.remove_injection(1));
        assert_eq!(faults.injection(), Injection::default());
        assert_eq!(faults.shape(Shape::default()), shape);
    }
}
