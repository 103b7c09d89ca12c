//! `--columns`: which column of a log means what.

use std::{collections::BTreeMap, str::FromStr};

use super::{ReadError, outcome::Numbers};

/// What a log can tell of a request; the names that `--columns` uses.
pub(super) const FIELDS: [&str; 9] =
    ["intended", "sent", "done", "latency", "status", "server", "attempts", "failovers", "size"];

/// How to understand a log that another program wrote.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Mapping {
    pub columns: Columns,
    /// Only rows in which each of these columns has that value are requests.
    pub only: Vec<(String, String)>,
    /// Requests a second, for a log without times: its rows are taken to have been sent at this rate.
    pub rate: Option<f64>,
}

/// From what is told, such as `latency`, to where it is.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Columns(BTreeMap<&'static str, Column>);

/// A column and how its values read.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    pub(super) name: String,
    /// Microseconds of one, for times.
    pub(super) unit_us: Option<f64>,
    /// For statuses; `None` if the values are to tell.
    pub(super) numbers: Option<Numbers>,
}

impl Columns {
    pub(super) fn get(&self, field: &'static str) -> Option<&Column> {
        self.0.get(field)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (&'static str, &Column)> {
        self.0.iter().map(|(field, column)| (*field, column))
    }

    /// The names of our own logs, for what has no mapping and is `present`.
    pub(super) fn or_our_own(mut self, present: impl Fn(&str) -> bool) -> Self {
        for field in FIELDS {
            let names = [field.to_owned(), format!("{field}_us")];
            if let Some(name) = names.into_iter().find(|name| present(name)) {
                self.0.entry(field).or_insert_with(|| Column::named(&name));
            }
        }
        self
    }
}

impl FromStr for Columns {
    type Err = ReadError;

    /// `intended=ts,latency=dur_ms,status=code`: what it is, and the column's name with an optional unit (`ts:ms`) or, of
    /// a status, `http` or `grpc`. Without a unit the name's ending tells (`dur_ms`, `duration (ms)`), else it is `us`.
    fn from_str(text: &str) -> Result<Self, ReadError> {
        let mut columns = BTreeMap::new();
        for part in text.split(',').map(str::trim).filter(|part| !part.is_empty()) {
            let Some((field, value)) = part.split_once('=') else {
                return Err(ReadError::Mapping(format!("`{part}`: write it as intended=NAME or latency=NAME:ms")));
            };
            let Some(field) = FIELDS.into_iter().find(|known| *known == field.trim()) else {
                return Err(ReadError::Mapping(format!("`{field}` is not known; a request has {}", FIELDS.join(", "))));
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
                "`{field}={text}`: `{suffix}` is no unit; the units are s, ms, us and ns, and http or grpc of a status"
            ))),
        }
    }
}

/// Microseconds of one.
fn unit(text: &str) -> Option<f64> {
    match text {
        "s" => Some(1e6),
        "ms" => Some(1e3),
        "us" | "µs" => Some(1.0),
        "ns" => Some(1e-3),
        _ => None,
    }
}

/// The unit that a column's name ends with.
fn unit_of_name(name: &str) -> Option<f64> {
    let ending = name.trim_end_matches(')').rsplit(['_', '(', ' ']).next()?;
    if ending == name { None } else { unit(ending) }
}

/// Reads one `COLUMN=VALUE` of `--only`.
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
        assert!(error("speed=x").starts_with("--columns `speed` is not known; a request has intended, sent,"));
        assert!(error("latency=x:min").contains("`min` is no unit"));
    }
}
