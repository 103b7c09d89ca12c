//! The rate at which goodput no longer follows the load.

use kernel::run_folder::campaign::RateVariant;

use crate::compare::Member;

/// The least share of the offered load with which goodput still follows it.
const FOLLOWING: f64 = 0.95;

/// The goodput of both worlds at rising rates.
#[derive(Debug, Clone, PartialEq)]
pub struct Onset {
    /// The name of the scenario.
    pub scenario: String,
    /// The rates, ascending.
    pub points: Vec<RatePoint>,
    /// The onset in reality, in requests per second; `None` if it is outside the rates that were run.
    pub real: Option<f64>,
    /// The onset in the simulation, in requests per second; `None` if it is outside the rates that were run.
    pub sim: Option<f64>,
}

/// The success at one rate.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct RatePoint {
    /// The rate in requests per second.
    pub rate: f64,
    /// The share of the requests that succeed in reality: the median over the runs.
    pub real: f64,
    /// The share of the requests that succeed in the simulation: the median over the runs.
    pub sim: f64,
}

impl RatePoint {
    pub(super) fn from_runs(rate: f64, real: &[Member], sim: &[Member]) -> Self {
        Self { rate, real: success(real), sim: success(sim) }
    }
}

impl Onset {
    /// Returns the error of the simulation, as a share of the real onset.
    pub fn error(&self) -> Option<f64> {
        crate::compare::distance::relative(self.real?, self.sim?)
    }
}

/// Returns the median success rate of the runs.
fn success(members: &[Member]) -> f64 {
    let mut rates: Vec<f64> = members.iter().filter_map(|member| member.summary.overall.success_rate).collect();
    rates.sort_by(f64::total_cmp);
    rates.get(rates.len() / 2).copied().unwrap_or(0.0)
}

/// Returns the onset of each scenario that was run at two or more rates.
pub(super) fn onsets(points: &[(RateVariant, RatePoint)]) -> Vec<Onset> {
    let mut names: Vec<&String> = points.iter().map(|(variant, _)| &variant.of).collect();
    names.sort();
    names.dedup();
    let mut onsets = Vec::new();
    for name in names {
        let of_scenario = points.iter().filter(|(variant, _)| variant.of == *name);
        let mut points: Vec<RatePoint> = of_scenario.map(|(_, point)| *point).collect();
        points.sort_by(|a, b| a.rate.total_cmp(&b.rate));
        if points.len() > 1 {
            onsets.push(Onset {
                scenario: name.clone(),
                real: onset(&points.iter().map(|point| (point.rate, point.real)).collect::<Vec<_>>()),
                sim: onset(&points.iter().map(|point| (point.rate, point.sim)).collect::<Vec<_>>()),
                points,
            });
        }
    }
    onsets
}

/// Returns the rate at which the line through `points`, rates and shares, first falls below [`FOLLOWING`].
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
