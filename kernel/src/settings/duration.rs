//! Durations as scenario files write them: `"250ms"`, `"10s"`, `"1m30s"`, `"1.5ms"`, exact to the nanosecond.

use std::{fmt::Write as _, time::Duration};

use super::quantity::{NotWhole, decimal, scaled, split};

const SECOND: u128 = 1_000_000_000;
const MINUTE: u128 = 60 * SECOND;
const HOUR: u128 = 60 * MINUTE;

/// The units and their nanoseconds, from large to small. `µs` is another spelling of `us`.
const UNITS: [(&str, u128); 7] =
    [("h", HOUR), ("m", MINUTE), ("s", SECOND), ("ms", 1_000_000), ("us", 1_000), ("µs", 1_000), ("ns", 1)];

/// A regular expression that matches durations, and texts that have a duration's units in another order.
pub(crate) const PATTERN: &str = r"^([0-9]+(\.[0-9]+)?(h|m|s|ms|us|µs|ns))+$";

/// The error of a text that is not a duration. Each variant has the text, for the message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DurationError {
    /// The text is not a sequence of numbers with units.
    #[error("{0:?} is not a duration; write a number and a unit, such as \"250ms\" or \"1m30s\"")]
    Malformed(String),
    /// The text begins with a minus sign.
    #[error("{0:?} is negative; a duration is 0s or longer")]
    Negative(String),
    /// A number in the text has no unit.
    #[error("the duration {text:?} has no unit; write \"{number}s\" or \"{number}ms\"")]
    NoUnit {
        /// The whole text.
        text: String,
        /// The number, which the message repeats with units that would be accepted.
        number: String,
    },
    /// The text has a unit that is none of time, such as `min`.
    #[error("{unit:?} in {text:?} is not a unit of time; the units are h, m, s, ms, us and ns")]
    UnknownUnit {
        /// The whole text.
        text: String,
        /// The unit in it.
        unit: String,
    },
    /// A unit comes twice or after a smaller one.
    #[error("the units in {0:?} are out of order; write large before small and each once, such as \"1m30s\"")]
    Order(String),
    /// The duration is not a whole number of nanoseconds.
    #[error("{0:?} is finer than a nanosecond")]
    TooFine(String),
    /// The duration is over `u64::MAX` nanoseconds, which are 584 years.
    #[error("{0:?} is too long to be counted")]
    TooLong(String),
}

/// Returns the duration that a text such as `1m30s` describes: numbers, which may have decimals, each with one of the units h,
/// m, s, ms, us (or µs) and ns, large before small.
///
/// # Errors
///
/// Returns an error if the text is anything else, is finer than 1 ns or is longer than 584 years.
///
/// ```
/// use std::time::Duration;
/// use kernel::settings::duration;
///
/// assert_eq!(duration::parse("1m30.5s")?, Duration::from_millis(90_500));
/// assert!(duration::parse("90").is_err(), "a duration has a unit");
/// # Ok::<(), duration::DurationError>(())
/// ```
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    if text.starts_with('-') {
        return Err(DurationError::Negative(text.into()));
    }
    let mut total = 0_u128;
    let mut rest = text;
    let mut below = u128::MAX;
    loop {
        let (number, unit, tail) = split(rest);
        let scale = scale(text, number, unit)?;
        if scale >= below {
            return Err(DurationError::Order(text.into()));
        }
        total = total.saturating_add(scaled(number, scale).map_err(|error| not_whole(&error, text))?);
        (rest, below) = (tail, scale);
        if rest.is_empty() {
            break;
        }
    }
    u64::try_from(total).map(Duration::from_nanos).map_err(|_| DurationError::TooLong(text.into()))
}

fn scale(text: &str, number: &str, unit: &str) -> Result<u128, DurationError> {
    match UNITS.iter().find(|(name, _)| *name == unit) {
        _ if number.is_empty() => Err(DurationError::Malformed(text.into())),
        Some((_, scale)) => Ok(*scale),
        None if unit.is_empty() => Err(DurationError::NoUnit { text: text.into(), number: number.into() }),
        None => Err(DurationError::UnknownUnit { text: text.into(), unit: unit.into() }),
    }
}

