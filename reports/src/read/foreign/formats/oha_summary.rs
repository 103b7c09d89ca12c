//! oha, `--output-format json`: percentiles in seconds, and the number of responses by status.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::{Format, Gives};
use crate::distribution::Distribution;

pub(super) const FORMAT: Format = Format {
    name: "oha-summary",
    source: "oha (--output-format json)",
    is_it: |head| head.is_document_with(&["summary", "successRate", "latencyPercentiles"]),
    gives: Gives::Quantiles(|text, _| read(text)),
};

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    summary: Summary,
    latency_percentiles: BTreeMap<String, Option<f64>>,
    #[serde(default)]
    status_code_distribution: BTreeMap<String, u64>,
    #[serde(default)]
    error_distribution: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Summary {
    slowest: Option<f64>,
    fastest: Option<f64>,
    average: Option<f64>,
}

fn read(text: &str) -> Result<Distribution, String> {
    let document: Document = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let mut distribution = Distribution { mean_s: document.summary.average, ..Distribution::default() };
    for (name, seconds) in &document.latency_percentiles {
        let percent = name.strip_prefix('p').and_then(|percent| percent.parse::<f64>().ok());
        if let Some((percent, seconds)) = percent.zip(*seconds) {
            distribution.add(percent / 100.0, seconds)?;
        }
    }
    for (share, seconds) in [(0.0, document.summary.fastest), (1.0, document.summary.slowest)] {
        seconds.map_or(Ok(()), |seconds| distribution.add(share, seconds))?;
    }
    let failed = document.status_code_distribution.iter().filter(|(code, _)| code.starts_with(['4', '5']));
    let errors: u64 = document.error_distribution.values().sum();
    distribution.failed = Some(failed.map(|(_, count)| count).sum::<u64>() + errors);
    distribution.count = Some(document.status_code_distribution.values().sum::<u64>() + errors);
    distribution.statuses = document.status_code_distribution;
    distribution.statuses.extend(document.error_distribution);
    Ok(distribution)
}
