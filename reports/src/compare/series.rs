//! What is compared over time.

use std::time::Duration;

use crate::frame::Windows;

/// The length of the windows in which series are compared.
pub const LENGTH: Duration = Duration::from_millis(100);

/// A run over time, in windows of 100 ms; longer ones for runs of hours.
#[derive(Debug, Clone, PartialEq)]
pub struct Series {
    pub length_s: f64,
    /// Successes a second, by when they came.
    pub goodput: Vec<Option<f64>>,
    /// In seconds, by when requests were intended; `None` where there was none.
    pub latency_p95: Vec<Option<f64>>,
}

impl Series {
    pub(super) fn from_windows(windows: &Windows) -> Self {
        let rate = |count: &u64| Some(*count as f64 / windows.length_s);
        Self {
            length_s: windows.length_s,
            goodput: windows.completed_ok.iter().map(rate).collect(),
            latency_p95: windows.p95.clone(),
        }
    }
}

/// The mean of several series, place by place, of those that have a value there.
pub fn mean<'a>(series: impl Iterator<Item = &'a Vec<Option<f64>>> + Clone) -> Vec<Option<f64>> {
    fold(series, |values| values.iter().sum::<f64>() / values.len() as f64)
}

/// One value for each place, of the values that the series have there; none where none has.
pub fn fold<'a>(
    series: impl Iterator<Item = &'a Vec<Option<f64>>> + Clone,
    of: impl Fn(&[f64]) -> f64,
) -> Vec<Option<f64>> {
    let longest = series.clone().map(Vec::len).max().unwrap_or(0);
    let at = |index: usize| {
        let values: Vec<f64> = series.clone().filter_map(|series| series.get(index).copied().flatten()).collect();
        (!values.is_empty()).then(|| of(&values))
    };
    (0..longest).map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_mean_is_of_those_who_have_a_value() {
        let (a, b) = (vec![Some(1.0), None, None], vec![Some(3.0), Some(4.0)]);
        assert_eq!(mean([&a, &b].into_iter()), [Some(2.0), Some(4.0), None]);
    }
}
