//! Whether two worlds can be told apart: an exact permutation test on the distances between their runs.
//!
//! Each seed was played in both worlds, with the same arrivals and inputs. If the worlds are the same, then it makes no
//! difference which of the two runs of a seed is called the real one. So the two runs of each seed change places in every
//! combination, and it is counted how often the worlds come out as far apart as they really are. How far that is: the
//! mean distance between runs of different worlds, less the mean distance between runs of one (Székely and Rizzo's
//! energy distance), always of different seeds.

use kernel::entropy::{Entropy, unit};

/// Seeds up to which all combinations are tried. With more, a sample of them is.
const EXACT_MAX: usize = 12;

/// Combinations in a sample.
const SAMPLE: usize = 4_095;

/// The probability that worlds are at least this far apart by chance: near 0 if they can be told apart. `None` with fewer
/// than two seeds, or if a distance is not known. With n seeds it is at least 2 / 2^n.
pub fn p<T>(seeds: &[[&T; 2]], distance: impl Fn(&T, &T) -> Option<f64>) -> Option<f64> {
    let count = seeds.len();
    let runs: Vec<&T> = seeds.iter().flatten().copied().collect();
    let table = DistanceMatrix::measure(&runs, distance).filter(|_| count >= 2)?;
    let observed = table.apart(&vec![false; count]);
    // Sums of the same numbers in another order.
    let tolerance = 1e-9 * (1.0 + observed.abs());
    let is_as_far = |swaps: &[bool]| usize::from(table.apart(swaps) >= observed - tolerance);
    if count <= EXACT_MAX {
        let combinations = 1_usize << count;
        let swaps = |bits: usize| (0..count).map(|seed| bits >> seed & 1 == 1).collect::<Vec<_>>();
        let as_far: usize = (0..combinations).map(|bits| is_as_far(&swaps(bits))).sum();
        return Some(as_far as f64 / combinations as f64);
    }
    let mut rng = Entropy::new(0).stream("permutation");
    let mut draw = || (0..count).map(|_| unit(&mut rng) < 0.5).collect::<Vec<_>>();
    let as_far: usize = (0..SAMPLE).map(|_| is_as_far(&draw())).sum();
    Some((1 + as_far) as f64 / (1 + SAMPLE) as f64)
}

/// All distances: run 2k is one world's of seed k, run 2k + 1 the other's.
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

    /// How far the worlds are apart if the runs of the seeds in `swaps` change places.
    fn apart(&self, swaps: &[bool]) -> f64 {
        let seeds = swaps.len();
        let run = |seed: usize, world: usize| seed * 2 + (world ^ usize::from(swaps[seed]));
        let at = |a: usize, b: usize| self.distances[a * self.runs + b];
        let (mut across, mut within) = (0.0, 0.0);
        for i in 0..seeds {
            for j in (0..seeds).filter(|j| *j != i) {
                across += at(run(i, 0), run(j, 1));
                within += (at(run(i, 0), run(j, 0)) + at(run(i, 1), run(j, 1))) / 2.0;
            }
        }
        (across - within) / (seeds * (seeds - 1)) as f64
    }
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
    fn worlds_that_differ_throughout_are_told_apart_as_well_as_the_number_of_seeds_allows() {
        let pairs: Vec<[f64; 2]> = (0..10).map(|seed| [f64::from(seed) / 10.0, 5.0 + f64::from(seed) / 10.0]).collect();
        assert_eq!(p_of(&pairs), Some(2.0 / 1024.0));
        let many: Vec<[f64; 2]> = (0..20).map(|seed| [f64::from(seed) / 10.0, 50.0 + f64::from(seed) / 10.0]).collect();
        assert_eq!(p_of(&many), Some(1.0 / 4096.0));
    }

    #[test]
    fn of_one_seed_or_an_unknown_distance_nothing_can_be_said() {
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
        fn a_world_is_not_told_apart_from_itself(values in prop::collection::vec(0.0_f64..100.0, 2..8)) {
            let pairs: Vec<[f64; 2]> = values.iter().map(|value| [*value, *value]).collect();
            prop_assert_eq!(p_of(&pairs), Some(1.0));
        }

        /// Among all ways to call the runs, at most a share of x comes out at x or less: so it is a test.
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
