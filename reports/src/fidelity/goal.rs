//! How close is close enough.

use super::measure::Measure;

/// Whether a cell's error is small enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// It is not.
    Missed,
    /// It is.
    Reached,
    /// It is by far.
    Beyond,
}

/// The largest errors that reach the goal, and those that go beyond it.
struct Bounds {
    /// As a share of the real value.
    share: [f64; 2],
    /// Or in seconds, for the times of faults.
    seconds: [f64; 2],
}

impl Goal {
    /// Of an error of `measure`, whose real value is `real`; `None` if the measure has no goal of its own.
    pub(super) fn for_error(measure: Measure, error: f64, real: Option<f64>) -> Option<Self> {
        let none = [0.0; 2];
        let Bounds { share, seconds } = match measure {
            Measure::P50 => Bounds { share: [0.10, 0.02], seconds: none },
            Measure::P99 => Bounds { share: [0.20, 0.05], seconds: none },
            Measure::Mix => Bounds { share: [0.02, 0.005], seconds: none },
            Measure::Recovery => Bounds { share: [0.20, 0.05], seconds: [0.250, 0.100] },
            _ => return None,
        };
        let relative = match (measure, real) {
            (Measure::Recovery, Some(real)) if real > 0.0 => error.abs() / real,
            (Measure::Recovery, _) => f64::INFINITY,
            _ => error.abs(),
        };
        let within =
            |place: usize| relative <= share[place] || (measure == Measure::Recovery && error.abs() <= seconds[place]);
        Some(match (within(0), within(1)) {
            (_, true) => Self::Beyond,
            (true, false) => Self::Reached,
            (false, false) => Self::Missed,
        })
    }

    /// A sign for tables.
    pub fn sign(self) -> &'static str {
        match self {
            Self::Missed => "✗",
            Self::Reached => "✓",
            Self::Beyond => "✓✓",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn latencies_may_be_off_by_a_share_and_recoveries_by_a_share_or_a_time() {
        use Goal::{Beyond, Missed, Reached};
        let p50 = [0.02, -0.1, 0.11].map(|error| Goal::for_error(Measure::P50, error, Some(1.0)).unwrap());
        assert_eq!(p50, [Beyond, Reached, Missed]);
        // 12 s: 5 % are 0.6 s and 20 % are 2.4 s; of 1 s, 250 ms are more than 20 %; of none there is no share.
        let recovery = [(0.6, 12.0), (-2.0, 12.0), (3.0, 12.0), (0.25, 1.0), (0.1, 0.0), (1.0, 0.0)];
        let recovery = recovery.map(|(error, real)| Goal::for_error(Measure::Recovery, error, Some(real)).unwrap());
        assert_eq!(recovery, [Beyond, Reached, Missed, Reached, Beyond, Missed]);
        assert_eq!(Goal::for_error(Measure::P90, 0.0, Some(1.0)), None);
    }
}
