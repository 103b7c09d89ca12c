//! The values of a range that a search may test.

/// Ascending values from the low end of a range to its high end, numbered from 0.
#[derive(Debug, Clone, PartialEq)]
pub enum ValueGrid {
    /// Whole numbers, which may be too many to list.
    Whole {
        /// Lowest value.
        low: f64,
        /// Number of steps to the highest value.
        steps: u64,
    },
    /// Ascending values, none twice, at least one.
    Values(Vec<f64>),
}

impl ValueGrid {
    /// Returns the number of steps from the lowest value to the highest.
    pub fn steps(&self) -> u64 {
        match self {
            Self::Whole { steps, .. } => *steps,
            Self::Values(values) => values.len() as u64 - 1,
        }
    }

    /// Returns the value that is `step` steps above the lowest; `step` is at most [`steps`](Self::steps).
    pub fn value(&self, step: u64) -> f64 {
        match self {
            Self::Whole { low, .. } => low + step as f64,
            Self::Values(values) => values[step as usize],
        }
    }

    /// Returns the step whose value is the nearest to `value`, which is within the range.
    pub(super) fn nearest(&self, value: f64) -> u64 {
        match self {
            Self::Whole { low, .. } => (value - low).round() as u64,
            Self::Values(values) => {
                let above = values.partition_point(|other| *other < value).min(values.len() - 1);
                let below = above.saturating_sub(1);
                let nearest = if value - values[below] < values[above] - value { below } else { above };
                nearest as u64
            }
        }
    }
}
