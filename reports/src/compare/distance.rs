//! Distances of two samples, of two mixes, and of two series: pure functions.
//!
//! All are symmetric except [`relative`] and [`nrmse`], which measure against a reference. The distance of a sample from
//! itself is 0. Where one of the two is empty there is no distance, and the result is `None`.

use std::iter;

use super::sample::Sample;
use crate::correlation::pearson;

/// Returns the Wasserstein-1 distance of two samples, in their unit: the area between the two distribution functions, which
/// is the mean distance that mass has to be moved to turn one distribution into the other.
pub fn wasserstein_1(a: &Sample, b: &Sample) -> Option<f64> {
    let mut area = 0.0;
    sweep(a, b, |from, to, share_a, share_b| area += (to - from) * (share_a - share_b).abs())?;
    Some(area)
}

/// Returns the Kolmogorov–Smirnov distance, 0 to 1: the greatest difference of the two distribution functions.
pub fn kolmogorov_smirnov(a: &Sample, b: &Sample) -> Option<f64> {
    let mut greatest = 0.0_f64;
    sweep(a, b, |_, _, share_a, share_b| greatest = greatest.max((share_a - share_b).abs()))?;
    Some(greatest)
}

/// Visits every stretch between neighbouring values of either sample, with the share of each sample that lies at or below
/// its beginning. Returns `None` if a sample is empty.
fn sweep(a: &Sample, b: &Sample, mut visit: impl FnMut(f64, f64, f64, f64)) -> Option<()> {
    if a.is_empty() || b.is_empty() {
        return None;
    }
    let mut next_a = a.shares().peekable();
    let mut next_b = b.shares().peekable();
    let mut last: Option<(f64, f64, f64)> = None;
    while let Some(at) = iter::chain(next_a.peek(), next_b.peek()).map(|(value, _)| *value).reduce(f64::min) {
        let (_, share_a, share_b) = last.unwrap_or((at, 0.0, 0.0));
        if let Some((from, share_a, share_b)) = last {
            visit(from, at, share_a, share_b);
        }
        let share_a = next_a.next_if(|(value, _)| *value <= at).map_or(share_a, |(_, share)| share);
        let share_b = next_b.next_if(|(value, _)| *value <= at).map_or(share_b, |(_, share)| share);
        last = Some((at, share_a, share_b));
    }
    let (at, share_a, share_b) = last?;
    visit(at, at, share_a, share_b);
    Some(())
}

/// Returns the total variation distance of two mixes, 0 to 1: half the sum of the differences of shares. `a` and `b` are
/// counts of the same kinds in the same order.
pub fn total_variation(a: &[u64], b: &[u64]) -> Option<f64> {
    let total_a: u64 = a.iter().sum();
    let total_b: u64 = b.iter().sum();
    // A share of nothing is undefined.
    if total_a == 0 || total_b == 0 || a.len() != b.len() {
        return None;
    }
    let differences = a.iter().zip(b).map(|(a, b)| (*a as f64 / total_a as f64 - *b as f64 / total_b as f64).abs());
    Some(differences.sum::<f64>() / 2.0)
}

/// Returns how much more `value` is than `reference`, as a share of the reference; `None` for a reference of 0, unless
/// both are 0.
pub fn relative(reference: f64, value: f64) -> Option<f64> {
    match reference {
        _ if reference == value => Some(0.0),
        0.0 => None,
        _ => Some((value - reference) / reference.abs()),
    }
}

/// Returns the nearest-rank quantile of an ascending sample: the least value that at least `share` of the sample does not
/// exceed.
pub fn quantile(sorted: &[f64], share: f64) -> Option<f64> {
    sorted.get(rank(sorted.len() as u64, share) as usize - 1).copied()
}

/// Returns the nearest rank of a quantile of `count` values, from 1.
pub(super) fn rank(count: u64, share: f64) -> u64 {
    ((count as f64 * share).ceil() as u64).clamp(1, count.max(1))
}

