//! The record of a run: rows of requests, attempts, events and inner calls.

mod call_id;
mod cause;
mod moment;
mod name;
mod pass;
mod recorder;
mod rows;

pub use call_id::{AttemptId, CallId, NoCallId};
pub(crate) use cause::{CANCELLED, SUPERSEDED};
pub use moment::{CallMoment, MessageBytes, ServerMoment};
pub use name::Name;
pub use pass::{Pass, Rows};
pub use recorder::{EventBuilder, Recorder, Records, Sink};
pub(crate) use rows::Keyed;
pub use rows::{
    Answer, AttemptRow, CallRow, Event, EventRow, InnerAttempt, Ordered, Position, RequestRow, Row, StreamFigures,
};
