//! The errors that are small enough.

use super::measure::Measure;

/// The goal that the error of a cell reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// The error is too large.
    Missed,
    /// The error is small enough.
    Reached,
    /// The error is small enough for the stricter goal, too.
    Beyond,
}

/// The largest errors that reach the goal, and those that reach the stricter goal.
struct Bounds {
    /// The errors as a share of the real value.
    share: [f64; 2],
    /// The errors in seconds, for the times of faults; reaching one of both is enough.
    seconds: [f64; 2],
}

impl Goal {
    /// Returns the goal that an error of `measure` reaches. `real` is the real value. It is `None` if the measure has no goal.
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
        // The bounds in seconds are 0 for all measures but the recovery time.
        let [reached, beyond] = [0, 1]
            .map(|place| relative <= share[place] || (measure == Measure::Recovery && error.abs() <= seconds[place]));
        Some(match (reached, beyond) {
            (_, true) => Self::Beyond,
            (true, false) => Self::Reached,
            (false, false) => Self::Missed,
        })
    }

    /// Returns the sign for tables.
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
