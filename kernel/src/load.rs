//! The load generator: an open loop that follows one arrival schedule and never waits for responses, and users who do.

#[cfg(feature = "service")]
mod generator;
mod profile;
mod request_kind;
mod schedule;
pub mod settings;
mod trace;
mod users;

#[cfg(feature = "service")]
pub use generator::{Called, LoadError, LoadGenerator, LoadRequest, Requests};
pub use request_kind::RequestKind;
pub(crate) use request_kind::{KindName, Mix, check as check_kinds};
pub use schedule::Schedule;
pub use trace::Trace;
pub(crate) use trace::apply as apply_trace;
pub(crate) use users::User;
