//! `[network]`: what lies between client and servers.

use std::time::Duration;

use super::Shape;
use crate::settings::{limits, table_macro::table, value::BitRateOrUnlimited};

table! {
    /// `[network]`: what the scenario adds to every link between client and server, each way.
    #[derive(Copy)]
    Network {
        /// Latency in addition to that of the bare link.
        latency: Duration = Duration::ZERO, limits::WAIT, &["\"0ms\"", "\"1ms\"", "\"40ms\""];
        /// How far the latency varies, in both directions.
        jitter: Duration = Duration::ZERO, limits::WAIT, &["\"0ms\"", "\"1ms\"", "\"20ms\""];
        /// Bits per second; 0 is unlimited.
        bandwidth: Option<u64> as BitRateOrUnlimited = None, (), &["\"200kbit\"", "\"10mbit\""];
    }
}

impl Network {
    /// Returns the shape of a link without faults.
    pub fn shape(&self) -> Shape {
        let Self { latency, jitter, bandwidth } = *self;
        Shape { latency, jitter, bandwidth, ..Shape::default() }
    }
}
