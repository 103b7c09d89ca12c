//! Bandwidths as values of keys.

use serde_json::{Value, json};

use super::{Codec, Item, View, wrong_type};
use crate::settings::{bandwidth, limits, problem::Problem, toml_writer::string};

/// Bits per second, with a unit.
pub(crate) struct BitRate;

/// Returns the bits per second of the item; 0 needs no quotes, since `--set network.bandwidth=0` arrives as a number.
fn bits_per_second(item: &Item<'_>) -> Result<u64, Problem> {
    match View::new(item) {
        View::Text(text) => bandwidth::parse(text).map_err(|error| Problem::at(item.span(), error.to_string())),
        View::Integer(0) => Ok(0),
        _ => wrong_type(item, "a bandwidth with a unit, such as \"100mbit\""),
    }
}

impl Codec for BitRate {
    type Target = u64;
    type Limits = ();

    fn type_name() -> String {
        "bandwidth".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<u64, Problem> {
        let rate = bits_per_second(item)?;
        if limits::BANDWIDTH.contains(&rate) {
            return Ok(rate);
        }
        let limits = Self::limits_text(&()).unwrap_or_default();
        let shown = bandwidth::text(rate);
        Err(Problem::at(item.span(), format!("{shown} is out of range; allowed is {limits}")))
    }

    fn written(value: &u64) -> Option<String> {
        Some(string(&bandwidth::text(*value)))
    }

    fn schema((): &()) -> Value {
        json!({ "type": "string", "pattern": bandwidth::PATTERN })
    }

    fn limits_text((): &()) -> Option<String> {
        let [min, max] = [limits::BANDWIDTH.start(), limits::BANDWIDTH.end()].map(|rate| bandwidth::text(*rate));
        Some(format!("{min} to {max}"))
    }
}

/// Bits per second, or `0` for no limit, which is always written.
pub(crate) struct BitRateOrUnlimited;

impl Codec for BitRateOrUnlimited {
    type Target = Option<u64>;
    type Limits = ();

    fn type_name() -> String {
        "bandwidth".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Option<u64>, Problem> {
        match bits_per_second(item)? {
            0 => Ok(None),
            _ => BitRate::read(item, &()).map(Some),
        }
    }

    fn written(value: &Option<u64>) -> Option<String> {
        BitRate::written(&value.unwrap_or(0))
    }

    fn schema((): &()) -> Value {
        json!({ "anyOf": [BitRate::schema(&()), { "enum": ["0", 0] }] })
    }

    fn limits_text((): &()) -> Option<String> {
        BitRate::limits_text(&()).map(|limits| format!("0 (no limit), or {limits}"))
    }
}
