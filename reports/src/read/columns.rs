//! `--columns`: the mapping of the columns of a log.

use std::{collections::BTreeMap, str::FromStr};

use super::{ReadError, outcome::Numbers};

/// The fields of a request that a log may have, by the names that `--columns` uses.
pub(super) const FIELDS: [&str; 9] =
    ["intended", "sent", "done", "latency", "status", "server", "attempts", "failovers", "size"];

/// The way to read a log that another program wrote.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapping {
    /// The column of each field.
    pub columns: Columns,
    /// Pairs of a column and a value. Only rows that have all these values are requests.
    pub only: Vec<(String, String)>,
    /// The number of requests per second. It gives the rows of a log without times their times.
    pub rate: Option<f64>,
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

    /// Maps each field that has no mapping to the column that our own logs have for it, if that is `present`.
    pub(super) fn or_our_own(mut self, present: impl Fn(&str) -> bool) -> Self {
        for field in FIELDS {
            let names = [field.to_owned(), format!("{field}_us")];
            // The name without a unit comes first, as the user may have chosen it.
            if let Some(name) = names.into_iter().find(|name| present(name)) {
                self.0.entry(field).or_insert_with(|| Column::named(&name));
            }
        }
        self
    }
}

impl FromStr for Columns {
    type Err = ReadError;

    /// Parses `intended=ts,latency=dur_ms,status=code`: each part is a field and the name of its column, with an optional
    /// unit (`ts:ms`) or, for a status, `http` or `grpc`. Without a unit, the ending of the name decides (`dur_ms`,
    /// `duration (ms)`), and otherwise it is `us`.
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
    fn named(name: &str) -> Self {
        Self { name: name.to_owned(), unit_us: unit_of_name(name), numbers: None }
    }

    fn parsed(field: &str, text: &str) -> Result<Self, ReadError> {
        let Some((name, suffix)) = text.rsplit_once(':') else { return Ok(Self::named(text)) };
        let column = Self::named(name);
        match (suffix, unit(suffix)) {
            ("http", _) => Ok(Self { numbers: Some(Numbers::Http), ..column }),
            ("grpc", _) => Ok(Self { numbers: Some(Numbers::Grpc), ..column }),
            (_, Some(unit_us)) => Ok(Self { unit_us: Some(unit_us), ..column }),
            _ => Err(ReadError::Mapping(format!(
                "`{field}={text}`: `{suffix}` is not a unit; the units are s, ms, us and ns for times, and http and grpc for statuses"
            ))),
        }
    }
}

/// Returns the number of microseconds in one unit.
fn unit(text: &str) -> Option<f64> {
    match text {
        "s" => Some(1e6),
        "ms" => Some(1e3),
        "us" | "µs" => Some(1.0),
        "ns" => Some(1e-3),
        _ => None,
    }
}

/// Returns the unit that the name of a column ends with, in microseconds.
fn unit_of_name(name: &str) -> Option<f64> {
    let ending = name.trim_end_matches(')').rsplit(['_', '(', ' ']).next()?;
    // A column that is called `s` or `us` has no unit in its name: the name is all of it.
    if ending == name { None } else { unit(ending) }
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
        assert!(error("latency=x:min").contains("`min` is not a unit"));
    }
}
