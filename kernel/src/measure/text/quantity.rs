//! Figures as people read them: three significant digits and a unit.

use crate::{
    measure::metric::{Metric, Unit},
    measure::seconds,
};

/// Returns a value of `metric`, in its base unit, with three significant digits; a plain number if the metric is not
/// known.
pub fn quantity(metric: Option<Metric>, value: f64) -> String {
    match metric.map(Metric::unit) {
        Some(Unit::Share) => percent(value),
        Some(Unit::PerSecond) => rate(value),
        Some(Unit::Seconds) => duration(value),
        Some(Unit::Count) | None => count(value),
    }
}

/// Returns a difference between two values of `metric`, with its sign; between shares, in percentage points.
pub fn difference(metric: Metric, value: f64) -> String {
    let sign = if value < 0.0 { "-" } else { "+" };
    let size = value.abs();
    match metric.unit() {
        _ if value == 0.0 => "0".to_owned(),
        Unit::Share => format!("{sign}{} pp", significant(size * 100.0)),
        Unit::Seconds => format!("{sign}{}", duration(size)),
        Unit::PerSecond => format!("{sign}{}", rate(size)),
        Unit::Count => format!("{sign}{}", count(size)),
    }
}

/// Returns a time in seconds as `9.94 s`, `512 ms`, `0.92 ms` or `7 us`. A value that rounds to 1000 of a unit is written
/// in the next.
pub fn duration(seconds: f64) -> String {
    if seconds == 0.0 {
        "0 s".to_owned()
    } else if seconds < 9.5e-6 {
        format!("{:.0} us", seconds * 1e6)
    } else if seconds < 0.9995 {
        format!("{} ms", significant(seconds * 1e3))
    } else {
        format!("{} s", significant(seconds))
    }
}

/// Returns a time of the run in seconds, to the hundredth, so that those of a column are easy to compare.
pub fn moment(at_us: u64) -> String {
    format!("{:.2} s", seconds(at_us))
}

/// Returns a share as `98.67 %`. Only all is 100 % and only nothing is 0 %: one failure in a million does not disappear
/// by rounding.
pub fn percent(share: f64) -> String {
    if share == 0.0 || share == 1.0 {
        return format!("{:.0} %", share * 100.0);
    }
    let percent = share * 100.0;
    let kept = if (0.0..=100.0).contains(&percent) { percent.clamp(0.01, 99.99) } else { percent };
    format!("{kept:.2} %")
}

/// Returns a rate as `4.90/s`.
pub fn rate(per_second: f64) -> String {
    format!("{}/s", significant(per_second))
}

/// Returns a count, or the mean of counts.
pub fn count(value: f64) -> String {
    if value.fract() == 0.0 { format!("{value:.0}") } else { significant(value) }
}

/// Removes zeros behind the point: `5.00 s` becomes `5 s`.
pub fn trimmed(text: &str) -> String {
    let unit_at = text.find([' ', '/']).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let number = if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number}{unit}")
}

/// Returns a number with three significant digits, and with every digit before the point.
fn significant(value: f64) -> String {
    let decimals = match value.abs() {
        small if small < 9.995 => 2,
        middle if middle < 99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantity_has_the_unit_of_its_metric() {
        for metric in Metric::ALL {
            let text = quantity(Some(metric), 0.5);
            let expected = match metric.unit() {
                Unit::Share => "50.00 %",
                Unit::PerSecond => "0.50/s",
                Unit::Seconds => "500 ms",
                Unit::Count => "0.50",
            };
            assert_eq!(text, expected, "{metric:?}");
        }
        assert_eq!(quantity(None, 0.5), "0.50");
    }

    #[test]
    fn durations_keep_three_digits_and_pick_their_unit() {
        let cases = [
            (0.0, "0 s"),
            (0.000_004, "4 us"),
            (0.000_009_5, "0.01 ms"),
            (0.000_92, "0.92 ms"),
            (0.001_5, "1.50 ms"),
            (0.051_23, "51.2 ms"),
            (0.512_3, "512 ms"),
            (0.999_4, "999 ms"),
            (0.999_5, "1.00 s"),
            (0.999_6, "1.00 s"),
            (9.94, "9.94 s"),
            (9.996, "10.0 s"),
            (45.12, "45.1 s"),
            (3600.0, "3600 s"),
        ];
        for (seconds, text) in cases {
            assert_eq!(duration(seconds), text);
        }
    }

    #[test]
    fn only_all_is_100_percent_and_only_nothing_is_0() {
        assert_eq!(
            [0.0, 0.000_001, 0.986_666, 0.999_999, 1.0].map(percent),
            ["0 %", "0.01 %", "98.67 %", "99.99 %", "100 %"]
        );
    }

    #[test]
    fn differences_have_a_sign_and_shares_are_in_percentage_points() {
        assert_eq!(difference(Metric::SuccessRate, -0.0133), "-1.33 pp");
        assert_eq!(difference(Metric::LatencyP99, 0.25), "+250 ms");
        assert_eq!(difference(Metric::Goodput, -1.5), "-1.50/s");
        assert_eq!([difference(Metric::Retries, 3.0), difference(Metric::Retries, 0.0)], ["+3", "0"]);
    }

    #[test]
    fn trimming_leaves_whole_numbers_alone() {
        let texts = ["5.00 s", "1.50 ms", "100 %", "4.90/s", "200 ms", "10", "0.98"].map(trimmed);
        assert_eq!(texts, ["5 s", "1.5 ms", "100 %", "4.9/s", "200 ms", "10", "0.98"]);
    }

    #[test]
    fn a_number_that_rounds_to_one_more_digit_loses_a_decimal() {
        assert_eq!([9.994, 9.995, 99.94, 99.95, 999.5].map(significant), ["9.99", "10.0", "99.9", "100", "1000"]);
    }
}
