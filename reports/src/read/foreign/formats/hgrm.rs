//! HdrHistogram, the output of percentiles (`.hgrm`): a value and the share of values up to it in each line.

use super::{Format, Gives};
use crate::{distribution::Distribution, read::columns::unit};

pub(super) const FORMAT: Format = Format {
    name: "hgrm",
    source: "HdrHistogram (.hgrm)",
    is_it: |head| {
        let names: Vec<&str> = head.lines().next().unwrap_or_default().split_whitespace().collect();
        names == ["Value", "Percentile", "TotalCount", "1/(1-Percentile)"]
    },
    gives: Gives::Quantiles(|text, unit_us| {
        let unit_us = unit_us.or_else(|| unit(labelled(text, "#[Unit")?)).ok_or(
            "its values have no unit; write --columns latency=Value:ms, or the unit that they have: s, ms, us or ns",
        )?;
        spectrum(text, unit_us)
    }),
};

/// Reads the table of values and shares.
pub(super) fn spectrum(text: &str, unit_us: f64) -> Result<Distribution, String> {
    let mut distribution = Distribution::default();
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("#[") {
            distribution.mean_s = distribution.mean_s.or(number(rest, "Mean").map(|mean| mean * unit_us / 1e6));
            distribution.count = distribution.count.or(number(rest, "Total count").map(|count| count as u64));
            continue;
        }
        let numbers: Vec<f64> = line.split_whitespace().map_while(|word| word.parse().ok()).collect();
        if let [value, share, count, ..] = numbers[..] {
            distribution.add(share, value * unit_us / 1e6)?;
            if share == 1.0 {
                distribution.count = Some(count as u64);
            }
        }
    }
    Ok(distribution)
}

fn number(text: &str, label: &str) -> Option<f64> {
    labelled(text, label)?.parse().ok()
}

/// Returns what is behind a word and an equals sign.
fn labelled<'a>(text: &'a str, label: &str) -> Option<&'a str> {
    let rest = text.split_once(label)?.1.trim_start().strip_prefix('=')?;
    rest.split([',', ']']).next().map(str::trim)
}
