//! The instants of events that are counted, such as ejections of servers.

use super::extent::Extent;

/// The times of the events of one kind in a run, ascending.
pub(super) struct Instants(Vec<u64>);

impl Instants {
    /// Returns events at these times, which may come in any order.
    pub(super) fn at(mut times_us: Vec<u64>) -> Self {
        times_us.sort_unstable();
        Self(times_us)
    }

    pub(super) fn total(&self) -> u64 {
        self.0.len() as u64
    }

    /// Counts those in a phase.
    pub(super) fn within(&self, extent: &Extent) -> u64 {
        extent.count(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::{
            events::Events,
            sample::{Sample, event},
            span::Span,
        },
        record::Event,
    };

    #[test]
    fn an_ejection_belongs_to_the_phase_that_holds_its_time() {
        let ejected = |at_us| event(at_us, "client", Event::Ejected, Some("server-0"));
        let sample =
            Sample::of_seconds(9).events([ejected(300), ejected(100), event(200, "client", Event::Unejected, None)]);
        let ejections = Events::collect(sample.run().rows).ejections;
        let within = |start_us, end_us| ejections.within(&Extent::of_fault(Span { start_us, end_us }, 300));
        assert_eq!((ejections.total(), within(0, 100), within(100, 200), within(100, 300)), (2, 0, 1, 2));
    }
}
