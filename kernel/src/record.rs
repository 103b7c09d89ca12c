//! The record of a run: rows of requests, attempts and events.

mod attempt_id;
mod cause;
mod moment;
mod name;
mod pass;
mod recorder;
mod rows;

pub use attempt_id::AttemptId;
pub(crate) use cause::{CANCELLED, SUPERSEDED};
pub use moment::{CallMoment, ServerMoment};
pub use name::Name;
pub use pass::{Pass, Rows};
pub use recorder::{EventBuilder, Recorder, Records, Sink};
pub(crate) use rows::Keyed;
pub use rows::{Answer, AttemptRow, Event, EventRow, Ordered, Position, RequestRow, Row, StreamFigures};