fn not_whole(error: &NotWhole, text: &str) -> DurationError {
    match error {
        NotWhole::Malformed => DurationError::Malformed(text.into()),
        NotWhole::TooFine => DurationError::TooFine(text.into()),
        NotWhole::TooLarge => DurationError::TooLong(text.into()),
    }
}

/// Returns the canonical text of a duration, which [`parse`] reads back exactly. From one second up it has hours, minutes and
/// seconds, such as `1m30.5s`; below that it has the largest unit that gives at least 1, such as `1.5ms`. A duration of 0 is `0s`.
///
/// ```
/// use std::time::Duration;
/// use kernel::settings::duration;
///
/// assert_eq!(duration::text(Duration::from_secs(90)), "1m30s");
/// assert_eq!(duration::text(Duration::from_micros(1_500)), "1.5ms");
/// ```
pub fn text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".into();
    }
    if nanos < SECOND {
        let (unit, scale) = UNITS.into_iter().find(|(_, scale)| nanos >= *scale).unwrap_or(("ns", 1));
        return format!("{}{unit}", decimal(nanos, scale));
    }
    let mut text = String::new();
    for (unit, count) in [("h", nanos / HOUR), ("m", nanos % HOUR / MINUTE)] {
        if count > 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "{count}{unit}");
        }
    }
    let seconds = nanos % MINUTE;
    if seconds > 0 {
        let _ = write!(text, "{}s", decimal(seconds, SECOND));
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_duration_is_written_in_the_units_one_would_say_it_in() {
        for (nanos, written) in [
            (0, "0s"),
            (1, "1ns"),
            (1_500, "1.5us"),
            (1_500_000, "1.5ms"),
            (250_000_000, "250ms"),
            (25_000_000_000, "25s"),
            (90_000_000_000, "1m30s"),
            (90_250_000_000, "1m30.25s"),
            (3_600_000_000_000, "1h"),
            (3_600_000_000_001, "1h0.000000001s"),
        ] {
            assert_eq!(text(Duration::from_nanos(nanos)), written);
            assert_eq!(parse(written), Ok(Duration::from_nanos(nanos)));
        }
    }

    #[test]
    fn other_spellings_of_a_duration_are_read_too() {
        for (text, millis) in [("90s", 90_000), ("0ms", 0), ("0.5h", 1_800_000), ("1s500ms", 1_500), ("1000µs", 1)] {
            assert_eq!(parse(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn the_error_of_a_wrong_duration_says_what_is_wrong() {
        let is = |text: &str, wanted: fn(String) -> DurationError| assert_eq!(parse(text), Err(wanted(text.into())));
        for text in ["", "s", "ten seconds", ".s", "1.s", "1.2.3s", " 1s", "nan", "inf"] {
            is(text, DurationError::Malformed);
        }
        is("-5s", DurationError::Negative);
        is("1s2m", DurationError::Order);
        is("1s1s", DurationError::Order);
        is("0.1ns", DurationError::TooFine);
        is(&format!("0.{}1s", "0".repeat(60)), DurationError::TooFine);
        is("999999999999h", DurationError::TooLong);
        is(&format!("{}s", "9".repeat(60)), DurationError::TooLong);
        assert!(matches!(parse("10"), Err(DurationError::NoUnit { .. })));
        assert!(matches!(parse("1m30"), Err(DurationError::NoUnit { .. })));
        assert!(matches!(parse("10 sec"), Err(DurationError::UnknownUnit { .. })));
    }

    proptest! {
        #[test]
        fn every_duration_is_read_back_exactly(nanos: u64) {
            let duration = Duration::from_nanos(nanos);
            prop_assert_eq!(parse(&text(duration)), Ok(duration));
        }

        #[test]
        fn no_text_makes_the_parser_panic(text in "[-0-9.hmsnuµ ]{0,50}|.*") {
            let _ = parse(&text);
        }
    }
}
