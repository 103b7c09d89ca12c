//! OTLP: the metrics as a message to a collector of OpenTelemetry.

use prost::Message;

use super::{
    family::{Family, Kind, Unit},
    histogram::Distribution,
    series::{Series, Value, per_one},
};
use crate::{
    proto::otlp::{
        AggregationTemporality, AnyValue, ExportMetricsServiceRequest, Gauge, Histogram, HistogramDataPoint,
        InstrumentationScope, KeyValue, Metric, NumberDataPoint, Resource, ResourceMetrics, ScopeMetrics, Sum,
        any_value, metric,
    },
    record::Name,
};

/// The media type of [`encode_otlp`].
pub const OTLP: &str = "application/x-protobuf";

/// The times of a message: when counting began, and now, in nanoseconds of Unix time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OtlpTimes {
    /// The time at which all counters were zero.
    pub start_ns: u64,
    /// The present time.
    pub now_ns: u64,
}

/// The names of gRPC's metrics and labels, whose dots do not follow from the names for Prometheus.
const GRPC_NAMES: [(&str, &str); 23] = [
    ("grpc_client_attempt_started", "grpc.client.attempt.started"),
    ("grpc_client_attempt_duration_seconds", "grpc.client.attempt.duration"),
    (
        "grpc_client_attempt_sent_total_compressed_message_size_bytes",
        "grpc.client.attempt.sent_total_compressed_message_size",
    ),
    (
        "grpc_client_attempt_rcvd_total_compressed_message_size_bytes",
        "grpc.client.attempt.rcvd_total_compressed_message_size",
    ),
    ("grpc_client_call_duration_seconds", "grpc.client.call.duration"),
    ("grpc_client_call_retries", "grpc.client.call.retries"),
    ("grpc_client_call_transparent_retries", "grpc.client.call.transparent_retries"),
    ("grpc_client_call_hedges", "grpc.client.call.hedges"),
    ("grpc_client_call_retry_delay_seconds", "grpc.client.call.retry_delay"),
    ("grpc_lb_outlier_detection_ejections_enforced", "grpc.lb.outlier_detection.ejections_enforced"),
    ("grpc_lb_outlier_detection_ejections_unenforced", "grpc.lb.outlier_detection.ejections_unenforced"),
    ("grpc_lb_pick_first_connection_attempts_succeeded", "grpc.lb.pick_first.connection_attempts_succeeded"),
    ("grpc_lb_pick_first_connection_attempts_failed", "grpc.lb.pick_first.connection_attempts_failed"),
    ("grpc_lb_pick_first_disconnections", "grpc.lb.pick_first.disconnections"),
    ("grpc_server_call_started", "grpc.server.call.started"),
    ("grpc_server_call_duration_seconds", "grpc.server.call.duration"),
    (
        "grpc_server_call_sent_total_compressed_message_size_bytes",
        "grpc.server.call.sent_total_compressed_message_size",
    ),
    (
        "grpc_server_call_rcvd_total_compressed_message_size_bytes",
        "grpc.server.call.rcvd_total_compressed_message_size",
    ),
    ("grpc_method", "grpc.method"),
    ("grpc_target", "grpc.target"),
    ("grpc_status", "grpc.status"),
    ("grpc_lb_outlier_detection_detection_method", "grpc.lb.outlier_detection.detection_method"),
    ("grpc_lb_outlier_detection_unenforced_reason", "grpc.lb.outlier_detection.unenforced_reason"),
];

/// Returns all series as a message to a collector, from the process that calls itself `instance`.
pub fn encode_otlp(series: &Series, instance: &str, times: OtlpTimes) -> Vec<u8> {
    let metrics = Family::ALL.into_iter().filter_map(|family| metric(series, family, times));
    let scope = InstrumentationScope { name: "rehearsal".to_owned(), version: env!("CARGO_PKG_VERSION").to_owned() };
    let attributes = vec![attribute("service.name", "rehearsal"), attribute("service.instance.id", instance)];
    let request = ExportMetricsServiceRequest {
        resource_metrics: vec![ResourceMetrics {
            resource: Some(Resource { attributes }),
            scope_metrics: vec![ScopeMetrics { scope: Some(scope), metrics: metrics.collect() }],
        }],
    };
    request.encode_to_vec()
}

/// Returns the name that OpenTelemetry has for a metric or a label.
fn name(prometheus: &str) -> String {
    match GRPC_NAMES.iter().find(|(name, _)| *name == prometheus) {
        Some((_, name)) => (*name).to_owned(),
        None => prometheus.trim_end_matches("_seconds").replacen("rehearsal_", "rehearsal.", 1),
    }
}

