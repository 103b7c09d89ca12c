//! How the value of a field is that of a key.

use std::{collections::BTreeMap, time::Duration as Time};

use kernel::scenario::{bandwidth, duration};
use toml::Value;

use super::{node::Node, table::Field};

/// The keys of a fault.
pub(super) type Keys = BTreeMap<String, Value>;

/// The unit of a field, or what takes its place.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    /// A duration with a unit, such as `200ms`.
    Duration,
    /// Milliseconds.
    Millis,
    /// Seconds.
    Seconds,
    /// Percent, of a share.
    Percent,
    /// The same number.
    Share,
    /// The same word.
    Same,
    /// Bits per second, such as `1mbit`.
    BitsPerSecond,
    /// Bytes per second with a unit of `tc`, such as `1mbps`.
    BytesPerSecond,
    /// Thousands of bytes per second.
    KilobytesPerSecond,
    /// A status of HTTP, of one of gRPC.
    HttpCode,
    /// Words for others, theirs first, and their word by default.
    Words(&'static [(&'static str, &'static str)], &'static str),
    /// Busy processes, with the path of the percent for which each of them is busy, of a factor.
    Workers(&'static str),
    /// A value that a tool needs, and that says nothing here.
    Fill(&'static str),
    /// There is only this value of the key; the reason.
    Only(&'static str, &'static str),
    /// There is no such field: this value of the key is assumed; the reason.
    Assumed(&'static str, &'static str),
    /// The key has to be there; the reason.
    Needs(&'static str),
    /// Only 0 has a counterpart.
    Zero,
}

/// The form of a key in another tool.
#[derive(Debug, Default)]
pub(super) struct Written {
    /// Paths with their values.
    pub(super) nodes: Vec<(&'static str, Node)>,
    /// The difference in meaning.
    pub(super) note: Option<String>,
}

impl Written {
    fn one(path: &'static str, node: Node) -> Self {
        Self { nodes: vec![(path, node)], note: None }
    }

    fn note(why: impl Into<String>) -> Self {
        Self { nodes: Vec::new(), note: Some(why.into()) }
    }
}

/// The statuses of gRPC that gRPC makes of those of HTTP, the most usual one of each first.
const HTTP_CODES: [(u16, &str); 10] = [
    (503, "UNAVAILABLE"),
    (429, "UNAVAILABLE"),
    (502, "UNAVAILABLE"),
    (504, "UNAVAILABLE"),
    (400, "INTERNAL"),
    (401, "UNAUTHENTICATED"),
    (403, "PERMISSION_DENIED"),
    (404, "UNIMPLEMENTED"),
    (500, "UNKNOWN"),
    (431, "INTERNAL"),
];

/// The units of bandwidth of Chaos Mesh, in bits per second, from large to small.
const BYTE_RATES: [(&str, u64); 5] =
    [("tbps", 8_000_000_000_000), ("gbps", 8_000_000_000), ("mbps", 8_000_000), ("kbps", 8_000), ("bps", 8)];

impl Field {
    /// Returns the value of the key as TOML, of a verb with these fields; none if the field is not there.
    pub(super) fn read(&self, verb: &Node) -> Result<Option<String>, String> {
        let found = verb.str(self.theirs);
        match self.unit {
            Unit::Only(value, _) | Unit::Assumed(value, _) => return Ok(Some(value.to_owned())),
            Unit::Words(words, default) => return self.word(words, found.unwrap_or(default)),
            Unit::Needs(_) | Unit::Fill(_) => return Ok(None),
            _ => {}
        }
        let Some(text) = found else { return Ok(None) };
        let number = || text.trim().trim_end_matches('%').parse::<f64>().ok().filter(|number| number.is_finite());
        let needed =
            || number().filter(|number| *number >= 0.0).ok_or_else(|| format!("`{text}` is not a number from 0"));
        let value = match self.unit {
            Unit::Duration => {
                // The units of Go.
                let time = duration::parse(&text.replace('µ', "u")).map_err(|error| error.to_string())?;
                quoted(&duration::text(time))
            }
            Unit::Millis => match duration::parse(text) {
                Ok(time) if !time.is_zero() => quoted(&duration::text(time)),
                _ => seconds(needed()? / 1e3)?,
            },
            Unit::Seconds => seconds(needed()?)?,
            Unit::Percent => float(rounded(needed()? / 100.0)),
            Unit::Share => float(needed()?),
            Unit::Same => quoted(text),
            Unit::BitsPerSecond => quoted(&bandwidth::text(bandwidth::parse(text).map_err(|error| error.to_string())?)),
            Unit::BytesPerSecond => quoted(&bandwidth::text(bytes_per_second(text)?)),
            Unit::KilobytesPerSecond => quoted(&bandwidth::text((needed()? * 8e3) as u64)),
            Unit::HttpCode => {
                let code = HTTP_CODES.iter().find(|(code, _)| text.parse() == Ok(*code));
                // Whatever else is no success is UNKNOWN.
                quoted(code.map_or("UNKNOWN", |(_, status)| status))
            }
            Unit::Workers(load) => {
                let load = verb.str(load).and_then(|load| load.parse::<f64>().ok()).unwrap_or(100.0);
                float(rounded(1.0 + needed()?.max(1.0) * load / 100.0))
            }
            Unit::Zero if number() == Some(0.0) => return Ok(None),
            Unit::Zero => {
                return Err("only 0 has a counterpart: it lasts, and does nothing at the end of a time".to_owned());
            }
            Unit::Words(..) | Unit::Only(..) | Unit::Assumed(..) | Unit::Needs(_) | Unit::Fill(_) => return Ok(None),
        };
        Ok(Some(value))
    }

    fn word(&self, words: &[(&str, &str)], text: &str) -> Result<Option<String>, String> {
        match words.iter().find(|(theirs, _)| theirs.eq_ignore_ascii_case(text)) {
            Some((_, "both")) => Ok(None),
            Some((_, ours)) => Ok(Some(quoted(ours))),
            None => {
                let known: Vec<_> = words.iter().map(|(theirs, _)| format!("`{theirs}`")).collect();
                Err(format!("`{text}` is none of {}", known.join(", ")))
            }
        }
    }

    /// Returns what the keys of a fault are in another tool.
    pub(super) fn write(&self, keys: &Keys) -> Written {
        let Self { theirs, ours, unit } = *self;
        let value = keys.get(ours);
        let shown = |value: &Value| format!("`{ours} = {value}`");
        match (unit, value) {
            (Unit::Fill(text), _) => return Written::one(theirs, Node::plain(text)),
            (Unit::Zero, _) => return Written::one(theirs, Node::plain(0)),
            (Unit::Needs(why), None) => return Written::note(why),
            (Unit::Needs(_), Some(_)) => return Written::default(),
            (Unit::Only(only, why), value) => {
                let is_it = value.is_some_and(|value| value.to_string() == only);
                let said = value.map_or_else(|| format!("a fault without `{ours}`"), shown);
                return if is_it { Written::default() } else { Written::note(format!("{said} cannot be said: {why}")) };
            }
            (Unit::Assumed(assumed, why), value) => {
                let said = value.map_or_else(|| format!("a fault without `{ours}`"), shown);
                let is_it = value.is_some_and(|value| value.to_string() == assumed);
                return if is_it { Written::default() } else { Written::note(format!("{said} cannot be said: {why}")) };
            }
            (Unit::Words(words, _), value) => {
                let word = value.and_then(Value::as_str).unwrap_or("both");
                return match words.iter().find(|(_, ours)| *ours == word) {
                    Some((theirs_word, _)) => Written::one(theirs, Node::text(*theirs_word)),
                    None => Written::note(format!("there is no word for `{ours} = \"{word}\"`")),
                };
            }
            _ => {}
        }
        value.map_or_else(Written::default, |value| self.write_value(value))
    }

    fn write_value(&self, value: &Value) -> Written {
        let Self { theirs, ours, unit } = *self;
        let text = value.as_str().unwrap_or_default();
        let number = || value.as_float().or_else(|| value.as_integer().map(|number| number as f64)).unwrap_or_default();
        let time = || duration::parse(text).unwrap_or_default();
        let bits = || bandwidth::parse(text).unwrap_or_default();
        // The nearest whole number, with a note if it is not exact.
        let whole = |exact: f64, unit: &str, node: fn(String) -> Node| {
            let nearest = exact.round();
            let mut written = Written::one(theirs, node(nearest.to_string()));
            if (exact - nearest).abs() > 1e-9 * exact.abs().max(1.0) {
                written.note = Some(format!("`{ours} = {value}` is no whole number of {unit}; it is {nearest}"));
            }
            written
        };
        match unit {
            Unit::Duration | Unit::Same | Unit::BitsPerSecond => Written::one(theirs, Node::text(text)),
            Unit::Millis => whole(time().as_secs_f64() * 1e3, "milliseconds", Node::plain),
            Unit::Seconds => whole(time().as_secs_f64(), "seconds", Node::plain),
            Unit::Percent => Written::one(theirs, Node::text(rounded(number() * 100.0).to_string())),
            Unit::Share => Written::one(theirs, Node::plain(number())),
            Unit::BytesPerSecond => {
                let (unit, scale) = BYTE_RATES.into_iter().find(|(_, scale)| bits() % scale == 0).unwrap_or(("bps", 8));
                let mut written = whole(bits() as f64 / scale as f64, "bytes per second", Node::text);
                if let Some((_, node)) = written.nodes.first_mut() {
                    *node = Node::text(format!("{}{unit}", node.as_str().unwrap_or_default()));
                }
                written
            }
            Unit::KilobytesPerSecond => whole(bits() as f64 / 8e3, "kilobytes per second", Node::plain),
            Unit::HttpCode => match HTTP_CODES.iter().find(|(_, status)| *status == text) {
                Some((code, _)) => Written::one(theirs, Node::plain(code)),
                None => Written::note(format!("no status of HTTP is `{ours} = {value}` for gRPC")),
            },
            Unit::Workers(load) => {
                let workers = (number() - 1.0).ceil().max(1.0);
                let percent = (number() - 1.0) / workers * 100.0;
                let mut written = whole(percent, "percent", Node::plain);
                written.nodes = vec![(theirs, Node::plain(workers)), (load, Node::plain(percent.round()))];
                written
            }
            _ => Written::default(),
        }
    }
}

impl Unit {
    /// Returns what the documentation has behind the key.
    pub(super) fn remark(self) -> &'static str {
        match self {
            Self::Millis => " in ms",
            Self::Seconds => " in s",
            Self::Percent => " in %",
            Self::BytesPerSecond => " in bytes/s",
            Self::KilobytesPerSecond => " in KB/s",
            Self::Workers(_) => " - 1",
            Self::HttpCode => " of gRPC",
            _ => "",
        }
    }
}

/// Returns the bits per second of a text such as `1mbps`, which are megabytes.
fn bytes_per_second(text: &str) -> Result<u64, String> {
    let (number, scale) =
        BYTE_RATES.iter().find_map(|(unit, scale)| Some((text.trim().strip_suffix(unit)?, scale))).ok_or_else(
            || format!("`{text}` has none of the units bps, kbps, mbps, gbps, tbps, which are bytes per second"),
        )?;
    let number: f64 = number.trim().parse().map_err(|_| format!("`{text}` has no number"))?;
    Ok((number * *scale as f64) as u64)
}

/// Returns a text in the quotes of TOML.
pub(super) fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Returns a number of seconds as a duration of TOML.
pub(super) fn seconds(seconds: f64) -> Result<String, String> {
    Ok(quoted(&duration::text(time(seconds)?)))
}

/// Returns a number of seconds, to the microsecond.
pub(super) fn time(seconds: f64) -> Result<Time, String> {
    if !(0.0..=1e9).contains(&seconds) {
        return Err(format!("{seconds} is not a number of seconds"));
    }
    Ok(Time::from_micros((seconds * 1e6).round() as u64))
}

fn float(number: f64) -> String {
    Value::from(number).to_string()
}

/// Returns a number without what a division by 100 has added to it.
fn rounded(number: f64) -> f64 {
    (number * 1e9).round() / 1e9
}
