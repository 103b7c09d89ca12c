//! The text formats of Prometheus and OpenMetrics.

use std::fmt::Write;

use super::{
    family::{Family, Kind, Unit},
    histogram::Distribution,
    series::{Series, Value, per_one},
};
use crate::record::Name;

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// Prometheus's own, version 0.0.4.
    Prometheus,
    /// OpenMetrics 1.0.
    OpenMetrics,
}

impl TextFormat {
    /// Returns the media type.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
        }
    }

    /// Returns all series as text.
    pub fn encode(self, series: &Series) -> String {
        let mut text = String::new();
        for family in Family::ALL {
            let mut all = series.of_family(family).peekable();
            if all.peek().is_some() {
                self.head(family, &mut text);
                all.for_each(|(labels, value)| sample(&mut text, family, labels, value, ""));
            }
        }
        if self == Self::OpenMetrics {
            text += END;
        }
        text
    }

    /// Writes the lines in front of the series of `family`.
    pub(super) fn head(self, family: Family, text: &mut String) {
        let name = match self {
            Self::Prometheus => &*family.sample_name(),
            Self::OpenMetrics => family.name(),
        };
        let kind = match family.kind() {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        };
        push(text, format_args!("# HELP {name} {}\n# TYPE {name} {kind}\n", family.help()));
        if self == Self::OpenMetrics && family.unit() == Unit::Seconds {
            push(text, format_args!("# UNIT {name} seconds\n"));
        }
    }
}

/// The end of a text of OpenMetrics.
pub(super) const END: &str = "# EOF\n";

/// Writes the lines of one series, each with `timestamp` behind its value: empty, or a space and a number of seconds.
pub(super) fn sample(text: &mut String, family: Family, labels: &[Name], value: &Value, timestamp: &str) {
    let name = family.name();
    let pairs = pairs(family, labels);
    let braces = if pairs.is_empty() { String::new() } else { format!("{{{pairs}}}") };
    match value {
        Value::Count(count) => push(text, format_args!("{name}_total{braces} {count}{timestamp}\n")),
        Value::Level(level) => push(text, format_args!("{name}{braces} {level}{timestamp}\n")),
        Value::Distribution(distribution) => {
            let Kind::Histogram(bounds) = family.kind() else { return };
            let comma = if pairs.is_empty() { "" } else { "," };
            let bounds = bounds.iter().map(|bound| bound_text(family.unit(), *bound));
            for (bound, count) in bounds.chain(["+Inf".to_owned()]).zip(distribution.cumulative()) {
                push(text, format_args!("{name}_bucket{{{pairs}{comma}le=\"{bound}\"}} {count}{timestamp}\n"));
            }
            let Distribution { sum, count, .. } = distribution;
            let sum = quotient(*sum, per_one(family.unit()));
            push(text, format_args!("{name}_sum{braces} {sum}{timestamp}\n{name}_count{braces} {count}{timestamp}\n"));
        }
    }
}

fn push(text: &mut String, more: std::fmt::Arguments<'_>) {
    text.write_fmt(more).expect("a string takes everything");
}

/// Returns the labels as they stand between braces.
fn pairs(family: Family, labels: &[Name]) -> String {
    let pairs = family.labels().iter().zip(labels).map(|(name, value)| format!("{name}=\"{}\"", escaped(value)));
    pairs.collect::<Vec<_>>().join(",")
}

/// Returns the value of a label as it stands between quotes.
fn escaped(value: &str) -> String {
    let mut text = String::with_capacity(value.len());
    for character in value.chars() {
        match character {
            '\\' => text += "\\\\",
            '"' => text += "\\\"",
            '\n' => text += "\\n",
            other => text.push(other),
        }
    }
    text
}

/// Returns a bound as Prometheus writes it whichever format it has read, so that its series are the same: as Go does, with a point.
pub(crate) fn bound_text(unit: Unit, bound: u64) -> String {
    match (unit, bound) {
        (Unit::Seconds, 1..100) => {
            let text = quotient(bound, if bound.is_multiple_of(10) { 10 } else { 1 });
            let exponent = if bound.is_multiple_of(10) { 5 } else { 6 };
            format!("{text}e-0{exponent}")
        }
        // Seven digits and more have an exponent. A bound of bytes is a whole number.
        (Unit::Bytes, 1_000_000..) => {
            let digits = bound.to_string();
            let (first, rest) = digits.split_at(1);
            let places = rest.trim_end_matches('0');
            format!("{first}{}{places}e+{:02}", if places.is_empty() { "" } else { "." }, rest.len())
        }
        _ => {
            let text = quotient(bound, per_one(unit));
            if text.contains('.') { text } else { text + ".0" }
        }
    }
}

