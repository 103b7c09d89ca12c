//! Which values a search tests: first some that are spread over all of the range, then halves of every gap between two
//! neighbours with different outcomes.
//!
//! Runs may fail, hold and fail again along a setting, so nothing is assumed of the number of thresholds. Between two of
//! the first values with the same outcome nothing is tested: an outcome that changes and changes back there is not seen,
//! and of an odd number of thresholds in one gap one is found.

use super::TestOutcome;

/// Outcomes of the values of a grid. They change from one outcome to the other at each of `changes`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcomes {
    /// Outcome of the lowest value.
    pub first: TestOutcome,
    /// Steps, ascending, whose next one has the other outcome.
    pub changes: Vec<u64>,
}

/// Returns the largest number of values that a search can test: all of `samples`, and all halves of every gap, as each gap
/// may have a threshold.
pub fn decisions_max(samples: &[u64]) -> u64 {
    let halves = samples.windows(2).map(|gap| u64::from((gap[1] - gap[0]).next_power_of_two().ilog2()));
    samples.len() as u64 + halves.sum::<u64>()
}

/// Looks for every threshold. `samples` are the steps that are tested first, ascending, none twice, at least one; `test`
/// returns the outcome of a step.
///
/// # Errors
///
/// Returns the first error of `test`.
pub fn search<E>(samples: &[u64], mut test: impl FnMut(u64) -> Result<TestOutcome, E>) -> Result<Outcomes, E> {
    let tested = samples.iter().map(|step| Ok((*step, test(*step)?))).collect::<Result<Vec<_>, _>>()?;
    let mut changes = Vec::new();
    for pair in tested.windows(2).filter(|pair| pair[0].1 != pair[1].1) {
        let (mut low, outcome) = pair[0];
        let (mut high, _) = pair[1];
        while high - low > 1 {
            let middle = low + (high - low) / 2;
            if test(middle)? == outcome {
                low = middle;
            } else {
                high = middle;
            }
        }
        changes.push(low);
    }
    Ok(Outcomes { first: tested[0].1, changes })
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    fn found(samples: &[u64], holds: impl Fn(u64) -> bool) -> (Outcomes, u64) {
        let mut tested = 0;
        let Ok(outcomes) = search::<Infallible>(samples, |step| {
            tested += 1;
            Ok(if holds(step) { TestOutcome::Holds } else { TestOutcome::Fails })
        });
        (outcomes, tested)
    }

    fn changes(first: TestOutcome, changes: &[u64]) -> Outcomes {
        Outcomes { first, changes: changes.to_vec() }
    }

    /// Returns the steps from 0 to `last`, each `gap` above the one before.
    fn every(gap: usize, last: u64) -> Vec<u64> {
        (0..=last).step_by(gap).collect()
    }

    #[test]
    fn the_two_values_beside_the_only_threshold_are_found() {
        for boundary in [0, 1, 47, 388, 389] {
            assert_eq!(found(&every(39, 390), |step| step <= boundary).0, changes(TestOutcome::Holds, &[boundary]));
            assert_eq!(found(&[0, 390], |step| step <= boundary).0, changes(TestOutcome::Holds, &[boundary]));
        }
        assert_eq!(found(&every(1, 7), |step| step > 2), (changes(TestOutcome::Fails, &[2]), 8));
    }

    #[test]
    fn every_threshold_in_a_gap_of_its_own_is_found() {
        assert_eq!(
            found(&every(39, 390), |step| (60..=200).contains(&step)).0,
            changes(TestOutcome::Fails, &[59, 200])
        );
        let (outcomes, _) = found(&every(16, 128), |step| (step / 16).is_multiple_of(2));
        assert_eq!(outcomes, changes(TestOutcome::Holds, &[15, 31, 47, 63, 79, 95, 111, 127]));
        // There is nothing between neighbours.
        assert_eq!(found(&every(1, 8), |step| step != 5), (changes(TestOutcome::Holds, &[4, 5]), 9));
    }

    #[test]
    fn two_thresholds_between_two_of_the_first_values_are_not_seen() {
        let narrow = |step: u64| !(50..60).contains(&step);
        assert_eq!(found(&every(16, 128), narrow).0, changes(TestOutcome::Holds, &[]));
        assert_eq!(found(&every(8, 128), narrow).0, changes(TestOutcome::Holds, &[49, 59]));
        // Of three thresholds in one gap one is found.
        let thrice = |step: u64| step < 50 || (55..60).contains(&step);
        assert_eq!(found(&every(16, 128), thrice).0.changes.len(), 1);
    }

    #[test]
    fn without_a_threshold_only_the_first_values_are_tested() {
        assert_eq!(found(&every(39, 390), |_| true), (changes(TestOutcome::Holds, &[]), 11));
        assert_eq!(found(&every(39, 390), |_| false), (changes(TestOutcome::Fails, &[]), 11));
    }

    #[test]
    fn no_search_tests_more_values_than_the_bound() {
        for samples in [every(39, 390), every(16, 128), every(1, 7), vec![0, 390], vec![0, 1], vec![0, 3, 4, 100]] {
            let most = decisions_max(&samples);
            // A threshold in every gap, at either end of it.
            for late in [false, true] {
                let holds = |step: u64| {
                    let passed =
                        samples.iter().filter(|edge| if late { **edge <= step } else { **edge < step }).count();
                    passed.is_multiple_of(2)
                };
                let (outcomes, tested) = found(&samples, holds);
                assert!(tested <= most, "{tested} of {most}, {samples:?}");
                assert_eq!(outcomes.changes.len(), samples.len() - 1, "{samples:?}");
            }
        }
        assert_eq!(decisions_max(&[0, 390]), 2 + 9);
        assert_eq!(decisions_max(&every(16, 128)), 9 + 8 * 4);
        assert_eq!(decisions_max(&every(1, 8)), 9);
    }
}
