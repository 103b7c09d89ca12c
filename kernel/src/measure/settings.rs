//! `[run]`: what makes the result of a run valid.

use std::time::Duration;

use crate::settings::{
    limits,
    table_macro::{NOT_DRAWN, table},
};

table! {
    /// `[run]`: what makes the result of a run valid.
    Run {
        /// The greatest lateness of a send, of a fault, or of the end of a fault, beyond which the run is UNTRUSTED: `0s` allows
        /// none, `24h` any.
        max_lateness: Duration = Duration::from_millis(250), limits::WAIT, NOT_DRAWN;
    }
}
