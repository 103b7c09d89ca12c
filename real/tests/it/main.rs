//! The crate's integration tests, one binary.

mod alarms;
mod branches;
mod child;
mod clean_up;
mod command;
mod dashboard;
mod doctor;
mod endings;
#[cfg(feature = "events")]
mod events;
mod fidelity;
mod hostile;
mod lateness;
mod logs;
mod manual;
mod messages;
mod metrics;
mod mishap;
mod otlp;
mod parity;
mod settings;
mod store;
mod ties;
mod tls;
mod toxiproxy;
mod user;
