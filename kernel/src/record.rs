//! What a run leaves behind: rows of requests, attempts and events, and the folder they are written to.

pub mod campaign;
pub mod folder;
mod name;
mod recorder;
mod rows;

pub use name::Name;
pub use recorder::{Draft, Recorder, Records, Sink};
pub use rows::{Answer, AttemptRow, Event, EventRow, RequestRow, Row};
