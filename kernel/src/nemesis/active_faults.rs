//! The faults that act on a server at one time, and what they add up to.

use std::collections::{BTreeMap, BTreeSet};

use crate::{
    link::{LinkEffect, LinkShape, Shape},
    server::{Injection, settings::Caller},
};

/// The faults that act on one server now, by their index in the scenario.
#[derive(Default)]
pub(super) struct ActiveFaults {
    freezes: BTreeSet<usize>,
    /// Each with the caller whose links it is on; `None` for those of all.
    link_effects: BTreeMap<usize, (Option<Caller>, LinkEffect)>,
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

    /// Adds the effect of the fault `index` on the links of `caller`, or of all callers.
    pub(super) fn add_link_effect(&mut self, index: usize, caller: Option<Caller>, effect: LinkEffect) {
        self.link_effects.insert(index, (caller, effect));
    }

    /// Removes the effect on the link of the fault `index`.
    pub(super) fn remove_link_effect(&mut self, index: usize) {
        self.link_effects.remove(&index);
    }

    /// Returns the shape of the links of `caller`: that of their `network` and all faults on them together.
    pub(super) fn shape(&self, caller: Caller, network: Shape) -> LinkShape {
        let mut shape = LinkShape::from(network);
        for (index, (of, effect)) in &self.link_effects {
            if of.is_none_or(|of| of == caller) {
                shape.add(*index as u64, *effect);
            }
        }
        shape
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
        faults.add_link_effect(2, None, shape.into());
        faults.add_link_effect(3, Some(Caller::Service(0)), shape.into());
        faults.end_with_process();
        assert!(!faults.remove_freeze(0));
        assert!(!faults.remove_injection(1));
        assert_eq!(faults.injection(), Injection::default());
        assert_eq!(faults.shape(Caller::Load, Shape::default()), shape.into());
        assert_ne!(faults.shape(Caller::Service(0), Shape::default()), shape.into());
    }
}
