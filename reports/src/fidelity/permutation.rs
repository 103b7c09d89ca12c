//! An exact permutation test on the distances between runs: do two worlds differ?
//!
//! Each seed was run in both worlds, with the same arrivals and inputs. If the worlds are the same, then it makes no
//! difference which of the two runs of a seed is called the real one. So the two runs of each seed are swapped in every
//! combination, and the test counts how often the worlds are as far apart as without swaps. Their distance is the mean
//! distance between runs of different worlds, less the mean distance between runs of one world (the energy distance of
//! Székely and Rizzo), always of different seeds.

use kernel::entropy::{Entropy, unit};

/// The greatest number of seeds for which all combinations are tried. For more seeds a sample of them is tried.
const EXACT_MAX: usize = 12;

/// The number of combinations in a sample.
const SAMPLE: usize = 4_095;

/// Returns the probability that worlds are at least this far apart by chance. It is near 0 if they differ, and at least
/// 2 / 2^n for n seeds. It is `None` for fewer than two seeds, or if a distance is not known.
pub fn p<T>(seeds: &[[&T; 2]], distance: impl Fn(&T, &T) -> Option<f64>) -> Option<f64> {
    let count = seeds.len();
    let runs: Vec<&T> = seeds.iter().flatten().copied().collect();
    // One seed has two runs, which are never compared with each other.
    let table = DistanceMatrix::measure(&runs, distance).filter(|_| count >= 2)?;
    let observed = table.apart(&vec![false; count]);
    // The sums add the same numbers in another order, so equal ones differ by rounding.
    let threshold = observed - 1e-9 * (1.0 + observed.abs());
    if count <= EXACT_MAX {
        let combinations = 1_usize << count;
        let as_far = (0..combinations).filter(|bits| table.apart(&swaps_of(*bits, count)) >= threshold).count();
        return Some(as_far as f64 / combinations as f64);
    }
    let mut rng = Entropy::new(0).stream("permutation");
    let mut as_far = 0;
    for _ in 0..SAMPLE {
        let swaps: Vec<bool> = (0..count).map(|_| unit(&mut rng) < 0.5).collect();
        as_far += usize::from(table.apart(&swaps) >= threshold);
    }
    // The combination that was observed is one of them. Without it the estimate could be 0, which no test can show.
    Some((1 + as_far) as f64 / (1 + SAMPLE) as f64)
}

/// Returns the combination with the number `bits`: true for each seed whose runs are swapped.
fn swaps_of(bits: usize, seeds: usize) -> Vec<bool> {
    (0..seeds).map(|seed| bits >> seed & 1 == 1).collect()
}

/// All distances. Run 2k is the run of seed k in one world, and run 2k + 1 that in the other.
struct DistanceMatrix {
    distances: Vec<f64>,
    runs: usize,
}

impl DistanceMatrix {
    fn measure<T>(runs: &[&T], distance: impl Fn(&T, &T) -> Option<f64>) -> Option<Self> {
        let mut distances = vec![0.0; runs.len() * runs.len()];
        for (i, a) in runs.iter().enumerate() {
            for (j, b) in runs.iter().enumerate().skip(i + 1).filter(|(j, _)| i / 2 != j / 2) {
                let apart = distance(a, b)?;
                distances[i * runs.len() + j] = apart;
                distances[j * runs.len() + i] = apart;
            }
        }
        Some(Self { distances, runs: runs.len() })
    }

    /// Returns the distance of the worlds if the runs of the seeds in `swaps` are swapped.
    fn apart(&self, swaps: &[bool]) -> f64 {
        let seeds = swaps.len();
        let mut across = 0.0;
        let mut within = 0.0;
        for i in 0..seeds {
            let [one_i, other_i] = runs_of(i, swaps);
            for j in (0..seeds).filter(|j| *j != i) {
                let [one_j, other_j] = runs_of(j, swaps);
                across += self.distance(one_i, other_j);
                within += (self.distance(one_i, one_j) + self.distance(other_i, other_j)) / 2.0;
            }
        }
        (across - within) / (seeds * (seeds - 1)) as f64
    }

