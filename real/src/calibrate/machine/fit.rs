//! The model of a machine that explains the runs best.

use std::collections::BTreeMap;

use kernel::{coldness::ColdnessRates, measure::stages::STAGES};

use super::paths::{LATE, RunPaths, SERVICE, TO_CLIENT, TO_SERVER};

/// Where the search begins, close to what was found on virtual machines with two processors. [`SLOW`] has the slow part.
const START: ColdnessRates = ColdnessRates {
    cool_down_us: 8_000.0,
    shape: 1.5,
    usage_factor: 4.0,
    usage_window_us: 20_000.0,
    warm_up_us: 600.0,
    slow_share: 0.0,
    slow_cool_down_us: 200_000.0,
    servers_sleep: true,
};

/// Slow parts with which the search begins, each with its time in microseconds. From one place alone, it may end without a slow part where there is one.
const SLOW: [(f64, f64); 3] = [(0.02, 200_000.0), (0.2, 200_000.0), (0.3, 1_000_000.0)];

/// The factor by which the search from each place changes a parameter.
const COARSE: f64 = 2.0;

/// Factors by which the search goes on from the best place; with the next one when no parameter improves by the one before.
const FINER: [f64; 3] = [1.4, 1.15, 1.05];

/// The most rounds over all parameters with one factor.
const ROUNDS: usize = 12;

/// How much the stages count. A service only computes, and has no wake-up of another process.
const WEIGHTS: [f64; STAGES] = {
    let mut weights = [0.0; STAGES];
    weights[LATE] = 1.0;
    weights[TO_SERVER] = 1.0;
    weights[SERVICE] = 0.1;
    weights[TO_CLIENT] = 1.0;
    weights
};

/// The parameters, within which coldness explains the most of the variance of all stages, and the share that is left.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Fit {
    pub(super) rates: ColdnessRates,
    /// Share of the variance that is left, by stage.
    pub(super) unexplained: [f64; STAGES],
}

/// Searches the parameters from several places, and goes on with smaller and smaller steps from the best one.
pub(super) fn fit(runs: &[&RunPaths]) -> Fit {
    let coarse = SLOW.map(|(slow_share, slow_cool_down_us)| {
        search(runs, fit_of(runs, ColdnessRates { slow_share, slow_cool_down_us, ..START }), COARSE)
    });
    let [first, others @ ..] = coarse;
    let best = others.into_iter().fold(first, |best, other| if other.error() < best.error() { other } else { best });
    FINER.into_iter().fold(best, |best, step| search(runs, best, step))
}

/// Changes the parameters, one after another, by a factor of `step`, until none improves.
fn search(runs: &[&RunPaths], mut best: Fit, step: f64) -> Fit {
    for _ in 0..ROUNDS {
        let before = best;
        for parameter in PARAMETERS {
            for factor in [step, 1.0 / step] {
                let mut rates = best.rates;
                *parameter(&mut rates) *= factor;
                let is_valid = rates.problem().is_none() && (1.0..=4.0).contains(&rates.shape);
                let candidate = is_valid.then(|| fit_of(runs, rates));
                if let Some(better) = candidate.filter(|candidate| candidate.error() < best.error()) {
                    best = better;
                }
            }
        }
        if best == before {
            break;
        }
    }
    best
}

type Parameter = fn(&mut ColdnessRates) -> &mut f64;

const PARAMETERS: [Parameter; 7] = [
    |rates| &mut rates.cool_down_us,
    |rates| &mut rates.shape,
    |rates| &mut rates.usage_factor,
    |rates| &mut rates.usage_window_us,
    |rates| &mut rates.warm_up_us,
    |rates| &mut rates.slow_share,
    |rates| &mut rates.slow_cool_down_us,
];

impl Fit {
    fn error(&self) -> f64 {
        WEIGHTS.iter().zip(self.unexplained).map(|(weight, share)| weight * share).sum()
    }
}

fn fit_of(runs: &[&RunPaths], rates: ColdnessRates) -> Fit {
    let mut sums: BTreeMap<(usize, &str), Sums> = BTreeMap::new();
    for run in runs {
        let counted = run.counted().count();
        // Every rate counts as much as any other, however many requests it has.
        let weight = 1.0 / counted.max(1) as f64;
        for measured in run.stages(rates) {
            // The lateness of a timer does not depend on the size.
            let size = if measured.stage == LATE { "" } else { &measured.path.size };
            sums.entry((measured.stage, size)).or_default().add(weight, measured.coldness, measured.took());
        }
    }
    let mut unexplained = [0.0; STAGES];
    for (stage, share) in unexplained.iter_mut().enumerate() {
        let of_stage = || sums.iter().filter(move |((of, _), _)| *of == stage).map(|(_, sums)| sums);
        let all: f64 = of_stage().map(Sums::variance).sum();
        let left: f64 = of_stage().map(Sums::variance_left).sum();
        *share = if all > 0.0 { left / all } else { 1.0 };
    }
    Fit { rates, unexplained }
}

/// The weighted sums of a linear regression of times on coldness.
#[derive(Debug, Default)]
struct Sums {
    weight: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
    yy: f64,
}

impl Sums {
    fn add(&mut self, weight: f64, x: f64, y: f64) {
        self.weight += weight;
        self.x += weight * x;
        self.y += weight * y;
        self.xx += weight * x * x;
        self.xy += weight * x * y;
        self.yy += weight * y * y;
    }

    /// The sum of squares around the mean.
    fn variance(&self) -> f64 {
        if self.weight == 0.0 { 0.0 } else { self.yy - self.y * self.y / self.weight }
    }

    /// The sum of squares around the line.
    fn variance_left(&self) -> f64 {
        let spread = self.xx - self.x * self.x / self.weight;
        let common = self.xy - self.x * self.y / self.weight;
        // A machine is not faster when it is cold.
        if spread <= 0.0 || common <= 0.0 { self.variance() } else { self.variance() - common * common / spread }
    }
}
