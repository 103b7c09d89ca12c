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

/// The largest errors of a measure that reach the goal, and those that reach the stricter goal.
#[derive(Debug, Clone, Copy, PartialEq, serde::Serialize)]
pub struct GoalBounds {
    /// The errors as a share of the real value; for statuses, the share of the requests.
    pub share: [f64; 2],
    /// The errors in seconds, where reaching one of both is enough.
    pub seconds: Option<[f64; 2]>,
}

impl GoalBounds {
    /// Returns the bounds of `measure`; `None` if it has no goal.
    pub fn for_measure(measure: Measure) -> Option<Self> {
        Some(match measure {
            Measure::P50 => Self { share: [0.10, 0.03], seconds: None },
            Measure::P99 => Self { share: [0.20, 0.08], seconds: None },
            Measure::Mix => Self { share: [0.01, 0.003], seconds: None },
            Measure::Recovery => Self { share: [0.10, 0.03], seconds: Some([0.100, 0.050]) },
            _ => return None,
        })
    }

    fn admits(&self, place: usize, error: f64, real: Option<f64>) -> bool {
        let Some(seconds) = self.seconds else { return error.abs() <= self.share[place] };
        // The error of a time is a time.
        error.abs() <= seconds[place] || real.is_some_and(|real| error.abs() <= self.share[place] * real)
    }
}

impl Goal {
    /// Returns the goal that an error of `measure` reaches. `real` is the real value. It is `None` if the measure has no goal.
    pub(super) fn for_error(measure: Measure, error: f64, real: Option<f64>) -> Option<Self> {
        let bounds = GoalBounds::for_measure(measure)?;
        let [reached, beyond] = [0, 1].map(|place| bounds.admits(place, error, real));
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
        let p50 = [0.03, -0.1, 0.11].map(|error| Goal::for_error(Measure::P50, error, Some(1.0)).unwrap());
        assert_eq!(p50, [Beyond, Reached, Missed]);
        let mix = [0.003, 0.01, 0.011].map(|error| Goal::for_error(Measure::Mix, error, None).unwrap());
        assert_eq!(mix, [Beyond, Reached, Missed]);
        // 12 s: 3 % are 0.36 s and 10 % are 1.2 s; of 0.5 s, 100 ms are more than 10 %; of none there is no share.
        let recovery = [(0.36, 12.0), (-1.0, 12.0), (3.0, 12.0), (0.1, 0.5), (0.05, 0.0), (1.0, 0.0)];
        let recovery = recovery.map(|(error, real)| Goal::for_error(Measure::Recovery, error, Some(real)).unwrap());
        assert_eq!(recovery, [Beyond, Reached, Missed, Reached, Beyond, Missed]);
        assert_eq!(Goal::for_error(Measure::P90, 0.0, Some(1.0)), None);
    }
}
