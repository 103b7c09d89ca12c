//! What a run records: rows of requests, attempts and events.

mod name;
mod recorder;
mod rows;

pub use name::Name;
pub use recorder::{EventBuilder, Recorder, Records, Sink};
pub use rows::{Answer, AttemptRow, Event, EventRow, RequestRow, Row};
