//! The format of Prometheus with native histograms: messages of protobuf, each behind its length.

use prost::Message;

use super::{
    family::{Family, Kind},
    histogram::{Distribution, SCHEMA},
    series::{Series, Value, per_one},
};
use crate::proto::prometheus::{
    Bucket, BucketSpan, Counter, Gauge, Histogram, LabelPair, Metric, MetricFamily, MetricType,
};

/// The media type of [`encode_protobuf`].
pub const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";

/// The values up to which a native histogram counts zeros, as Prometheus's own libraries have it: 2^-128.
const ZERO_THRESHOLD: f64 = 2.938_735_877_055_719e-39;

/// Returns all series as messages. Histograms have their classic buckets and native ones.
pub fn encode_protobuf(series: &Series) -> Vec<u8> {
    let mut bytes = Vec::new();
    for family in Family::ALL {
        let metric: Vec<_> = series.of_family(family).map(|(labels, value)| metric(family, labels, value)).collect();
        if metric.is_empty() {
            continue;
        }
        let kind = match family.kind() {
            Kind::Counter => MetricType::Counter,
            Kind::Gauge => MetricType::Gauge,
            Kind::Histogram(_) => MetricType::Histogram,
        };
        let message = MetricFamily {
            name: Some(family.sample_name()),
            help: Some(family.help().to_owned()),
            r#type: Some(kind.into()),
            metric,
        };
        message.encode_length_delimited(&mut bytes).expect("a vector takes everything");
    }
    bytes
}

fn metric(family: Family, labels: &[crate::record::Name], value: &Value) -> Metric {
    let pairs = family
        .labels()
        .iter()
        .zip(labels)
        .map(|(name, value)| LabelPair { name: Some((*name).to_owned()), value: Some(value.to_string()) });
    let mut metric = Metric { label: pairs.collect(), ..Metric::default() };
    match value {
        Value::Count(count) => metric.counter = Some(Counter { value: Some(*count as f64) }),
        Value::Level(level) => metric.gauge = Some(Gauge { value: Some(*level as f64) }),
        Value::Distribution(distribution) => metric.histogram = Some(histogram(family, distribution)),
    }
    metric
}

fn histogram(family: Family, distribution: &Distribution) -> Histogram {
    let bounds = match family.kind() {
        Kind::Histogram(bounds) => bounds,
        _ => &[],
    };
    let one = per_one(family.unit()) as f64;
    let bucket = bounds.iter().map(|bound| *bound as f64 / one).chain([f64::INFINITY]).zip(distribution.cumulative());
    let bucket = bucket.map(|(bound, count)| Bucket { cumulative_count: Some(count), upper_bound: Some(bound) });
    let (positive_span, positive_delta) = spans(distribution.native());
    Histogram {
        sample_count: Some(distribution.count),
        sample_sum: Some(distribution.sum as f64 / one),
        bucket: bucket.collect(),
        schema: Some(SCHEMA),
        zero_threshold: Some(ZERO_THRESHOLD),
        zero_count: Some(distribution.zeros()),
        positive_span,
        positive_delta,
    }
}

/// Returns the native buckets as spans of consecutive ones, and the differences of their counts.
fn spans(buckets: impl Iterator<Item = (i32, u64)>) -> (Vec<BucketSpan>, Vec<i64>) {
    let mut spans = Vec::<BucketSpan>::new();
    let mut deltas = Vec::new();
    // The index behind the last bucket, from which the next span counts.
    let mut next = 0;
    let mut before = 0;
    for (index, count) in buckets {
        match spans.last_mut().and_then(|span| span.length.as_mut()) {
            Some(length) if index == next => *length += 1,
            _ => spans.push(BucketSpan { offset: Some(index - next), length: Some(1) }),
        }
        next = index + 1;
        let count = i64::try_from(count).unwrap_or(i64::MAX);
        deltas.push(count - before);
        before = count;
    }
    (spans, deltas)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_buckets_are_a_span() {
        let (spans, deltas) = spans([(-3, 2), (-2, 5), (1, 1)].into_iter());
        let spans: Vec<_> = spans.iter().map(|span| (span.offset(), span.length())).collect();
        assert_eq!((spans, deltas), (vec![(-3, 2), (2, 1)], vec![2, 3, -4]));
    }

    #[test]
    fn messages_can_be_read_again_and_have_all_values() {
        let mut series = Series::default();
        series.add(Family::Requests, &["OK".into()], 3);
        for value in [0, 900, 950, 2_500_000] {
            series.observe(Family::RequestDuration, &["OK".into()], value);
        }
        let bytes = encode_protobuf(&series);
        let mut rest = &*bytes;
        let requests = MetricFamily::decode_length_delimited(&mut rest).unwrap();
        assert_eq!((requests.name(), requests.metric[0].counter.unwrap().value()), ("rehearsal_requests_total", 3.0));
        let durations = MetricFamily::decode_length_delimited(&mut rest).unwrap();
        assert!(rest.is_empty());
        let histogram = durations.metric[0].histogram.as_ref().unwrap();
        assert_eq!((histogram.sample_count(), histogram.zero_count()), (4, 1));
        assert_eq!(histogram.bucket.last().and_then(|bucket| bucket.cumulative_count), Some(4));
        let counts = histogram.positive_delta.iter().scan(0, |sum, delta| {
            *sum += delta;
            Some(*sum)
        });
        assert_eq!(counts.sum::<i64>(), 3);
    }
}
