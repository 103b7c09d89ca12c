//! Times in cells: numbers in a unit, durations with their unit, and times of day.

use jiff::{Timestamp, civil::DateTime, fmt::strtime, tz::TimeZone};

use super::columns::unit;

/// The formats of times of day that other programs write, apart from those of ISO 8601.
const FORMATS: [&str; 7] = [
    // Access logs of Apache and nginx.
    "%d/%b/%Y:%H:%M:%S %z",
    "%Y-%m-%d %H:%M:%S%.f %z",
    "%Y-%m-%d %H:%M:%S%.f",
    "%Y/%m/%d %H:%M:%S%.f",
    "%d.%m.%Y %H:%M:%S%.f",
    "%a, %d %b %Y %H:%M:%S %z",
    "%a %b %e %H:%M:%S %Y",
];

/// Numbers from here on are seconds since 1970, those from the next bounds on milliseconds, microseconds, nanoseconds. The
/// bounds are far apart: times of the years from 1973 to 5138 have one meaning only.
const EPOCH: [(f64, f64); 4] = [(1e17, 1e-3), (1e14, 1.0), (1e11, 1e3), (1e8, 1e6)];

/// The greatest number of microseconds of a time, before or after 1970: some 30,000 years.
const MAX_US: f64 = 1e18;

/// The reason why a cell is not a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TimeError {
    /// It is a number, and its unit is not known.
    NoUnit,
    /// It is something else.
    NotATime,
}

/// Returns a length of time in microseconds; `unit_us` is the unit of numbers that have none.
pub(super) fn span_us(text: &str, unit_us: Option<f64>) -> Result<f64, TimeError> {
    match text.parse::<f64>() {
        Ok(number) => bounded(number * unit_us.ok_or(TimeError::NoUnit)?),
        Err(_) => bounded(with_unit(text).ok_or(TimeError::NotATime)?),
    }
}

/// Returns a point in time in microseconds: since 1970 if it is a time of day, otherwise as the number says.
pub(super) fn moment_us(text: &str, unit_us: Option<f64>) -> Result<f64, TimeError> {
    match text.parse::<f64>() {
        Ok(number) => bounded(number * unit_us.or_else(|| epoch_unit(number)).ok_or(TimeError::NoUnit)?),
        Err(_) => bounded(time_of_day_us(text).or_else(|| with_unit(text)).ok_or(TimeError::NotATime)?),
    }
}

/// Returns the unit, in microseconds, of a number that is so large that it counts from 1970.
pub(super) fn epoch_unit(number: f64) -> Option<f64> {
    EPOCH.iter().find(|(least, _)| number >= *least).map(|(_, unit_us)| *unit_us)
}

fn bounded(us: f64) -> Result<f64, TimeError> {
    // Also false for a number that is none.
    if us.abs() <= MAX_US { Ok(us) } else { Err(TimeError::NotATime) }
}

/// Returns a duration such as `12.3ms`, `850 µs` or `1m2.5s` in microseconds.
fn with_unit(text: &str) -> Option<f64> {
    let mut rest = text.trim();
    let mut sum = 0.0;
    let mut least_unit = f64::INFINITY;
    while !rest.is_empty() {
        let letters = rest.find(|c: char| c.is_alphabetic())?;
        let number = rest[..letters].trim_end().parse::<f64>().ok()?;
        let ending = rest[letters..].find(|c: char| !c.is_alphabetic()).map_or(rest.len(), |length| letters + length);
        let unit_us = unit(&rest[letters..ending])?;
        // Units go down, as in `1h2m3s`; `1s2s` is a mistake.
        if unit_us >= least_unit {
            return None;
        }
        least_unit = unit_us;
        sum += number * unit_us;
        rest = rest[ending..].trim_start();
    }
    (least_unit < f64::INFINITY).then_some(sum)
}

fn is_zone_name(word: &str) -> bool {
    word.len() >= 3 && word.bytes().all(|byte| byte.is_ascii_uppercase())
}

