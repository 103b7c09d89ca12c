//! Rows that cannot be read: how many there may be, and what is said of them.

use std::{fmt, str::FromStr};

/// The number of rows that may be left out because they cannot be read. The default is 1 % of all rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum BadRowsMax {
    /// This many rows.
    Rows(u64),
    /// This share of all rows, 0 to 1.
    Share(f64),
}

impl Default for BadRowsMax {
    fn default() -> Self {
        Self::Share(0.01)
    }
}

impl fmt::Display for BadRowsMax {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rows(rows) => rows.fmt(f),
            Self::Share(share) => write!(f, "{}%", share * 100.0),
        }
    }
}

impl FromStr for BadRowsMax {
    type Err = String;

    /// Parses a number of rows, such as `20`, or a percentage, such as `0.5%`.
    fn from_str(text: &str) -> Result<Self, String> {
        let share = text.strip_suffix('%').map(|number| number.trim().parse::<f64>().ok());
        let parsed = match share {
            Some(percent) => {
                percent.filter(|percent| (0.0..=100.0).contains(percent)).map(|percent| Self::Share(percent / 100.0))
            }
            None => text.parse().ok().map(Self::Rows),
        };
        parsed.ok_or_else(|| "write a number of rows, such as 20, or a percentage from 0% to 100%".to_owned())
    }
}

impl BadRowsMax {
    pub(super) fn allows(self, bad: u64, rows: u64) -> bool {
        match self {
            Self::Rows(most) => bad <= most,
            // A log of nothing but such rows is none, whatever is allowed.
            Self::Share(share) => bad as f64 <= share * rows as f64 && (bad < rows || bad == 0),
        }
    }
}

/// The rows of a log, or of a part of it, that cannot be read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct BadRows {
    pub(super) count: u64,
    /// The number of the line of the first one and its mistake.
    pub(super) first: Option<(usize, String)>,
}

impl BadRows {
    /// Returns the note on rows that were left out.
    pub(super) fn note(&self, rows: u64) -> Option<String> {
        let (line, reason) = self.first.as_ref()?;
        let rows_are = if self.count == 1 { "row cannot be read and is" } else { "rows cannot be read and are" };
        Some(format!("{} of {rows} {rows_are} left out; the first is in line {line}: {reason}", self.count))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_number_or_a_share() {
        assert_eq!("20".parse(), Ok(BadRowsMax::Rows(20)));
        assert_eq!("0.5%".parse(), Ok(BadRowsMax::Share(0.005)));
        assert_eq!(BadRowsMax::default().to_string().parse(), Ok(BadRowsMax::default()));
        for wrong in ["-1", "101%", "few", "NaN%", ""] {
            assert!(wrong.parse::<BadRowsMax>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn a_log_of_bad_rows_only_is_none() {
        assert!(BadRowsMax::Share(0.01).allows(1, 100) && !BadRowsMax::Share(0.01).allows(2, 100));
        assert!(BadRowsMax::Rows(2).allows(2, 3) && !BadRowsMax::Rows(2).allows(3, 1000));
        assert!(!BadRowsMax::Share(1.0).allows(3, 3));
    }
}
