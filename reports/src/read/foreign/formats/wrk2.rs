//! wrk2 and wrk, `--latency`: a text with percentiles, each with its unit.

use super::{Format, Gives, hgrm};
use crate::{distribution::Distribution, read::moment::span_us};

pub(super) const FORMAT: Format = Format {
    name: "wrk2",
    source: "wrk2 or wrk (--latency)",
    is_it: |head| head.text.starts_with("Running ") && head.text.contains("Latency Distribution"),
    gives: Gives::Quantiles(|text, _| read(text)),
};

/// The unit of the detailed percentiles of wrk2, in microseconds.
const SPECTRUM_UNIT_US: f64 = 1e3;

fn read(text: &str) -> Result<Distribution, String> {
    let mut distribution = match text.split_once("Detailed Percentile spectrum:") {
        Some((_, spectrum)) => hgrm::spectrum(spectrum, SPECTRUM_UNIT_US)?,
        None => Distribution::default(),
    };
    let has_spectrum = !distribution.quantiles().is_empty();
    let mut failed = 0;
    for line in text.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        let first = words.next().unwrap_or_default();
        let percent = first.strip_suffix('%').and_then(|percent| percent.parse::<f64>().ok());
        if let Some((percent, span)) = percent.filter(|_| !has_spectrum).zip(words.next()) {
            let us = span_us(span, None).map_err(|_| format!("`{span}` is not a time"))?;
            distribution.add(percent / 100.0, us / 1e6)?;
        }
        if line.contains(" requests in ") {
            distribution.count = first.parse().ok();
        }
        if let Some(counts) = line.strip_prefix("Socket errors:") {
            failed +=
                counts.split(|c: char| !c.is_ascii_digit()).filter_map(|word| word.parse::<u64>().ok()).sum::<u64>();
        }
        if let Some(count) = line.strip_prefix("Non-2xx or 3xx responses:") {
            failed += count.trim().parse::<u64>().unwrap_or(0);
        }
    }
    distribution.failed = Some(failed);
    Ok(distribution)
}