fn attribute(key: &str, value: &str) -> KeyValue {
    let value = AnyValue { value: Some(any_value::Value::StringValue(value.to_owned())) };
    KeyValue { key: name(key), value: Some(value) }
}

fn metric(series: &Series, family: Family, times: OtlpTimes) -> Option<Metric> {
    let mut series = series.of_family(family).peekable();
    series.peek()?;
    let attributes = |labels: &[Name]| {
        let pairs = family.labels().iter().zip(labels);
        pairs.map(|(key, value)| attribute(key, value)).collect::<Vec<_>>()
    };
    let numbers = |(labels, value): (&[Name], &Value)| {
        let as_int = match value {
            Value::Count(count) => i64::try_from(*count).unwrap_or(i64::MAX),
            Value::Level(level) => *level,
            Value::Distribution(_) => return None,
        };
        Some(NumberDataPoint {
            start_time_unix_nano: times.start_ns,
            time_unix_nano: times.now_ns,
            as_int: Some(as_int),
            attributes: attributes(labels),
        })
    };
    let cumulative = AggregationTemporality::Cumulative.into();
    let data = match family.kind() {
        Kind::Gauge => metric::Data::Gauge(Gauge { data_points: series.filter_map(numbers).collect() }),
        Kind::Counter => metric::Data::Sum(Sum {
            data_points: series.filter_map(numbers).collect(),
            aggregation_temporality: cumulative,
            is_monotonic: true,
        }),
        Kind::Histogram(bounds) => {
            let points = series.filter_map(|(labels, value)| match value {
                Value::Distribution(distribution) => {
                    Some(point(distribution, bounds, per_one(family.unit()), attributes(labels), times))
                }
                _ => None,
            });
            metric::Data::Histogram(Histogram { data_points: points.collect(), aggregation_temporality: cumulative })
        }
    };
    let unit = match family.unit() {
        Unit::None => "1",
        Unit::Seconds => "s",
        Unit::Bytes => "By",
    };
    Some(Metric {
        name: name(family.name()),
        description: family.help().to_owned(),
        unit: unit.to_owned(),
        data: Some(data),
    })
}

fn point(
    distribution: &Distribution,
    bounds: &[u64],
    per_one: u64,
    attributes: Vec<KeyValue>,
    times: OtlpTimes,
) -> HistogramDataPoint {
    HistogramDataPoint {
        start_time_unix_nano: times.start_ns,
        time_unix_nano: times.now_ns,
        count: distribution.count,
        sum: Some(distribution.sum as f64 / per_one as f64),
        bucket_counts: distribution.buckets.clone(),
        explicit_bounds: bounds.iter().map(|bound| *bound as f64 / per_one as f64).collect(),
        attributes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_metric_of_grpc_has_its_own_name() {
        for family in Family::ALL {
            let is_of_grpc = family.name().starts_with("grpc_");
            assert_eq!(name(family.name()).starts_with("grpc."), is_of_grpc, "{}", family.name());
            for label in family.labels().iter().filter(|label| label.starts_with("grpc_")) {
                assert!(name(label).starts_with("grpc."), "{label}");
            }
        }
        assert_eq!(name("rehearsal_request_duration_seconds"), "rehearsal.request_duration");
    }

    #[test]
    fn a_message_has_the_values_with_their_times() {
        let mut series = Series::default();
        series.add(Family::Requests, &["OK".into()], 0);
        series.observe(Family::RequestDuration, &["OK".into()], 2_500);
        let bytes = encode_otlp(&series, "7", OtlpTimes { start_ns: 1, now_ns: 2 });
        let request = ExportMetricsServiceRequest::decode(&*bytes).unwrap();
        let metrics = &request.resource_metrics[0].scope_metrics[0].metrics;
        let Some(metric::Data::Sum(sum)) = &metrics[0].data else { panic!("{metrics:?}") };
        assert_eq!((sum.data_points[0].as_int, sum.data_points[0].time_unix_nano), (Some(0), 2));
        let Some(metric::Data::Histogram(histogram)) = &metrics[1].data else { panic!("{metrics:?}") };
        let point = &histogram.data_points[0];
        assert_eq!((point.count, point.sum, point.bucket_counts.len()), (1, Some(0.0025), 42));
        assert_eq!((metrics[1].name.as_str(), metrics[1].unit.as_str()), ("rehearsal.request_duration", "s"));
    }
}