/// Returns the normalised root of the mean squared difference where both series have a value.
///
/// It is a share of the reference's range there or, if the reference does not vary, of its mean. It is `None` if there is
/// no such place or the reference is 0 throughout.
pub fn nrmse(reference: &[Option<f64>], other: &[Option<f64>]) -> Option<f64> {
    let both: Vec<(f64, f64)> = reference.iter().zip(other).filter_map(|(a, b)| Some(((*a)?, (*b)?))).collect();
    let squares: f64 = both.iter().map(|(a, b)| (a - b).powi(2)).sum();
    let rmse = (squares / both.len() as f64).sqrt();
    let low = both.iter().map(|(a, _)| *a).fold(f64::INFINITY, f64::min);
    let high = both.iter().map(|(a, _)| *a).fold(f64::NEG_INFINITY, f64::max);
    let mean = both.iter().map(|(a, _)| a).sum::<f64>() / both.len() as f64;
    let scale = if high > low { high - low } else { mean.abs() };
    (!both.is_empty() && scale > 0.0).then(|| rmse / scale)
}

/// Returns the number of places by which `other` has to be moved back to correlate most with `reference`.
///
/// It is positive if `other` is late, and 0 if neither varies. At most `reach` places are tried; of equals, the least is
/// returned. It is `None` if the series overlap in fewer than three places with a value in both.
pub fn lag(reference: &[Option<f64>], other: &[Option<f64>], reach: usize) -> Option<isize> {
    let reach = isize::try_from(reach).ok()?;
    // From 0 outwards, so that the first of equals is the least.
    let shifts = (0..=reach).flat_map(|shift| if shift == 0 { vec![0] } else { vec![shift, -shift] });
    let mut best: Option<(f64, isize)> = None;
    for shift in shifts {
        let Some(correlation) = correlation(reference, other, shift) else { continue };
        // Equal correlations may differ by rounding. The smaller shift, which comes first, must win.
        if best.is_none_or(|(highest, _)| correlation > highest + 1e-9) {
            best = Some((correlation, shift));
        }
    }
    best.map(|(_, shift)| shift)
}

/// Returns Pearson's correlation of `reference` at i with `other` at i + shift; 0 if one of them does not vary.
fn correlation(reference: &[Option<f64>], other: &[Option<f64>], shift: isize) -> Option<f64> {
    let places = reference.iter().enumerate();
    let pairs: Vec<(f64, f64)> =
        places.filter_map(|(index, value)| Some(((*value)?, value_at(other, index, shift)?))).collect();
    // An overlap of less than half the series would decide by chance.
    if pairs.len() < 3 || pairs.len() * 2 < reference.iter().flatten().count() {
        return None;
    }
    Some(pearson(&pairs))
}

