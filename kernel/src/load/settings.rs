//! `[load]`: when requests are sent.

use crate::settings::{
    limits,
    named::named,
    table_macro::{NOT_DRAWN, table},
};

table! {
    /// `[load]`: open loop, which never waits for replies.
    Load {
        /// Requests per second.
        rate: f64 [required] = 5.0, limits::RATE, NOT_DRAWN;
        /// How the requests are spread in time.
        arrivals: Arrivals = Arrivals::Constant, (), &["\"constant\"", "\"poisson\""];
        /// Calls in flight beyond which an arrival is recorded as dropped.
        max_in_flight: usize = 512, limits::MAX_IN_FLIGHT, &["1", "5", "50", "512"];
    }
}

impl Load {
    /// Returns constant arrivals at `rate` per second, with the other defaults.
    pub fn at(rate: f64) -> Self {
        Self { rate, ..Self::default() }
    }
}

/// The gaps between requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::VariantArray, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Arrivals {
    /// Request `i` is intended at `i / rate`.
    Constant,
    /// Exponential gaps of mean `1 / rate`.
    Poisson,
}

named!(Arrivals, "an arrival process");
