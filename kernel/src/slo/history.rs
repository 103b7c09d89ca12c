//! The burn rates of the rules of an objective over a run, as far as a plot shows them.

use super::{burn::AlertRule, firing::instants, scraped::Scraped, settings::Slo};

/// The most points of a curve.
const POINTS_MAX: u64 = 1_000;

/// The burn rates over both windows of a rule: multiples of the rate of errors that spends the budget within the objective's window, each
/// with its time in microseconds since the run began. A rate without a value is NaN.
///
/// A curve has up to a thousand points. Of more evaluations than that, each point is the greatest rate of several, one after the other.
#[derive(Debug, Clone, PartialEq)]
pub struct BurnRates {
    /// Over the long window.
    pub long: Vec<(u64, f64)>,
    /// Over the short window.
    pub short: Vec<(u64, f64)>,
}

impl BurnRates {
    /// Returns the rates of a rule over a run.
    pub(super) fn new(scraped: &Scraped, slo: &Slo, rule: &AlertRule) -> Self {
        let [long, short] = [rule.long, rule.short].map(|window| {
            let window_ms = u64::try_from(window.as_millis()).unwrap_or(u64::MAX);
            let budget = slo.error_budget();
            let rate = |at_ms| scraped.error_ratio(window_ms, at_ms).map_or(f64::NAN, |ratio| ratio / budget);
            thinned(instants(scraped, slo).map(|at_ms| (at_ms * 1_000, rate(at_ms))).collect())
        });
        Self { long, short }
    }
}

/// Returns up to `POINTS_MAX` points: the greatest of each of as many groups.
fn thinned(points: Vec<(u64, f64)>) -> Vec<(u64, f64)> {
    let group = (points.len() as u64).div_ceil(POINTS_MAX).max(1);
    let groups = points.chunks(usize::try_from(group).unwrap_or(usize::MAX));
    // A comparison with NaN is false, so that the point before stays unless it has no value itself.
    let greater = |a: (u64, f64), b: (u64, f64)| if b.1 > a.1 || a.1.is_nan() { b } else { a };
    groups.filter_map(|group| group.iter().copied().reduce(greater)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_point_of_several_evaluations_is_the_greatest() {
        let points: Vec<(u64, f64)> = (0..2_500).map(|at| (at, if at == 1_201 { 9.0 } else { 1.0 })).collect();
        let few = thinned(points.clone());
        assert_eq!((few.len(), few.contains(&(1_201, 9.0))), (834, true));
        assert_eq!(thinned(points[..900].to_vec()), points[..900]);
        let mut gaps = points;
        gaps[..2].iter_mut().for_each(|point| point.1 = f64::NAN);
        assert_eq!(thinned(gaps)[0], (2, 1.0));
        assert!(thinned(vec![(7, f64::NAN)])[0].1.is_nan());
    }
}
