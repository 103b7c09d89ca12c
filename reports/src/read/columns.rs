//! `--columns`: the mapping of the columns of a log.

use std::{collections::BTreeMap, str::FromStr};

use super::{BadRowsMax, ReadError, outcome::Numbers};

/// The fields of a request that a log may have, by the names that `--columns` uses.
pub(super) const FIELDS: [&str; 11] =
    ["intended", "sent", "done", "latency", "status", "server", "attempts", "failovers", "size", "error", "success"];

/// The way to read a log that another program wrote.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapping {
    /// The column of each field.
    pub columns: Columns,
    /// Pairs of a column and a value. Only rows that have all these values are requests.
    pub only: Vec<(String, String)>,
    /// The number of requests per second. It gives the rows of a log without times their times.
    pub rate: Option<f64>,
    /// The name of the format; `None` if the content of the log decides.
    pub format: Option<String>,
    /// The number of rows that may be left out because they cannot be read.
    pub bad_rows: BadRowsMax,
}

/// The column of each field, such as `latency`, that was mapped.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns(BTreeMap<&'static str, Column>);

/// A column, and the meaning of its values.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    /// The number of microseconds in one unit, for times.
    pub(super) unit_us: Option<f64>,
    /// True if the unit is the one that the name ends with.
    pub(super) is_unit_by_name: bool,
    /// The meaning of numbers, for statuses; `None` if it is inferred from the values.
    pub(super) numbers: Option<Numbers>,
}

impl Columns {
    pub(super) fn get(&self, field: &'static str) -> Option<&Column> {
        self.0.get(field)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Column)> {
        self.0.iter().map(|(field, column)| (*field, column))
    }

    /// Maps a field that has no mapping.
    pub(super) fn add(&mut self, field: &'static str, column: Column) {
        self.0.entry(field).or_insert(column);
    }

    /// Returns these columns, and those of `others` for the fields that have none. A column that both have means the same
    /// in both, as far as these do not say what it means.
    pub(super) fn or(mut self, others: &Self) -> Self {
        for (field, other) in others.iter() {
            let column = self.0.entry(field).or_insert_with(|| other.clone());
            if column.name == other.name {
                column.unit_us = column.unit_us.or(other.unit_us);
                column.numbers = column.numbers.or(other.numbers);
            }
        }
        self
    }

    /// Returns the columns without those that `has` does not find.
    pub(super) fn present(mut self, has: impl Fn(&str) -> bool) -> Self {
        self.0.retain(|_, column| has(&column.name));
        self
    }

    /// Returns whether the start, the end and the latency of a request follow from the columns.
    pub(super) fn have_times(&self) -> bool {
        let has = |field: &str| self.0.contains_key(field);
        let known = [has("intended") || has("sent"), has("done"), has("latency")];
        known.iter().filter(|is_known| **is_known).count() >= 2
    }
}

impl FromStr for Columns {
    type Err = ReadError;

    /// Parses `intended=ts,latency=dur_ms,status=code`: each part is a field and the name of its column, with an optional
    /// unit (`ts:ms`) or, for a status, `http` or `grpc`. Without a unit, the ending of the name decides (`dur_ms`,
    /// `duration (ms)`), and otherwise each value has to have one (`12.3ms`), or be a time of day.
    fn from_str(text: &str) -> Result<Self, ReadError> {
        let mut columns = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((field, value)) = part.split_once('=') else {
                return Err(ReadError::Mapping(format!("`{part}`: write it as intended=NAME or latency=NAME:ms")));
            };
            let Some(field) = FIELDS.into_iter().find(|known| *known == field.trim()) else {
                return Err(ReadError::Mapping(format!(
                    "`{field}` is not a field of a request; the fields are {}",
                    FIELDS.join(", ")
                )));
            };
            columns.insert(field, Column::parsed(field, value.trim())?);
        }
        Ok(Self(columns))
    }
}

impl Column {
    pub(super) fn named(name: &str) -> Self {
        let unit_us = split_unit(name).1;
        Self { name: name.to_owned(), unit_us, is_unit_by_name: unit_us.is_some(), numbers: None }
    }

