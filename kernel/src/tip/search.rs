//! Which values to ask: some that are spread over all of the range, then halves of every gap between two that differ.
//!
//! Runs may fail, hold and fail again along a setting, so nothing is assumed of how often they tip. Between two neighbours
//! of the first values that are on one side nothing is asked: what tips and tips back in there is not seen, and of an odd
//! number of boundaries in one gap one is found.

use std::collections::BTreeMap;

use super::Side;

/// What was found on a ladder of values. Sides take turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sides {
    /// Of the lowest value.
    pub first: Side,
    /// The steps, ascending, whose next one is on the other side.
    pub tips: Vec<u64>,
}

/// The steps, of 0 to `steps`, that are asked whatever comes out: `samples` of them, at least two, both ends among them.
pub fn samples(steps: u64, samples: u64) -> Vec<u64> {
    let last = samples.max(2) - 1;
    let step = |index: u64| ((u128::from(index) * u128::from(steps) + u128::from(last / 2)) / u128::from(last)) as u64;
    let mut asked: Vec<u64> =
        (0..=last.min(steps)).map(|index| if last > steps { index } else { step(index) }).collect();
    asked.dedup();
    asked
}

/// Decisions that the search takes at most: all of the first ones, and all halves of every gap, as each may have a boundary.
pub fn decisions(steps: u64, samples: u64) -> u64 {
    let asked = self::samples(steps, samples);
    let halves = asked.windows(2).map(|gap| u64::from((gap[1] - gap[0]).next_power_of_two().ilog2()));
    asked.len() as u64 + halves.sum::<u64>()
}

/// Looks for every boundary. `ask` says on which side a step is.
///
/// # Errors
/// `ask` has one.
pub fn search<E>(steps: u64, samples: u64, mut ask: impl FnMut(u64) -> Result<Side, E>) -> Result<Sides, E> {
    let mut sides = BTreeMap::new();
    for step in self::samples(steps, samples) {
        sides.insert(step, ask(step)?);
    }
    let asked: Vec<(u64, Side)> = sides.into_iter().collect();
    let mut tips = Vec::new();
    for pair in asked.windows(2).filter(|pair| pair[0].1 != pair[1].1) {
        let ((mut low, side), (mut high, _)) = (pair[0], pair[1]);
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if ask(middle)? == side {
                low = middle;
            } else {
                high = middle;
            }
        }
        tips.push(low);
    }
    Ok(Sides { first: asked[0].1, tips })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn found(steps: u64, samples: u64, holds: impl Fn(u64) -> bool) -> (Sides, u64) {
        let mut asked = 0;
        let side = |step| -> Result<Side, Infallible> {
            asked += 1;
            Ok(if holds(step) { Side::Holds } else { Side::Fails })
        };
        let sides = search(steps, samples, side).unwrap();
        (sides, asked)
    }

    fn tips(first: Side, tips: &[u64]) -> Sides {
        Sides { first, tips: tips.to_vec() }
    }

    #[test]
    fn the_first_values_are_spread_over_all_of_the_range() {
        assert_eq!(samples(390, 2), [0, 390]);
        assert_eq!(samples(128, 9), [0, 16, 32, 48, 64, 80, 96, 112, 128]);
        assert_eq!(samples(29, 9), [0, 4, 7, 11, 15, 18, 22, 25, 29]);
        assert_eq!(samples(3, 9), [0, 1, 2, 3]);
        assert_eq!(samples(u64::MAX, 3), [0, 1 << 63, u64::MAX]);
    }

    #[test]
    fn the_two_values_beside_the_only_boundary_are_found() {
        for boundary in [0, 1, 47, 388, 389] {
            assert_eq!(found(390, 9, |step| step <= boundary).0, tips(Side::Holds, &[boundary]));
            assert_eq!(found(390, 2, |step| step <= boundary).0, tips(Side::Holds, &[boundary]));
        }
        assert_eq!(found(7, 9, |step| step > 2).0, tips(Side::Fails, &[2]));
    }

    #[test]
    fn every_boundary_is_found_that_has_a_gap_of_its_own() {
        let (sides, _) = found(390, 9, |step| (60..=200).contains(&step));
        assert_eq!(sides, tips(Side::Fails, &[59, 200]));
        let (sides, _) = found(128, 9, |step| (step / 16) % 2 == 0);
        assert_eq!(sides, tips(Side::Holds, &[15, 31, 47, 63, 79, 95, 111, 127]));
        // Nothing is between neighbours.
        let (sides, asked) = found(8, 9, |step| step != 5);
        assert_eq!((sides, asked), (tips(Side::Holds, &[4, 5]), 9));
    }

    #[test]
    fn what_begins_and_ends_between_two_of_the_first_values_is_not_seen() {
        let narrow = |step: u64| !(50..60).contains(&step);
        assert_eq!(found(128, 9, narrow).0, tips(Side::Holds, &[]));
        assert_eq!(found(128, 17, narrow).0, tips(Side::Holds, &[49, 59]));
        // Two of three in one gap are not, either.
        let thrice = |step: u64| step < 50 || (55..60).contains(&step);
        assert_eq!(found(128, 9, thrice).0.tips.len(), 1);
    }

    #[test]
    fn a_boundary_outside_of_the_range_is_nowhere() {
        assert_eq!(found(390, 9, |_| true), (tips(Side::Holds, &[]), 9));
        assert_eq!(found(390, 9, |_| false), (tips(Side::Fails, &[]), 9));
    }

    #[test]
    fn no_search_takes_more_decisions_than_are_counted() {
        for (steps, samples) in [(390, 9), (128, 9), (29, 9), (7, 9), (390, 2), (1, 2), (100, 4)] {
            let most = decisions(steps, samples);
            let gaps = super::samples(steps, samples);
            // A boundary in every gap, at either end of it.
            for late in [false, true] {
                let holds = |step: u64| {
                    let passed = gaps.iter().filter(|edge| if late { **edge <= step } else { **edge < step }).count();
                    passed % 2 == 0
                };
                let (sides, asked) = found(steps, samples, holds);
                assert!(asked <= most, "{asked} of {most}, {steps} steps, {samples} samples");
                assert_eq!(sides.tips.len(), gaps.len() - 1, "{steps} steps, {samples} samples");
            }
        }
        assert_eq!(decisions(390, 2), 2 + 9);
        assert_eq!(decisions(128, 9), 9 + 8 * 4);
        assert_eq!(decisions(8, 9), 9);
    }
}
