//! How much the times of one moment vary together.

use std::collections::{BTreeMap, BTreeSet};

use kernel::variation::{VariationPart, normal_score};

use super::{paths::Load, prediction::StageTime};

/// The parts whose shares are found, with all of the variance each: what changes within some stages of a request, a few requests, and a second.
/// What changes more slowly is the same for most of a run: it is a difference between runs, which a simulated run does not have.
const PARTS: [VariationPart; 3] = [whole(2e3), whole(50e3), whole(1e6)];

const fn whole(time_us: f64) -> VariationPart {
    VariationPart { share: 1.0, time_us }
}

/// Upper ends of the intervals of lags in which correlations are compared, in microseconds.
const LAGS_US: [f64; 9] = [100.0, 300.0, 1e3, 3e3, 1e4, 3e4, 1e5, 3e5, 1e6];

/// The fewest times of one stage and size at a load that are ranked.
const RANKED_MIN: usize = 20;

/// The fewest pairs of a load in an interval of lags.
const PAIRS_MIN: f64 = 300.0;

/// The largest share of all parts. The rest is what stages have for themselves.
const SHARES_MAX: f64 = 0.95;

/// Rounds over all shares. They converge within a few dozen.
const ROUNDS: usize = 500;

/// Steps of an integral over the lags of a run.
const STEPS: usize = 1_000;

/// What pairs of one load have in one interval of lags.
#[derive(Debug, Clone, Copy, Default)]
struct Pairs {
    count: f64,
    /// Sum of the products of their scores.
    products: f64,
    /// Sums of what each part would have if its share were 1.
    of_parts: [f64; PARTS.len()],
}

impl Pairs {
    /// Returns one pair with the means of all.
    fn means(self) -> Self {
        let Self { count, products, of_parts } = self;
        Self { count: 1.0, products: products / count, of_parts: of_parts.map(|sum| sum / count) }
    }

    fn add(self, other: Self) -> Self {
        Self {
            count: self.count + other.count,
            products: self.products + other.products,
            of_parts: std::array::from_fn(|part| self.of_parts[part] + other.of_parts[part]),
        }
    }
}

/// Finds the parts, whose correlations are closest to those of the times at all lags up to a second. Every load counts as much as any other.
pub(super) fn parts(mut times: Vec<&StageTime>) -> Vec<VariationPart> {
    times.sort_by(|one, other| one.run.cmp(&other.run).then(one.at.total_cmp(&other.at)));
    let by_load = pairs(&times);
    let intervals = (0..LAGS_US.len()).filter_map(|interval| {
        let of_loads = by_load.values().map(|pairs| pairs[interval]).filter(|pairs| pairs.count >= PAIRS_MIN);
        of_loads.map(Pairs::means).reduce(Pairs::add)
    });
    let mut shares = least_squares(&intervals.map(Pairs::means).collect::<Vec<_>>());
    let all: f64 = shares.iter().sum();
    if all > SHARES_MAX {
        shares.iter_mut().for_each(|share| *share *= SHARES_MAX / all);
    }
    let parts = PARTS.into_iter().zip(shares);
    let rounded = parts.map(|(part, share)| VariationPart { share: (share * 1e3).round() / 1e3, ..part });
    rounded.filter(|part| part.share > 0.0).collect()
}

/// Returns what pairs of times of one run have in common, by load and interval of lags. The times are in the order of runs and of when they began.
fn pairs(times: &[&StageTime]) -> BTreeMap<Load, [Pairs; LAGS_US.len()]> {
    let loads: BTreeSet<_> = times.iter().map(|time| time.load).collect();
    let of_runs: BTreeMap<_, _> =
        loads.into_iter().map(|load| (load, PARTS.map(|part| mean_correlation(part, load)))).collect();
    let scored = times.iter().zip(scores(times));
    let scored: Vec<_> = scored.filter_map(|(time, score)| Some((time, score?))).collect();
    let mut by_load: BTreeMap<Load, [Pairs; LAGS_US.len()]> = BTreeMap::new();
    for (place, (first, score)) in scored.iter().enumerate() {
        let mut next = place + 1;
        while let Some((second, other)) = scored.get(next).filter(|(second, _)| second.run == first.run) {
            let lag = second.at - first.at;
            let Some(interval) = LAGS_US.iter().position(|end| lag < *end) else { break };
            let pairs = &mut by_load.entry(first.load).or_default()[interval];
            pairs.count += 1.0;
            pairs.products += score * other;
            for ((sum, part), of_run) in pairs.of_parts.iter_mut().zip(&PARTS).zip(&of_runs[&first.load]) {
                *sum += part.correlation(lag) - of_run;
            }
            // All pairs of neighbours, and fewer and fewer of those that are further apart.
            next += 1 + (next - place) / 4;
        }
    }
    by_load
}

/// Returns the mean correlation of two times of a run by this part. Scores without the mean of their run have so much less in common.
fn mean_correlation(part: VariationPart, load: Load) -> f64 {
    let run_us = load.seconds as f64 * 1e6;
    let middles = (0..STEPS).map(|step| (step as f64 + 0.5) / STEPS as f64);
    // Of two times at random, the shorter lags are the more probable ones.
    middles.map(|lag| 2.0 * (1.0 - lag) * part.correlation(lag * run_us)).sum::<f64>() / STEPS as f64
}

/// Returns the normal score of how each time compares with the model, among those of its load, stage and size, by their ranks, without the mean of
/// its stage in its run; `None` among too few. The machine is faster in one run than in another, which is no correlation that falls within a run.
fn scores(times: &[&StageTime]) -> Vec<Option<f64>> {
    let mut groups: BTreeMap<(Load, usize, &str), Vec<usize>> = BTreeMap::new();
    for (place, StageTime { load, stage, size, .. }) in times.iter().enumerate() {
        groups.entry((*load, *stage, size)).or_default().push(place);
    }
    let mut scores = vec![None; times.len()];
    for mut group in groups.into_values().filter(|group| group.len() >= RANKED_MIN) {
        group.sort_by(|one, other| times[*one].share().total_cmp(&times[*other].share()));
        for (rank, place) in group.iter().enumerate() {
            scores[*place] = Some(normal_score((rank as f64 + 0.5) / group.len() as f64));
        }
    }
    let mut sums: BTreeMap<(usize, usize), (f64, f64)> = BTreeMap::new();
    for (time, score) in times.iter().zip(&scores) {
        if let Some(score) = score {
            let (sum, count) = sums.entry((time.run, time.stage)).or_default();
            *sum += score;
            *count += 1.0;
        }
    }
    for (time, score) in times.iter().zip(&mut scores) {
        if let (Some(score), Some((sum, count))) = (score, sums.get(&(time.run, time.stage))) {
            *score -= sum / count;
        }
    }
    scores
}

/// Returns the shares, none of which is negative, for which the sums of the parts are closest to the correlations. One share after another is
/// set to its best value.
fn least_squares(intervals: &[Pairs]) -> [f64; PARTS.len()] {
    let mut shares = [0.0; PARTS.len()];
    for _ in 0..ROUNDS {
        for part in 0..shares.len() {
            let (mut common, mut squares) = (0.0, 0.0);
            for Pairs { products, of_parts, .. } in intervals {
                let sum: f64 = of_parts.iter().zip(shares).map(|(part, share)| part * share).sum();
                common += of_parts[part] * (products - sum + of_parts[part] * shares[part]);
                squares += of_parts[part] * of_parts[part];
            }
            shares[part] = if squares > 0.0 { f64::max(common / squares, 0.0) } else { 0.0 };
        }
    }
    shares
}