    fn parsed(field: &str, text: &str) -> Result<Self, ReadError> {
        let Some((name, suffix)) = text.rsplit_once(':') else { return Ok(Self::named(text)) };
        let column = Self::named(name);
        match (suffix, unit(suffix)) {
            ("http", _) => Ok(Self { numbers: Some(Numbers::Http), ..column }),
            ("grpc", _) => Ok(Self { numbers: Some(Numbers::Grpc), ..column }),
            (_, Some(unit_us)) => Ok(Self { unit_us: Some(unit_us), is_unit_by_name: false, ..column }),
            _ => Err(ReadError::Mapping(format!(
                "`{field}={text}`: `{suffix}` is not a unit; the units are s, ms, us and ns for times, and http and grpc for statuses"
            ))),
        }
    }
}

/// The units of times: the number of microseconds, and the ways to write it.
const UNITS: [(f64, &[&str]); 6] = [
    (1e-3, &["ns", "nanos", "nanoseconds", "nsec"]),
    (1.0, &["us", "µs", "μs", "micros", "microseconds", "usec"]),
    (1e3, &["ms", "millis", "milliseconds", "msec"]),
    (1e6, &["s", "sec", "secs", "second", "seconds"]),
    (60e6, &["m", "min", "mins", "minute", "minutes"]),
    (3600e6, &["h", "hour", "hours"]),
];

/// Returns the number of microseconds in one unit.
pub(super) fn unit(text: &str) -> Option<f64> {
    UNITS.iter().find(|(_, names)| names.contains(&text)).map(|(unit_us, _)| *unit_us)
}

/// Returns the short name of a unit.
pub(super) fn unit_name(unit_us: f64) -> &'static str {
    UNITS.iter().find(|(unit, _)| *unit == unit_us).map_or("", |(_, names)| names[0])
}

/// Returns the name of a column without the unit that it ends with, and that unit in microseconds.
pub(super) fn split_unit(name: &str) -> (&str, Option<f64>) {
    let whole = name.trim_end_matches(')');
    let at = whole.rfind(['_', '(', ' ', '.', '-']).map(|at| (at, at + 1));
    // The last word of a name such as `durationMs`.
    let humps = whole.char_indices().rev().find(|(_, letter)| letter.is_ascii_uppercase()).map(|(at, _)| (at, at));
    for (end, start) in [at, humps].into_iter().flatten() {
        let ending = whole[start..].to_lowercase();
        // One letter is too little to be sure of: `t_m` is no minute.
        let found = unit(&ending).filter(|_| ending == "s" || ending.len() > 1);
        if end > 0 && found.is_some() {
            return (whole[..end].trim_end(), found);
        }
    }
    (name, None)
}

/// Parses a `COLUMN=VALUE` of `--only`.
///
/// # Errors
/// There is no equals sign.
pub fn only(text: &str) -> Result<(String, String), String> {
    let (column, value) = text.split_once('=').ok_or("write it as COLUMN=VALUE")?;
    Ok((column.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_come_from_the_suffix_or_from_the_name() {
        let columns: Columns =
            "intended=ts:s, latency=dur_ms,done=duration (ms),sent=plain,status=code:http".parse().unwrap();
        let unit = |field| columns.get(field).unwrap().unit_us;
        assert_eq!(
            [unit("intended"), unit("latency"), unit("done"), unit("sent")],
            [Some(1e6), Some(1e3), Some(1e3), None]
        );
        assert_eq!(columns.get("status").unwrap().numbers, Some(Numbers::Http));
    }

    #[test]
    fn a_wrong_mapping_says_what_would_be_right() {
        let error = |text: &str| text.parse::<Columns>().unwrap_err().to_string();
        assert_eq!(error("latency"), "--columns `latency`: write it as intended=NAME or latency=NAME:ms");
        assert!(
            error("speed=x")
                .starts_with("--columns `speed` is not a field of a request; the fields are intended, sent,")
        );
        assert!(error("latency=x:ft").contains("`ft` is not a unit"));
    }
}
