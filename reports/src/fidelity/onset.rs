//! The rate at which goodput stops following.

use kernel::run_folder::campaign::RateVariant;

use crate::compare::Member;

/// Goodput that is less than this share of what is offered does not follow any more.
const FOLLOWING: f64 = 0.95;

/// How the two worlds take rising rates.
#[derive(Debug, Clone, PartialEq)]
pub struct Onset {
    /// The scenario.
    pub scenario: String,
    /// Ascending by rate.
    pub points: Vec<RatePoint>,
    /// In requests per second; `None` if it lies outside the rates that were played.
    pub real: Option<f64>,
    pub sim: Option<f64>,
}

/// One rate.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct RatePoint {
    /// Requests per second.
    pub rate: f64,
    /// The share of the requests that succeed, at the median of the runs.
    pub real: f64,
    pub sim: f64,
}

impl RatePoint {
    pub(super) fn from_runs(rate: f64, real: &[Member], sim: &[Member]) -> Self {
        Self { rate, real: success(real), sim: success(sim) }
    }
}

impl Onset {
    /// How far the simulation is off, as a share.
    pub fn error(&self) -> Option<f64> {
        crate::compare::distance::relative(self.real?, self.sim?)
    }
}

fn success(members: &[Member]) -> f64 {
    let mut rates: Vec<f64> = members.iter().filter_map(|member| member.summary.overall.success_rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}

/// Of each scenario that was played at two rates at least.
pub(super) fn onsets(points: &[(RateVariant, RatePoint)]) -> Vec<Onset> {
    let mut names: Vec<&String> = points.iter().map(|(variant, _)| &variant.of).collect();
    names.sort();
    names.dedup();
    let of_scenario = |name: &String| {
        let mut points: Vec<RatePoint> =
            points.iter().filter(|(variant, _)| variant.of == *name).map(|(_, at)| *at).collect();
        points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        let onset =
            |share: fn(&RatePoint) -> f64| onset(&points.iter().map(|at| (at.rate, share(at))).collect::<Vec<_>>());
        let (real, sim) = (onset(|at| at.real), onset(|at| at.sim));
        (points.len() > 1).then(|| Onset { scenario: name.clone(), real, sim, points })
    };
    names.into_iter().filter_map(of_scenario).collect()
}

/// Where the line through `points`, rates and shares, first falls below what counts as following.
fn onset(points: &[(f64, f64)]) -> Option<f64> {
    points.windows(2).find_map(|pair| {
        let [(from, high), (to, low)] = [pair[0], pair[1]];
        (high >= FOLLOWING && low < FOLLOWING).then(|| from + (to - from) * (high - FOLLOWING) / (high - low))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_onset_is_where_the_line_falls_below_95_percent() {
        assert_eq!(onset(&[(10.0, 1.0), (20.0, 1.0), (30.0, 0.8)]).map(|rate| (rate * 10.0).round()), Some(225.0));
        assert_eq!(onset(&[(10.0, 1.0), (20.0, 0.99)]), None);
        assert_eq!(onset(&[(30.0, 0.5), (40.0, 0.4)]), None);
    }
}
