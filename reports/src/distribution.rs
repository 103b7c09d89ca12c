//! Quantiles of latencies without the requests that they are of, as some load generators report them.
//!
//! Nothing is known of such a run over time: it has no series, no episodes and no verdict. Its quantiles are compared with
//! those of other runs.

use std::{collections::BTreeMap, path::PathBuf};

use kernel::measure::Summary;
use serde_json::{Value, json};

/// Quantiles of the latencies of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Distribution {
    /// The number of requests.
    pub count: Option<u64>,
    /// The number of requests that failed.
    pub failed: Option<u64>,
    /// The mean, in seconds.
    pub mean_s: Option<f64>,
    /// The number of requests by status or error, in the words of the program that wrote it.
    pub statuses: BTreeMap<String, u64>,
    /// Each share of the requests, 0 to 1, with the latency in seconds that it does not exceed; ascending.
    pub(crate) quantiles: Vec<(f64, f64)>,
}

/// A distribution, and where it is from.
#[derive(Debug, Clone, PartialEq)]
pub struct NamedDistribution {
    /// The file or the folder.
    pub place: PathBuf,
    /// The program that wrote it, or the world of a run.
    pub source: String,
    /// The quantiles.
    pub distribution: Distribution,
    /// True if the requests are known, and not only their quantiles.
    pub has_requests: bool,
}

impl Distribution {
    /// Adds a quantile. One that is there already stays.
    ///
    /// # Errors
    /// It is no share, or the latency is no length of time.
    pub fn add(&mut self, share: f64, seconds: f64) -> Result<(), String> {
        if !(0.0..=1.0).contains(&share) || !seconds.is_finite() || seconds < 0.0 {
            return Err(format!("{seconds} s at {} % is not a quantile", share * 100.0));
        }
        let place = self.quantiles.partition_point(|(known, _)| *known < share);
        if self.quantiles.get(place).is_none_or(|(known, _)| *known != share) {
            self.quantiles.insert(place, (share, seconds));
        }
        Ok(())
    }

    /// Returns the shares and latencies, ascending.
    pub fn quantiles(&self) -> &[(f64, f64)] {
        &self.quantiles
    }

    /// Returns the latency in seconds at a share. Between two shares that are close to each other it is the one of the
    /// greater, which is at most too high by what lies between them; `None` if no share is close.
    pub fn at(&self, share: f64) -> Option<f64> {
        let place = self.quantiles.partition_point(|(known, _)| *known < share - 1e-9);
        let (known, seconds) = *self.quantiles.get(place)?;
        if (known - share).abs() <= 1e-9 {
            return Some(seconds);
        }
        let below = self.quantiles.get(place.checked_sub(1)?)?.0;
        // A fine spectrum has several steps between a percentile and the end.
        (known - below <= (1.0 - share) / 2.0 + 1e-9).then_some(seconds)
    }

    /// Returns the distribution of a run whose requests are known.
    pub fn of_summary(summary: &Summary) -> Self {
        let overall = &summary.overall;
        let values = [
            (0.5, overall.latency_p50),
            (0.9, overall.latency_p90),
            (0.95, overall.latency_p95),
            (0.99, overall.latency_p99),
            (0.999, overall.latency_p999),
            (1.0, overall.latency_max),
        ];
        Self {
            count: Some(overall.requests),
            failed: Some(overall.requests - overall.succeeded),
            mean_s: None,
            statuses: summary.statuses.clone(),
            quantiles: values.into_iter().filter_map(|(share, seconds)| Some((share, seconds?))).collect(),
        }
    }
}

/// The version of the document. It is raised when a field changes its meaning or is removed.
const SCHEMA: u32 = 1;

/// Returns quantiles for programs: those of each distribution as pairs of a share and seconds.
pub fn json(distributions: &[NamedDistribution]) -> Value {
    let of_each = distributions.iter().map(|named| {
        let distribution = &named.distribution;
        json!({
            "file": named.place,
            "source": named.source,
            "has_requests": named.has_requests,
            "requests": distribution.count,
            "failed": distribution.failed,
            "mean_s": distribution.mean_s,
            "statuses": distribution.statuses,
            "quantiles": distribution.quantiles,
        })
    });
    json!({ "schema": SCHEMA, "distributions": of_each.collect::<Vec<_>>() })
}

/// The shares that reports show.
pub const SHOWN: [f64; 8] = [0.5, 0.75, 0.9, 0.95, 0.99, 0.999, 0.9999, 1.0];

/// Returns the name of a share: `p99.9`, `max`.
pub fn name(share: f64) -> String {
    if share == 1.0 { "max".to_owned() } else { format!("p{}", (share * 1e6).round() / 1e4) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_that_of_a_share_close_by_or_none() {
        let mut distribution = Distribution::default();
        for (share, seconds) in [(0.99, 3.0), (0.5, 1.0), (0.75, 2.0), (1.0, 9.0), (0.5, 7.0)] {
            distribution.add(share, seconds).unwrap();
        }
        assert_eq!(
            [0.5, 0.75, 0.99, 1.0].map(|share| distribution.at(share)),
            [Some(1.0), Some(2.0), Some(3.0), Some(9.0)]
        );
        assert_eq!([0.9, 0.999].map(|share| distribution.at(share)), [None, None], "far from any");
        assert!(distribution.add(1.5, 1.0).is_err() && distribution.add(0.5, f64::NAN).is_err());
        assert_eq!([name(0.999), name(0.5), name(1.0)], ["p99.9", "p50", "max"]);
    }
}