/// Returns `value / per_one`, which is a power of ten, as an exact decimal number.
fn quotient(value: u64, per_one: u64) -> String {
    if per_one == 1 || value.is_multiple_of(per_one) {
        return (value / per_one).to_string();
    }
    let digits = per_one.ilog10() as usize;
    let text = format!("{}.{:0digits$}", value / per_one, value % per_one);
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_exact_and_bounds_are_as_prometheus_writes_them() {
        assert_eq!(quotient(1_500_000, 1_000_000), "1.5");
        assert_eq!(quotient(1, 1_000_000), "0.000001");
        assert_eq!(quotient(3_000_000, 1_000_000), "3");
        let bounds = [0, 10, 50, 100, 13_000, 650_000, 1_000_000, 100_000_000];
        let texts = bounds.map(|bound| bound_text(Unit::Seconds, bound));
        assert_eq!(texts, ["0.0", "1e-05", "5e-05", "0.0001", "0.013", "0.65", "1.0", "100.0"]);
        assert_eq!(bound_text(Unit::None, 5), "5.0");
        let bounds = [0, 1_024, 262_144, 1 << 20, 16 << 20, 4 << 30, 3_000_000];
        let texts = bounds.map(|bound| bound_text(Unit::Bytes, bound));
        assert_eq!(texts, ["0.0", "1024.0", "262144.0", "1.048576e+06", "1.6777216e+07", "4.294967296e+09", "3e+06"]);
    }

    #[test]
    fn labels_are_escaped() {
        let mut series = Series::default();
        series.add(Family::Rejected, &["a \"b\"\\\n".into()], 2);
        let text = TextFormat::Prometheus.encode(&series);
        assert!(text.ends_with("rehearsal_rejected_attempts_total{cause=\"a \\\"b\\\"\\\\\\n\"} 2\n"), "{text}");
        assert!(text.contains("# TYPE rehearsal_rejected_attempts_total counter\n"));
        let text = TextFormat::OpenMetrics.encode(&series);
        assert!(text.contains("# TYPE rehearsal_rejected_attempts counter\n") && text.ends_with(END), "{text}");
    }

    #[test]
    fn a_series_has_the_kind_of_its_requests_if_they_have_one() {
        let mut series = Series::default();
        series.add(Family::Requests, &["OK".into()], 1);
        series.add(Family::Requests, &["OK".into(), "small".into()], 2);
        series.observe(Family::RequestDuration, &["OK".into(), "small".into()], 900);
        let text = TextFormat::Prometheus.encode(&series);
        for line in [
            "rehearsal_requests_total{status=\"OK\"} 1\n",
            "rehearsal_requests_total{status=\"OK\",kind=\"small\"} 2\n",
            "rehearsal_request_duration_seconds_count{status=\"OK\",kind=\"small\"} 1\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }

    #[test]
    fn a_histogram_has_its_buckets_its_sum_and_its_count() {
        let mut series = Series::default();
        for value in [900, 2_500_000] {
            series.observe(Family::RequestDuration, &["OK".into()], value);
        }
        let text = TextFormat::OpenMetrics.encode(&series);
        assert!(text.contains("# UNIT rehearsal_request_duration_seconds seconds\n"));
        for line in [
            "rehearsal_request_duration_seconds_bucket{status=\"OK\",le=\"0.0008\"} 0\n",
            "rehearsal_request_duration_seconds_bucket{status=\"OK\",le=\"0.001\"} 1\n",
            "rehearsal_request_duration_seconds_bucket{status=\"OK\",le=\"+Inf\"} 2\n",
            "rehearsal_request_duration_seconds_sum{status=\"OK\"} 2.5009\n",
            "rehearsal_request_duration_seconds_count{status=\"OK\"} 2\n",
        ] {
            assert!(text.contains(line), "{line}{text}");
        }
    }
}
