//! How often the machine pauses while it works, and for how long.

use kernel::coldness::ColdnessRates;

use super::{
    super::samples::quantile,
    paths::{RunPaths, WorkingTime},
};

/// Runs at this rate or a higher one keep the machine warm; the others let it sleep between requests.
const WARM_FROM_RATE: u64 = 300;

/// The fewest pauses that are longer than a quantile of their tail.
const TAIL_MIN: f64 = 3.0;

/// The pauses of a machine.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Pauses {
    /// Number in a second of work that the machine begins warm.
    pub(super) per_second: f64,
    /// Number in a second of work that the machine begins after a long sleep. Between the two it is linear in the coldness.
    pub(super) per_second_cold: f64,
    /// Quantiles of their lengths, as (probability, microseconds) pairs.
    pub(super) lengths: Vec<(f64, f64)>,
}

impl Pauses {
    /// Counts the pauses of these runs. Returns `None` if there were none.
    ///
    /// The neighbours of a virtual machine work for a second or a minute and rest: in some runs pauses are many and long, in others few and short. A
    /// quarter of the runs at either end is left out. What is left is how the machine usually is; a mean over all is that of no run.
    pub(super) fn find<'a>(runs: impl Iterator<Item = &'a RunPaths>, rates: ColdnessRates) -> Option<Self> {
        let (warm, cold) = runs.partition::<Vec<_>, _>(|run| run.load.rate >= WARM_FROM_RATE);
        let groups = [warm, cold].map(|runs| usual(runs, rates));
        let mut lengths: Vec<f64> = groups.iter().flatten().flat_map(|(run, _)| run.pauses.iter().copied()).collect();
        lengths.sort_by(f64::total_cmp);
        let [per_second, per_second_cold] = per_second(&groups.map(|runs| Total::of_runs(&runs)));
        // Between the last two quantiles all lengths are equally probable. Without those of the tail, its mean would be half of the longest pause.
        let mut probabilities = vec![0.0, 0.1, 0.25, 0.5, 0.75, 0.9];
        probabilities
            .extend([0.95, 0.98, 0.99].iter().filter(|share| (1.0 - *share) * lengths.len() as f64 >= TAIL_MIN));
        let quantiles = probabilities.into_iter().chain([1.0]).map(|probability| {
            // To 0.1 µs, as all times of a calibration.
            Some((probability, (quantile(&lengths, probability)? * 10.0).round() / 10.0))
        });
        Some(Self { per_second, per_second_cold, lengths: quantiles.collect::<Option<_>>()? })
    }
}

/// Returns the runs between the calmest and the noisiest quarter, by the share of the time of work in which the machine paused.
fn usual(runs: Vec<&RunPaths>, rates: ColdnessRates) -> Vec<(&RunPaths, WorkingTime)> {
    let mut runs: Vec<_> = runs.into_iter().map(|run| (run, run.working(rates))).collect();
    runs.retain(|(_, working)| working.us > 0.0);
    runs.sort_by(|one, other| paused_share(one).total_cmp(&paused_share(other)));
    let left_out = runs.len() / 4;
    runs.drain(left_out..runs.len() - left_out).collect()
}

fn paused_share((run, working): &(&RunPaths, WorkingTime)) -> f64 {
    run.pauses.iter().sum::<f64>() / working.us
}

/// The pauses of several runs, and the time of work in seconds.
#[derive(Debug, Clone, Copy, Default)]
struct Total {
    pauses: f64,
    /// The part of the time for which the pauses of a warm machine count.
    warm: f64,
    /// The part of the time for which those of a cold machine count.
    cold: f64,
}

impl Total {
    fn of_runs(runs: &[(&RunPaths, WorkingTime)]) -> Self {
        runs.iter().fold(Self::default(), |total, (run, working)| Self {
            pauses: total.pauses + run.pauses.len() as f64,
            warm: total.warm + (working.us - working.cold_us) * 1e-6,
            cold: total.cold + working.cold_us * 1e-6,
        })
    }
}

/// Returns the pauses in a second of a warm and of a cold machine: those with which both groups have the pauses that were found in them.
fn per_second([one, other]: &[Total; 2]) -> [f64; 2] {
    let pauses = one.pauses + other.pauses;
    let [warm, cold] = [one.warm + other.warm, one.cold + other.cold];
    let determinant = one.warm * other.cold - other.warm * one.cold;
    if determinant.abs() <= 1e-6 * (warm + cold).powi(2) {
        // One group alone, or two that are as cold as each other, do not tell the two apart.
        return [pauses / (warm + cold); 2];
    }
    let of_warm = (one.pauses * other.cold - other.pauses * one.cold) / determinant;
    let of_cold = (one.warm * other.pauses - other.warm * one.pauses) / determinant;
    // No number is below 0: then the other one has all of them.
    match [of_warm < 0.0, of_cold < 0.0] {
        [true, _] => [0.0, pauses / cold],
        [_, true] => [pauses / warm, 0.0],
        [false, false] => [of_warm, of_cold],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_groups_have_the_pauses_that_were_found_in_them() {
        let total = |pauses: f64, warm: f64, cold: f64| Total { pauses, warm, cold };
        let warm = total(10.0, 9.0, 1.0);
        assert_eq!(per_second(&[warm, total(10.0, 1.0, 9.0)]), [1.0, 1.0]);
        let [of_warm, of_cold] = per_second(&[warm, total(34.0, 1.0, 4.0)]);
        assert!((9.0 * of_warm + of_cold - 10.0).abs() < 1e-9 && (of_warm + 4.0 * of_cold - 34.0).abs() < 1e-9);
        assert!(of_cold > 8.0 && of_warm > 0.0, "{of_warm} {of_cold}");
        // One group alone; and more of them than a number below 0 would explain.
        assert_eq!(per_second(&[warm, Total::default()]), [1.0, 1.0]);
        assert_eq!(per_second(&[total(0.0, 9.0, 1.0), total(50.0, 1.0, 9.0)]), [0.0, 5.0]);
        assert_eq!(per_second(&[total(50.0, 9.0, 1.0), total(0.0, 1.0, 9.0)]), [5.0, 0.0]);
    }
}
