//! A run over time, as it is compared.

use std::time::Duration;

use crate::fold::Windows;

/// The length of the windows in which series are compared.
pub const LENGTH: Duration = Duration::from_millis(100);

/// A run over time, in windows of 100 ms, or longer ones for runs of hours.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    /// The length of a window, in seconds.
    pub length_s: f64,
    /// The number of successes per second, by the time at which they were received.
    pub goodput: Vec<Option<f64>>,
    /// The p95 latency in seconds of the requests that ended in the window, as plots show it; `None` where none did.
    pub ended_latency_p95: Vec<Option<f64>>,
    /// The p95 latency in seconds of the requests intended in the window; `None` where there were none. Fidelity is measured by it.
    pub latency_p95: Vec<Option<f64>>,
}

impl Series {
    pub(super) fn from_windows(windows: &Windows) -> Self {
        Self {
            length_s: windows.length_s,
            goodput: windows.completed_ok.iter().map(|count| Some(*count as f64 / windows.length_s)).collect(),
            ended_latency_p95: windows.ended.p95.clone(),
            latency_p95: windows.p95.clone(),
        }
    }
}

/// Returns the mean of several series, place by place, over those that have a value there.
pub fn mean<'a>(series: impl Iterator<Item = &'a Vec<Option<f64>>> + Clone) -> Vec<Option<f64>> {
    fold(series, |values| values.iter().sum::<f64>() / values.len() as f64)
}

/// Returns, for each place, the result of `combine` for the values that the series have there; `None` where none has one.
pub fn fold<'a>(
    series: impl Iterator<Item = &'a Vec<Option<f64>>> + Clone,
    combine: impl Fn(&[f64]) -> f64,
) -> Vec<Option<f64>> {
    let longest = series.clone().map(Vec::len).max().unwrap_or(0);
    let mut folded = Vec::with_capacity(longest);
    for index in 0..longest {
        let values: Vec<f64> = series.clone().filter_map(|series| series.get(index).copied().flatten()).collect();
        folded.push((!values.is_empty()).then(|| combine(&values)));
    }
    folded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_over_the_series_that_have_a_value() {
        let (a, b) = (vec![Some(1.0), None, None], vec![Some(3.0), Some(4.0)]);
        assert_eq!(mean([&a, &b].into_iter()), [Some(2.0), Some(4.0), None]);
    }
}
