//! Artillery, `--output FILE`: summaries of response times in milliseconds, and counters.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Format, Gives};
use crate::distribution::Distribution;

pub(super) const FORMAT: Format = Format {
    name: "artillery",
    source: "Artillery (--output)",
    is_it: |head| head.is_document_with(&["aggregate", "counters", "summaries"]),
    gives: Gives::Quantiles(|text, _| read(text)),
};

#[derive(Deserialize)]
struct Document {
    aggregate: Aggregate,
}

#[derive(Deserialize)]
struct Aggregate {
    counters: BTreeMap<String, f64>,
    summaries: BTreeMap<String, BTreeMap<String, Option<f64>>>,
}

impl Aggregate {
    /// Returns the counters whose names begin with `prefix`, by the rest of their names.
    fn counters_below(&self, prefix: &str) -> BTreeMap<String, u64> {
        let counters = self.counters.iter();
        counters.filter_map(|(name, count)| Some((name.strip_prefix(prefix)?.to_owned(), *count as u64))).collect()
    }
}

/// The names of percentiles in a summary, and their shares.
const PERCENTILES: [(&str, f64); 8] = [
    ("min", 0.0),
    ("median", 0.5),
    ("p50", 0.5),
    ("p75", 0.75),
    ("p90", 0.9),
    ("p95", 0.95),
    ("p99", 0.99),
    ("p999", 0.999),
];

fn read(text: &str) -> Result<Distribution, String> {
    let Document { aggregate } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let name = ["http.response_time", "grpc.response_time", "engine.grpc.response_time"];
    let summary = name.into_iter().find_map(|name| aggregate.summaries.get(name));
    let summary = summary.ok_or("it has no summary `http.response_time`")?;
    let value = |name: &str| summary.get(name).copied().flatten();
    let mut distribution = Distribution { mean_s: value("mean").map(|ms| ms / 1e3), ..Distribution::default() };
    for (name, share) in PERCENTILES {
        if let Some(ms) = value(name) {
            distribution.add(share, ms / 1e3)?;
        }
    }
    if let Some(ms) = value("max") {
        distribution.add(1.0, ms / 1e3)?;
    }
    let errors = aggregate.counters_below("errors.");
    distribution.statuses = aggregate.counters_below("http.codes.");
    let answered =
        distribution.statuses.iter().filter(|(code, _)| code.starts_with(['4', '5'])).map(|(_, count)| count);
    distribution.failed = Some(answered.sum::<u64>() + errors.values().sum::<u64>());
    distribution.statuses.extend(errors);
    distribution.count = aggregate.counters.get("http.requests").map(|count| *count as u64);
    Ok(distribution)
}
