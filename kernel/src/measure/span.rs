//! A stretch of a run.

/// A stretch of a run, from `start_us` to just before `end_us`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Span {
    /// The first microsecond in it.
    pub(super) start_us: u64,
    /// The first microsecond behind it; not before `start_us`.
    pub(super) end_us: u64,
}

impl Span {
    pub(super) fn length_us(self) -> u64 {
        self.end_us - self.start_us
    }

    /// Counts how many of `times_us`, which are ascending, lie in this span of a run that ends at `run_end_us`.
    ///
    /// A span that reaches the end of the run holds what is at its very end, too, so that nothing is lost between the
    /// phases.
    pub(super) fn count(self, times_us: &[u64], run_end_us: u64) -> u64 {
        let from = times_us.partition_point(|at_us| *at_us < self.start_us);
        let to = if self.end_us >= run_end_us {
            times_us.len()
        } else {
            times_us.partition_point(|at_us| *at_us < self.end_us)
        };
        to.saturating_sub(from) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_counts_its_start_and_not_its_end_unless_the_run_ends_there() {
        let count = |start_us, end_us| Span { start_us, end_us }.count(&[100, 200, 200, 300], 300);
        assert_eq!([count(0, 100), count(100, 200), count(200, 300), count(0, 300), count(200, 200)], [0, 1, 3, 4, 0]);
    }
}
