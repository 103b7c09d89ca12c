//! Samples that several keys share, as TOML: values where behavior changes, the bounds among them.

pub(crate) const CODES: &[&str] = &[
    "[\"UNAVAILABLE\"]",
    "[\"UNAVAILABLE\", \"DEADLINE_EXCEEDED\", \"INTERNAL\"]",
    "[\"UNAVAILABLE\", \"DEADLINE_EXCEEDED\", \"INTERNAL\", \"RESOURCE_EXHAUSTED\"]",
    "[\"RESOURCE_EXHAUSTED\", \"CANCELLED\"]",
];
pub(crate) const WAITS: &[&str] = &["\"0ms\"", "\"1ms\"", "\"30ms\"", "\"300ms\"", "\"5s\""];
pub(crate) const TIMES: &[&str] = &["\"1ms\"", "\"20ms\"", "\"200ms\"", "\"1s\"", "\"5s\"", "\"1m\""];
pub(crate) const PERCENTS: &[&str] = &["0.0", "10.0", "50.0", "100.0"];
pub(crate) const SOME_PERCENTS: &[&str] = &["0.001", "20.0", "50.0", "100.0"];
pub(crate) const FLAGS: &[&str] = &["true", "false"];