    fn distance(&self, a: usize, b: usize) -> f64 {
        self.distances[a * self.runs + b]
    }
}

/// Returns the numbers of the runs of a seed in both worlds.
fn runs_of(seed: usize, swaps: &[bool]) -> [usize; 2] {
    let swapped = usize::from(swaps[seed]);
    [seed * 2 + swapped, seed * 2 + 1 - swapped]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn p_of(pairs: &[[f64; 2]]) -> Option<f64> {
        let pairs: Vec<[&f64; 2]> = pairs.iter().map(|[real, sim]| [real, sim]).collect();
        p(&pairs, |a, b| Some((a - b).abs()))
    }

    #[test]
    fn the_test_of_two_seeds_is_the_one_on_paper() {
        // Apart by 1. One swap: across 0, within 1, apart by -1; both: as far as before. Two of four.
        assert_eq!(p_of(&[[1.0, 0.0], [1.0, 0.0]]), Some(0.5));
    }

    #[test]
    fn worlds_that_always_differ_have_the_least_p_that_the_number_of_seeds_allows() {
        let pairs: Vec<[f64; 2]> = (0..10).map(|seed| [f64::from(seed) / 10.0, 5.0 + f64::from(seed) / 10.0]).collect();
        assert_eq!(p_of(&pairs), Some(2.0 / 1024.0));
        let many: Vec<[f64; 2]> = (0..20).map(|seed| [f64::from(seed) / 10.0, 50.0 + f64::from(seed) / 10.0]).collect();
        assert_eq!(p_of(&many), Some(1.0 / 4096.0));
    }

    #[test]
    fn one_seed_or_an_unknown_distance_gives_no_p() {
        assert_eq!(p_of(&[[1.0, 2.0]]), None);
        assert_eq!(p(&[[&1.0, &2.0], [&3.0, &4.0]], |_: &f64, _: &f64| None), None);
    }

    fn pairs() -> impl Strategy<Value = Vec<[f64; 2]>> {
        prop::collection::vec([0.0_f64..100.0, 0.0_f64..100.0], 2..8)
    }

    proptest! {
        #[test]
        fn it_is_a_probability_that_does_not_depend_on_which_world_comes_first(pairs in pairs()) {
            let p = p_of(&pairs).unwrap();
            let least = 2.0 / f64::from(1 << pairs.len());
            prop_assert!((least..=1.0).contains(&p), "{p}");
            let turned: Vec<[f64; 2]> = pairs.iter().map(|[a, b]| [*b, *a]).collect();
            prop_assert_eq!(p_of(&turned), Some(p));
        }

        #[test]
        fn a_world_does_not_differ_from_itself(values in prop::collection::vec(0.0_f64..100.0, 2..8)) {
            let pairs: Vec<[f64; 2]> = values.iter().map(|value| [*value, *value]).collect();
            prop_assert_eq!(p_of(&pairs), Some(1.0));
        }

        /// Among all combinations, at most a share of x has a p of x or less. This makes it a test.
        #[test]
        fn it_is_no_smaller_than_chance_allows(pairs in pairs()) {
            let combinations = 1_usize << pairs.len();
            let swapped = |bits: usize| -> Vec<[f64; 2]> {
                let pair = |(seed, [a, b]): (usize, &[f64; 2])| if bits >> seed & 1 == 1 { [*b, *a] } else { [*a, *b] };
                pairs.iter().enumerate().map(pair).collect()
            };
            let all: Vec<f64> = (0..combinations).map(|bits| p_of(&swapped(bits)).unwrap()).collect();
            for level in &all {
                let at_most = all.iter().filter(|p| **p <= level + 1e-12).count();
                prop_assert!(at_most as f64 / combinations as f64 <= level + 1e-12);
            }
        }
    }
}
