//! The range of seeds of a sweep, as `--seeds` takes it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// Seeds from `start` to before `end`; at least one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seeds {
    /// First seed of the range.
    pub start: u64,
    /// Seed after the last one; above `start`.
    pub end: u64,
}

/// Reason why a text is no range of seeds.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SeedsError {
    /// The text is not two whole numbers with `..` between them.
    #[error("seeds are a range such as 0..1000, which ends before 1000; for one seed use --seed")]
    NotARange,
    /// The range ends where it starts, or before.
    #[error("there is no seed from {start} to before {end}; {}", remedy(*start, *end))]
    Empty {
        /// First number of the text.
        start: u64,
        /// Second number of the text.
        end: u64,
    },
}

fn remedy(start: u64, end: u64) -> String {
    let low = start.min(end);
    let high = start.max(end);
    match high.checked_add(u64::from(low == high)) {
        Some(high) => format!("write {low}..{high}"),
        // The greatest number can only be an end.
        None => "begin lower".to_owned(),
    }
}

impl Seeds {
    /// Returns the number of seeds in the range.
    pub fn count(self) -> u64 {
        self.end - self.start
    }

    /// Returns the seeds, ascending.
    pub fn iter(self) -> impl Iterator<Item = u64> {
        self.start..self.end
    }
}

impl FromStr for Seeds {
    type Err = SeedsError;

    fn from_str(text: &str) -> Result<Self, SeedsError> {
        let (start, end) = text.split_once("..").ok_or(SeedsError::NotARange)?;
        let start = number(start)?;
        let end = number(end)?;
        if start < end { Ok(Self { start, end }) } else { Err(SeedsError::Empty { start, end }) }
    }
}

fn number(text: &str) -> Result<u64, SeedsError> {
    text.trim().parse().map_err(|_| SeedsError::NotARange)
}

impl fmt::Display for Seeds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}..{}", self.start, self.end)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(text: &str) -> String {
        text.parse::<Seeds>().unwrap_err().to_string()
    }

    #[test]
    fn a_range_excludes_its_end() {
        let seeds: Seeds = "3..6".parse().unwrap();
        assert_eq!(seeds.iter().collect::<Vec<_>>(), [3, 4, 5]);
        assert_eq!((seeds.count(), seeds.to_string().as_str()), (3, "3..6"));
    }

    #[test]
    fn an_empty_range_is_rejected_with_one_that_is_not() {
        assert_eq!(message("5..5"), "there is no seed from 5 to before 5; write 5..6");
        assert_eq!(message("9..2"), "there is no seed from 9 to before 2; write 2..9");
        let last = u64::MAX;
        assert_eq!(
            message(&format!("{last}..{last}")),
            format!("there is no seed from {last} to before {last}; begin lower")
        );
    }

    #[test]
    fn anything_but_a_range_of_whole_numbers_is_rejected() {
        for text in ["", "7", "..", "1..", "..5", "-1..5", "1..=5", "a..b", "1...5", "0..1e3"] {
            assert_eq!(text.parse::<Seeds>(), Err(SeedsError::NotARange), "{text}");
        }
    }
}
