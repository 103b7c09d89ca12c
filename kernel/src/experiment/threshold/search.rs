//! Which values to ask: some that are spread over all of the range, then halves of every gap between two that differ.
//!
//! Runs may fail, hold and fail again along a setting, so nothing is assumed of how often they tip. Between two neighbours
//! of the first values that are on one side nothing is asked: what tips and tips back in there is not seen, and of an odd
//! number of boundaries in one gap one is found.

use super::Side;

/// What was found on a ladder of values. Sides take turns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sides {
    /// Of the lowest value.
    pub first: Side,
    /// The steps, ascending, whose next one is on the other side.
    pub tips: Vec<u64>,
}

/// Decisions that the search takes at most: all of the first ones, and all halves of every gap, as each may have a boundary.
pub fn decisions(samples: &[u64]) -> u64 {
    let halves = samples.windows(2).map(|gap| u64::from((gap[1] - gap[0]).next_power_of_two().ilog2()));
    samples.len() as u64 + halves.sum::<u64>()
}

/// Looks for every boundary. `samples` are the steps that are asked first, ascending, none twice, at least one; `ask` says on
/// which side a step is.
///
/// # Errors
/// `ask` has one.
pub fn search<E>(samples: &[u64], mut ask: impl FnMut(u64) -> Result<Side, E>) -> Result<Sides, E> {
    let asked = samples.iter().map(|step| Ok((*step, ask(*step)?))).collect::<Result<Vec<_>, _>>()?;
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

    fn found(samples: &[u64], holds: impl Fn(u64) -> bool) -> (Sides, u64) {
        let mut asked = 0;
        let side = |step| -> Result<Side, Infallible> {
            asked += 1;
            Ok(if holds(step) { Side::Holds } else { Side::Fails })
        };
        let sides = search(samples, side).unwrap();
        (sides, asked)
    }

    fn tips(first: Side, tips: &[u64]) -> Sides {
        Sides { first, tips: tips.to_vec() }
    }

    /// From 0 to `last`, so far apart.
    fn every(gap: usize, last: u64) -> Vec<u64> {
        (0..=last).step_by(gap).collect()
    }

    #[test]
    fn the_two_values_beside_the_only_boundary_are_found() {
        for boundary in [0, 1, 47, 388, 389] {
            assert_eq!(found(&every(39, 390), |step| step <= boundary).0, tips(Side::Holds, &[boundary]));
            assert_eq!(found(&[0, 390], |step| step <= boundary).0, tips(Side::Holds, &[boundary]));
        }
        assert_eq!(found(&every(1, 7), |step| step > 2), (tips(Side::Fails, &[2]), 8));
    }

    #[test]
    fn every_boundary_is_found_that_has_a_gap_of_its_own() {
        assert_eq!(found(&every(39, 390), |step| (60..=200).contains(&step)).0, tips(Side::Fails, &[59, 200]));
        let (sides, _) = found(&every(16, 128), |step| (step / 16).is_multiple_of(2));
        assert_eq!(sides, tips(Side::Holds, &[15, 31, 47, 63, 79, 95, 111, 127]));
        // Nothing is between neighbours.
        assert_eq!(found(&every(1, 8), |step| step != 5), (tips(Side::Holds, &[4, 5]), 9));
    }

    #[test]
    fn what_begins_and_ends_between_two_of_the_first_values_is_not_seen() {
        let narrow = |step: u64| !(50..60).contains(&step);
        assert_eq!(found(&every(16, 128), narrow).0, tips(Side::Holds, &[]));
        assert_eq!(found(&every(8, 128), narrow).0, tips(Side::Holds, &[49, 59]));
        // Two of three in one gap are not, either.
        let thrice = |step: u64| step < 50 || (55..60).contains(&step);
        assert_eq!(found(&every(16, 128), thrice).0.tips.len(), 1);
    }

    #[test]
    fn a_boundary_outside_of_the_range_is_nowhere() {
        assert_eq!(found(&every(39, 390), |_| true), (tips(Side::Holds, &[]), 11));
        assert_eq!(found(&every(39, 390), |_| false), (tips(Side::Fails, &[]), 11));
    }

    #[test]
    fn no_search_takes_more_decisions_than_are_counted() {
        for samples in [every(39, 390), every(16, 128), every(1, 7), vec![0, 390], vec![0, 1], vec![0, 3, 4, 100]] {
            let most = decisions(&samples);
            // A boundary in every gap, at either end of it.
            for late in [false, true] {
                let holds = |step: u64| {
                    let passed =
                        samples.iter().filter(|edge| if late { **edge <= step } else { **edge < step }).count();
                    passed.is_multiple_of(2)
                };
                let (sides, asked) = found(&samples, holds);
                assert!(asked <= most, "{asked} of {most}, {samples:?}");
                assert_eq!(sides.tips.len(), samples.len() - 1, "{samples:?}");
            }
        }
        assert_eq!(decisions(&[0, 390]), 2 + 9);
        assert_eq!(decisions(&every(16, 128)), 9 + 8 * 4);
        assert_eq!(decisions(&every(1, 8)), 9);
    }
}
