//! fortio, `-json FILE`: a histogram of durations in seconds, percentiles, and the number of requests by status.

use serde::Deserialize;
use std::collections::BTreeMap;

use super::{Format, Gives};
use crate::distribution::Distribution;

pub(super) const FORMAT: Format = Format {
    name: "fortio",
    source: "fortio (-json)",
    is_it: |head| head.is_document_with(&["DurationHistogram", "RunType"]),
    gives: Gives::Quantiles(|text, _| read(text)),
};

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Document {
    duration_histogram: Histogram,
    ret_codes: Option<BTreeMap<String, u64>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Histogram {
    count: u64,
    min: f64,
    max: f64,
    avg: f64,
    percentiles: Option<Vec<Percentile>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Percentile {
    percentile: f64,
    value: f64,
}

fn read(text: &str) -> Result<Distribution, String> {
    let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let histogram = document.duration_histogram;
    let mut distribution =
        Distribution { count: Some(histogram.count), mean_s: Some(histogram.avg), ..Distribution::default() };
    distribution.add(0.0, histogram.min)?;
    for Percentile { percentile, value } in histogram.percentiles.into_iter().flatten() {
        distribution.add(percentile / 100.0, value)?;
    }
    distribution.add(1.0, histogram.max)?;
    distribution.statuses = document.ret_codes.unwrap_or_default();
    // Of HTTP a number, of gRPC the name of a health; -1 stands for an error of the socket.
    let is_failure =
        |status: &str| status.parse::<i64>().map_or(status != "SERVING", |code| !(200..400).contains(&code));
    let failed = distribution.statuses.iter().filter(|(status, _)| is_failure(status)).map(|(_, count)| count);
    distribution.failed = (!distribution.statuses.is_empty()).then(|| failed.sum());
    Ok(distribution)
}
