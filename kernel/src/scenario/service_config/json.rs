//! JSON read strictly: every complaint says where in the document it is, and what would be right.

use std::time::Duration;

use serde_json::Value;

use crate::status::Code;

/// A mistake in the file, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Fault(pub(super) String);

/// A value and its place, such as `methodConfig[0].timeout`.
#[derive(Debug, Clone)]
pub(super) struct Node<'a> {
    path: String,
    value: &'a Value,
}

impl<'a> Node<'a> {
    pub(super) fn root(value: &'a Value) -> Self {
        Self { path: String::new(), value }
    }

    pub(super) fn fault(&self, what: impl AsRef<str>) -> Fault {
        let place = if self.path.is_empty() { "the document" } else { &self.path };
        Fault(format!("{place}: {}", what.as_ref()))
    }

    fn wrong_type(&self, expected: &str) -> Fault {
        self.fault(format!("expected {expected}, not {}", self.value))
    }

    fn child(&self, key: &str, value: &'a Value) -> Self {
        let path = if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) };
        Self { path, value }
    }

    /// Refuses what is no object, or has a key that is not `known`. `unsupported` keys are known to gRPC only.
    pub(super) fn keys(&self, known: &[&str], unsupported: &[&str]) -> Result<(), Fault> {
        let object = self.value.as_object().ok_or_else(|| self.wrong_type("an object"))?;
        for (key, value) in object {
            if unsupported.contains(&key.as_str()) {
                return Err(self.child(key, value).fault("not supported; leave it out"));
            }
            if !known.contains(&key.as_str()) {
                let allowed = match known {
                    [] => "no field is".to_owned(),
                    _ => format!("`{}` are", known.join("`, `")),
                };
                return Err(self.child(key, value).fault(format!("unknown field; {allowed} known there")));
            }
        }
        Ok(())
    }

    /// Returns the key and the value of an object with one.
    pub(super) fn only_key(&self) -> Result<(&'a str, Self), Fault> {
        let object = self.value.as_object().ok_or_else(|| self.wrong_type("an object"))?;
        let mut entries = object.iter();
        match (entries.next(), entries.next()) {
            (Some((key, value)), None) => Ok((key, self.child(key, value))),
            _ => Err(self.fault("expected one field, the policy's name")),
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Self> {
        self.value.get(key).map(|value| self.child(key, value))
    }

    pub(super) fn required(&self, key: &str) -> Result<Self, Fault> {
        self.get(key).ok_or_else(|| self.fault(format!("`{key}` is required, and missing")))
    }

    pub(super) fn items(&self) -> Result<Vec<Self>, Fault> {
        let items = self.value.as_array().ok_or_else(|| self.wrong_type("a list"))?;
        let item = |(index, value)| Self { path: format!("{}[{index}]", self.path), value };
        Ok(items.iter().enumerate().map(item).collect())
    }

    pub(super) fn text(&self) -> Result<String, Fault> {
        self.value.as_str().map(str::to_owned).ok_or_else(|| self.wrong_type("a string"))
    }

    pub(super) fn boolean(&self) -> Result<bool, Fault> {
        self.value.as_bool().ok_or_else(|| self.wrong_type("true or false"))
    }

    pub(super) fn number(&self, min: f64, max: f64) -> Result<f64, Fault> {
        let number = self.value.as_f64().ok_or_else(|| self.wrong_type("a number"))?;
        if (min..=max).contains(&number) {
            return Ok(number);
        }
        Err(self.fault(format!("{number} is out of range; allowed is {min} to {max}")))
    }

    pub(super) fn count(&self, min: usize, max: usize) -> Result<usize, Fault> {
        let count = self.value.as_u64().ok_or_else(|| self.wrong_type("a whole number"))?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        if (min..=max).contains(&count) {
            return Ok(count);
        }
        Err(self.fault(format!("{count} is out of range; allowed is {min} to {max}")))
    }

    pub(super) fn count_or(&self, key: &str, default: usize) -> Result<usize, Fault> {
        self.get(key).map_or(Ok(default), |node| node.count(0, 1_000_000))
    }

    pub(super) fn percent_or(&self, key: &str, default: f64) -> Result<f64, Fault> {
        self.get(key).map_or(Ok(default), |node| node.count(0, 100).map(|percent| percent as f64))
    }

    /// Reads proto3's JSON form of a Duration: decimal seconds with an `s`, such as `"0.5s"`.
    pub(super) fn duration(&self, zero: bool) -> Result<Duration, Fault> {
        let wrong = || self.wrong_type("a duration in seconds, such as \"0.5s\"");
        let text = self.value.as_str().ok_or_else(wrong)?;
        let seconds = text.strip_suffix('s').ok_or_else(wrong)?;
        let is_decimal = seconds.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.');
        let (whole, fraction) = seconds.split_once('.').unwrap_or((seconds, ""));
        if !is_decimal || fraction.contains('.') || fraction.len() > 9 || (whole.is_empty() && fraction.is_empty()) {
            return Err(wrong());
        }
        // A6 writes ".1s".
        let whole: u64 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| wrong())? };
        let nanos: u32 = format!("{fraction:0<9}").parse().map_err(|_| wrong())?;
        let duration = Duration::new(whole, nanos);
        match duration {
            Duration::ZERO if !zero => Err(self.fault("must be greater than 0s")),
            _ if duration > Duration::from_secs(86_400) => Err(self.fault("longer than a day, which no run lasts")),
            _ => Ok(duration),
        }
    }

    /// Names of status codes, or their numbers; at least one, and not OK.
    pub(super) fn codes(&self) -> Result<Vec<Code>, Fault> {
        let mut codes = Vec::new();
        for item in self.items()? {
            let code = match item.value {
                Value::String(name) => name.to_uppercase().parse().ok(),
                Value::Number(number) => number.as_u64().and_then(|number| {
                    let name = Code::names().nth(usize::try_from(number).ok()?)?;
                    name.parse().ok()
                }),
                _ => None,
            };
            match code {
                None => return Err(item.wrong_type("a gRPC status code, such as \"UNAVAILABLE\"")),
                Some(Code::Ok) => return Err(item.fault("OK is no failure; leave it out")),
                Some(code) if !codes.contains(&code) => codes.push(code),
                Some(_) => {}
            }
        }
        if codes.is_empty() {
            return Err(self.fault("at least one code is required"));
        }
        Ok(codes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn duration(text: &str) -> Option<Duration> {
        Node::root(&Value::String(text.to_owned())).duration(true).ok()
    }

    #[test]
    fn durations_are_those_of_proto3() {
        assert_eq!(duration(".1s"), Some(Duration::from_millis(100)));
        assert_eq!(duration("3.000000001s"), Some(Duration::new(3, 1)));
        assert_eq!(duration("0s"), Some(Duration::ZERO));
        for text in ["", "s", ".s", "1", "1m", "-1s", "1.2.3s", "1e3s", "0.0000000001s", "99999999999s"] {
            assert_eq!(duration(text), None, "{text}");
        }
    }
}
