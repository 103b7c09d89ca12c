//! Reading the rows of a run in passes, wherever they are: in memory, or in files that may be larger than memory.

use std::{borrow::Cow, fmt};

use super::{
    recorder::Records,
    rows::{AttemptRow, CallRow, EventRow, RequestRow},
};

/// One pass over all rows of one kind, in their order.
pub type Pass<'a, T> = Box<dyn Iterator<Item = Cow<'a, T>> + 'a>;

/// The rows of a run, which are read in as many passes as it takes. Metrics and invariants are computed from these passes,
/// so that both worlds share one code for them although only one has its rows in memory.
///
/// ```
/// use kernel::record::{Records, Rows};
///
/// let rows: &dyn Rows = &Records::default();
/// assert_eq!(rows.requests().count() + rows.attempts().count() + rows.events().count(), 0);
/// ```
pub trait Rows: fmt::Debug {
    /// Returns a pass over the requests.
    fn requests(&self) -> Pass<'_, RequestRow>;

    /// Calls `visit` with each request in order. Where rows are not in memory, this is faster than a pass, as no row needs
    /// memory of its own.
    fn each_request(&self, visit: &mut dyn FnMut(&RequestRow)) {
        self.requests().for_each(|row| visit(&row));
    }

    /// Returns a pass over the attempts.
    fn attempts(&self) -> Pass<'_, AttemptRow>;

    /// Returns a pass over the events but those of inner calls.
    fn events(&self) -> Pass<'_, EventRow> {
        Box::new(self.all_events().filter(|row| row.is_of_load()))
    }

    /// Returns a pass over all events.
    fn all_events(&self) -> Pass<'_, EventRow>;

    /// Returns a pass over the inner calls, of which most runs have none.
    fn calls(&self) -> Pass<'_, CallRow>;
}

impl Rows for Records {
    fn requests(&self) -> Pass<'_, RequestRow> {
        Box::new(self.requests.iter().map(Cow::Borrowed))
    }

    fn attempts(&self) -> Pass<'_, AttemptRow> {
        Box::new(self.attempts.iter().map(Cow::Borrowed))
    }

    fn all_events(&self) -> Pass<'_, EventRow> {
        Box::new(self.events.iter().map(Cow::Borrowed))
    }

    fn calls(&self) -> Pass<'_, CallRow> {
        Box::new(self.calls.iter().map(Cow::Borrowed))
    }
}
