//! Random values of the keys of several tables.

use std::time::Duration;

use kernel::status::Code;
use proptest::{prelude::*, sample::subsequence};

const DAY_NS: u64 = 24 * 3_600 * 1_000_000_000;

/// Round and crooked ones, down to the nanosecond.
pub(super) fn from(min_ns: u64) -> impl Strategy<Value = Duration> + Clone {
    let millis = (1..86_400_000_u64).prop_map(Duration::from_millis);
    prop_oneof![
        millis,
        (min_ns..=DAY_NS).prop_map(Duration::from_nanos),
        (min_ns..min_ns + 2_000).prop_map(Duration::from_nanos)
    ]
}

pub(super) fn bandwidth() -> impl Strategy<Value = u64> + Clone {
    prop_oneof![1..=1_000_000_000_000_u64, (1..=1_000_u64).prop_map(|mbit| mbit * 1_000_000)]
}

pub(super) fn codes() -> impl Strategy<Value = Vec<Code>> {
    let codes: Vec<Code> = Code::names().skip(1).map(|name| name.parse().unwrap()).collect();
    subsequence(codes, 1..=16).prop_shuffle()
}

pub(super) fn code() -> impl Strategy<Value = Code> {
    (1..17_usize).prop_map(|number| Code::names().nth(number).unwrap().parse().unwrap())
}
