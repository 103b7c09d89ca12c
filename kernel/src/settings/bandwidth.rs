//! Bandwidths in the units of `tc`, which are decimal and count bits: `"512kbit"`, `"100mbit"`, `"1gbit"`.

use super::quantity::{NotWhole, decimal, scaled, split};

/// The units and their bits per second, from large to small.
const UNITS: [(&str, u128); 4] = [("gbit", 1_000_000_000), ("mbit", 1_000_000), ("kbit", 1_000), ("bit", 1)];

/// A regular expression that matches bandwidths with a unit.
pub(crate) const PATTERN: &str = r"^[0-9]+(\.[0-9]+)?(bit|kbit|mbit|gbit)$";

/// The error of a text that is not a bandwidth. Each variant has the text, for the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BandwidthError {
    /// The text is not a number with a unit behind it.
    #[error("{0:?} is not a bandwidth; write a number and a unit, such as \"100mbit\" or \"512kbit\"")]
    Malformed(String),
    /// The text is a number alone.
    #[error("the bandwidth {text:?} has no unit; write \"{number}kbit\" or \"{number}mbit\"")]
    NoUnit {
        /// The whole text.
        text: String,
        /// Its number, which the message repeats with units that would be accepted.
        number: String,
    },
    /// The text has a unit that is none of bandwidth, such as `mbps`.
    #[error("{unit:?} in {text:?} is not a unit of bandwidth; the units are bit, kbit, mbit and gbit per second")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The part of it behind the number.
        unit: String,
    },
    /// The text has more decimals than the unit has bits per second, such as `1.5bit`.
    #[error("{0:?} is not a whole number of bits per second")]
    TooFine(String),
    /// The bandwidth is over `u64::MAX` bits per second.
    #[error("{0:?} is too much to be counted")]
    TooLarge(String),
}

/// Returns the bits per second of a text such as `1.5mbit`: a number, which may have decimals, and a unit. `0` needs no unit.
///
/// # Errors
///
/// Returns an error if the text is anything else, or is not a whole number of bits per second that fits into 64 bits.
///
/// ```
/// use kernel::settings::bandwidth;
///
/// assert_eq!(bandwidth::parse("1.5mbit")?, 1_500_000);
/// assert!(bandwidth::parse("100mbps").is_err(), "the units are those of tc");
/// # Ok::<(), bandwidth::BandwidthError>(())
/// ```
pub fn parse(text: &str) -> Result<u64, BandwidthError> {
    if text == "0" {
        return Ok(0);
    }
    let (number, unit, rest) = split(text);
    if number.is_empty() || !rest.is_empty() {
        return Err(BandwidthError::Malformed(text.into()));
    }
    let scale = match UNITS.iter().find(|(name, _)| *name == unit) {
        Some((_, scale)) => *scale,
        None if unit.is_empty() => return Err(BandwidthError::NoUnit { text: text.into(), number: number.into() }),
        None => return Err(BandwidthError::UnknownUnit { text: text.into(), unit: unit.into() }),
    };
    let bits = scaled(number, scale).map_err(|error| match error {
        NotWhole::Malformed => BandwidthError::Malformed(text.into()),
        NotWhole::TooFine => BandwidthError::TooFine(text.into()),
        NotWhole::TooLarge => BandwidthError::TooLarge(text.into()),
    })?;
    u64::try_from(bits).map_err(|_| BandwidthError::TooLarge(text.into()))
}

/// Returns the canonical text of a bandwidth of `bits` per second, which [`parse`] reads back exactly. It has the largest unit
/// that gives at least 1, such as `1.5mbit`; a bandwidth of 0 is `0`.
///
/// ```
/// use kernel::settings::bandwidth;
///
/// assert_eq!(bandwidth::text(512_000), "512kbit");
/// assert_eq!(bandwidth::parse(&bandwidth::text(1_234_567)), Ok(1_234_567));
/// ```
pub fn text(bits: u64) -> String {
    let bits = u128::from(bits);
    match UNITS.into_iter().find(|(_, scale)| bits >= *scale) {
        Some((unit, scale)) => format!("{}{unit}", decimal(bits, scale)),
        None => "0".into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_bandwidth_is_written_in_the_largest_unit_that_fits() {
        for (bits, written) in
            [(0, "0"), (1, "1bit"), (512_000, "512kbit"), (1_500_000, "1.5mbit"), (1_000_000_000, "1gbit")]
        {
            assert_eq!((text(bits).as_str(), parse(written)), (written, Ok(bits)));
        }
    }

    #[test]
    fn the_error_of_a_wrong_bandwidth_says_what_is_wrong() {
        assert!(matches!(parse("100"), Err(BandwidthError::NoUnit { .. })));
        assert!(matches!(parse("10mbps"), Err(BandwidthError::UnknownUnit { .. })));
        assert!(matches!(parse("1.5bit"), Err(BandwidthError::TooFine(_))));
        assert!(matches!(parse("99999999999999gbit"), Err(BandwidthError::TooLarge(_))));
        for text in ["", "mbit", "-1mbit", "1mbit2kbit", "1..2mbit", "inf"] {
            assert!(matches!(parse(text), Err(BandwidthError::Malformed(_))), "{text}");
        }
    }

    proptest! {
        #[test]
        fn every_bandwidth_is_read_back_exactly(bits: u64) {
            prop_assert_eq!(parse(&text(bits)), Ok(bits));
        }
    }
}