/// Returns a time of day in microseconds since 1970. A time without a zone is read as UTC: only differences matter.
fn time_of_day_us(text: &str) -> Option<f64> {
    let text = text.trim_matches(['[', ']', '"', ' ']);
    // A date has eight digits at least, and anything else is not worth the attempts.
    if text.len() < 8 || text.len() > 64 || !text.as_bytes().iter().any(u8::is_ascii_digit) {
        return None;
    }
    let at = text.parse::<Timestamp>().ok().or_else(|| local(text.parse().ok()?)).or_else(|| {
        // Go writes the name of a zone behind its offset.
        let text = text.rsplit_once(' ').filter(|(_, word)| is_zone_name(word)).map_or(text, |(text, _)| text);
        FORMATS.iter().find_map(|format| {
            let parsed = strtime::parse(format, text).ok()?;
            parsed.to_timestamp().ok().or_else(|| local(parsed.to_datetime().ok()?))
        })
    })?;
    Some(at.as_nanosecond() as f64 / 1e3)
}

fn local(time: DateTime) -> Option<Timestamp> {
    time.to_zoned(TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_its_unit_with_it_or_from_the_column() {
        for (text, us) in [
            ("12.3ms", 12_300.0),
            ("850µs", 850.0),
            ("850μs", 850.0),
            ("1.2s", 1.2e6),
            ("7 ns", 0.007),
            ("1m2.5s", 62.5e6),
            ("2h", 7200e6),
            ("3 seconds", 3e6),
        ] {
            let read = span_us(text, Some(1e3)).unwrap();
            assert!((read - us).abs() < 1e-6, "{text}: {read}");
        }
        assert_eq!(span_us("5", Some(1e3)), Ok(5_000.0));
        assert_eq!(span_us("5", None), Err(TimeError::NoUnit));
        for wrong in ["", "ms", "5 apples", "1s2s", "1s 2h", "inf", "NaN", "1e300", "--1ms", "2026-05-04T00:00:00Z"] {
            assert_eq!(span_us(wrong, Some(1.0)), Err(TimeError::NotATime), "{wrong}");
        }
    }

    #[test]
    fn times_of_day_are_read_in_the_usual_formats() {
        let at = 1_777_852_800_250_000.0;
        for text in [
            "2026-05-04T00:00:00.25Z",
            "2026-05-03T20:00:00.250-04:00",
            "[2026-05-04T00:00:00.250Z]",
            "2026-05-04 00:00:00.25",
            "2026-05-04T00:00:00.25",
            "2026-05-04 00:00:00,250",
            "2026/05/04 00:00:00.250",
            "04.05.2026 00:00:00.250",
            "2026-05-04 00:00:00.25 +0000 UTC",
            "2026-05-04 02:00:00.25 +0200",
            "1777852800.25",
            "1777852800250",
            "1777852800250000",
            "1777852800250000000",
        ] {
            let read = moment_us(text, None).unwrap_or(f64::NAN);
            assert!((read - at).abs() < 0.5, "{text}: {read}");
        }
        for text in ["04/May/2026:02:00:00 +0200", "Mon, 04 May 2026 00:00:00 +0000", "Mon May  4 00:00:00 2026"] {
            assert_eq!(moment_us(text, None), Ok(1_777_852_800_000_000.0), "{text}");
        }
        assert_eq!(moment_us("12", None), Err(TimeError::NoUnit));
        assert_eq!(moment_us("12", Some(1e6)), Ok(12e6));
        assert_eq!(moment_us("1.5s", None), Ok(1.5e6));
        for wrong in ["yesterday", "2026-13-04T00:00:00Z", "2026-05-04T25:00:00Z", "[]", "99/99/9999:00:00:00 +0000"] {
            assert_eq!(moment_us(wrong, None), Err(TimeError::NotATime), "{wrong}");
        }
    }
}