fn value_at(series: &[Option<f64>], index: usize, shift: isize) -> Option<f64> {
    let place = isize::try_from(index).ok()?.checked_add(shift)?;
    *series.get(usize::try_from(place).ok()?)?
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample_of(values: &[f64]) -> Sample {
        Sample::new(values.iter().copied())
    }

    #[test]
    fn distances_of_samples_are_those_of_the_textbook() {
        // Everything is moved by 1.
        assert_eq!(wasserstein_1(&sample_of(&[0.0, 1.0, 2.0]), &sample_of(&[1.0, 2.0, 3.0])), Some(1.0));
        // A quarter of the mass is moved by 4.
        assert_eq!(wasserstein_1(&sample_of(&[0.0; 4]), &sample_of(&[0.0, 0.0, 0.0, 4.0])), Some(1.0));
        assert_eq!(kolmogorov_smirnov(&sample_of(&[0.0; 4]), &sample_of(&[0.0, 0.0, 0.0, 4.0])), Some(0.25));
        assert_eq!(kolmogorov_smirnov(&sample_of(&[1.0, 2.0]), &sample_of(&[3.0, 4.0])), Some(1.0));
        assert_eq!(
            (
                wasserstein_1(&sample_of(&[]), &sample_of(&[1.0])),
                kolmogorov_smirnov(&sample_of(&[1.0]), &sample_of(&[]))
            ),
            (None, None)
        );
    }

    #[test]
    fn a_tenth_that_fails_is_a_tenth_away() {
        assert_eq!(total_variation(&[10, 0], &[9, 1]).map(|tv| (tv * 1e9).round()), Some(1e8));
        assert_eq!(total_variation(&[0, 0], &[1, 1]), None);
    }

    #[test]
    fn a_late_series_has_its_lag() {
        let step = |at: usize| (0..100).map(|index| Some(if index < at { 5.0 } else { 1.0 })).collect::<Vec<_>>();
        assert_eq!(lag(&step(40), &step(47), 20), Some(7));
        assert_eq!(lag(&step(47), &step(40), 20), Some(-7));
        assert_eq!(lag(&[Some(1.0); 10], &[Some(2.0); 10], 5), Some(0));
        assert_eq!(lag(&[None; 10], &[Some(2.0); 10], 5), None);
    }

    #[test]
    fn the_error_of_a_series_is_against_the_range_of_the_reference() {
        assert_eq!(nrmse(&[Some(0.0), Some(10.0), None], &[Some(1.0), Some(9.0), Some(5.0)]), Some(0.1));
        assert_eq!(nrmse(&[Some(4.0), Some(4.0)], &[Some(5.0), Some(5.0)]), Some(0.25));
        assert_eq!((nrmse(&[], &[]), nrmse(&[Some(0.0)], &[Some(1.0)])), (None, None));
    }

    #[test]
    fn quantiles_are_nearest_ranks() {
        let sorted = [1.0, 2.0, 3.0, 4.0];
        assert_eq!(
            [0.0, 0.25, 0.26, 0.5, 1.0].map(|share| quantile(&sorted, share)),
            [1.0, 1.0, 2.0, 2.0, 4.0].map(Some)
        );
        assert_eq!(quantile(&[], 0.5), None);
    }

    fn sample() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(0.0_f64..100.0, 1..40).prop_map(|mut values| {
            values.sort_by(f64::total_cmp);
            values
        })
    }

    proptest! {
        #[test]
        fn a_sample_is_no_distance_from_itself(a in sample()) {
            prop_assert_eq!(wasserstein_1(&sample_of(&a), &sample_of(&a)), Some(0.0));
            prop_assert_eq!(kolmogorov_smirnov(&sample_of(&a), &sample_of(&a)), Some(0.0));
        }

        #[test]
        fn distances_are_symmetric_and_obey_the_triangle(a in sample(), b in sample(), c in sample()) {
            for distance in [wasserstein_1, kolmogorov_smirnov] {
                let between = |x: &[f64], y: &[f64]| distance(&sample_of(x), &sample_of(y)).unwrap();
                prop_assert!((between(&a, &b) - between(&b, &a)).abs() < 1e-9);
                prop_assert!(between(&a, &c) <= between(&a, &b) + between(&b, &c) + 1e-9);
            }
        }

        #[test]
        fn moving_a_sample_moves_it_that_far(a in sample(), by in 0.0_f64..50.0) {
            let moved: Vec<f64> = a.iter().map(|value| value + by).collect();
            prop_assert!((wasserstein_1(&sample_of(&a), &sample_of(&moved)).unwrap() - by).abs() < 1e-9);
        }

        #[test]
        fn wasserstein_of_equal_sizes_is_the_mean_difference_in_order(a in sample(), seed in sample()) {
            let b: Vec<f64> = { let mut b: Vec<f64> = a.iter().zip(seed.iter().cycle()).map(|(a, s)| a + s).collect(); b.sort_by(f64::total_cmp); b };
            let mean = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).sum::<f64>() / a.len() as f64;
            prop_assert!((wasserstein_1(&sample_of(&a), &sample_of(&b)).unwrap() - mean).abs() < 1e-6);
        }

        #[test]
        fn a_mix_is_between_no_and_all_of_it_away(a in prop::collection::vec(0_u64..50, 4), b in prop::collection::vec(0_u64..50, 4)) {
            if let Some(distance) = total_variation(&a, &b) {
                prop_assert!((0.0..=1.0 + 1e-9).contains(&distance));
                prop_assert_eq!(total_variation(&a, &a), Some(0.0));
            }
        }
    }
}
