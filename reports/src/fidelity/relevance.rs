//! The relevance of a difference. A quiet host repeats itself so exactly that a difference of a hundredth of a millisecond is outside of
//! its noise, and yet no decision depends on it.

use super::measure::Measure;

/// The largest difference of each measure that does not matter.
///
/// * Latencies: a share of the real value, and for the Wasserstein-1 distance a share of the real p50.
/// * Statuses: a share of the requests.
/// * Times of faults: a share of the real time or a time, whichever is larger.
/// * Series: the normalised error, and a window for the lag.
const NEGLIGIBLE: [(Measure, Bound); 11] = [
    (Measure::P50, Bound::Plain(0.02)),
    (Measure::P90, Bound::Plain(0.03)),
    (Measure::P99, Bound::Plain(0.05)),
    (Measure::Wasserstein, Bound::Share(0.02)),
    (Measure::Mix, Bound::Plain(0.005)),
    (Measure::Recovery, Bound::ShareOrSeconds(0.05, 0.1)),
    (Measure::Detection, Bound::ShareOrSeconds(0.05, 0.1)),
    (Measure::Goodput, Bound::Plain(0.02)),
    (Measure::GoodputLag, Bound::Plain(0.1)),
    (Measure::P95, Bound::Plain(0.1)),
    (Measure::P95Lag, Bound::Plain(0.1)),
];

/// How the bound of a measure is given.
#[derive(Debug, Clone, Copy)]
enum Bound {
    /// A bound in the unit of the difference.
    Plain(f64),
    /// A bound as a share of the real value.
    Share(f64),
    /// A share of the real value or a time in seconds; the larger counts.
    ShareOrSeconds(f64, f64),
}

/// Returns true if `difference` is larger than what is negligible. It is in the unit of the measure's error, or of its distance if it has no
/// error. `real` is the real value in seconds, for the Wasserstein-1 distance the real p50.
pub(super) fn matters(measure: Measure, difference: f64, real: Option<f64>) -> bool {
    let bound = NEGLIGIBLE.iter().find(|(other, _)| *other == measure).map(|(_, bound)| *bound);
    let largest = match (bound, real) {
        (Some(Bound::Plain(largest)), _) => largest,
        (Some(Bound::Share(share)), Some(real)) => share * real,
        (Some(Bound::ShareOrSeconds(share, seconds)), real) => seconds.max(share * real.unwrap_or(0.0)),
        (Some(Bound::Share(_)), None) | (None, _) => 0.0,
    };
    difference.abs() > largest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_measure_has_a_bound() {
        for measure in Measure::ALL {
            assert!(!matters(measure, 0.0, None) && matters(measure, 1e9, Some(1.0)), "{measure:?}");
            assert!(NEGLIGIBLE.iter().any(|(other, _)| *other == measure), "{measure:?}");
        }
    }

    #[test]
    fn latencies_are_compared_by_share_and_times_of_faults_by_share_or_time() {
        assert!(!matters(Measure::P50, -0.02, Some(1.0)) && matters(Measure::P50, -0.021, Some(1.0)));
        // Of a p50 of 50 ms, a millisecond.
        assert!(!matters(Measure::Wasserstein, 0.001, Some(0.05)) && matters(Measure::Wasserstein, 0.0011, Some(0.05)));
        // 5 % of 10 s are 0.5 s, and of 1 s less than 100 ms.
        assert!(!matters(Measure::Recovery, 0.5, Some(10.0)) && matters(Measure::Recovery, 0.51, Some(10.0)));
        assert!(!matters(Measure::Recovery, -0.1, Some(1.0)) && matters(Measure::Recovery, -0.11, Some(1.0)));
        assert!(matters(Measure::Detection, 0.11, None));
    }
}
