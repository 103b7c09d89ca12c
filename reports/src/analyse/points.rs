//! Every request as a point: when it was intended, how long it took, what became of it.

use kernel::{
    record::RequestRow,
    status::{Code, Outcome},
};

use crate::figure::density::Grid;

/// RequestPoints that are drawn one by one; of more, how many there are in each cell of a grid.
pub const POINTS_MAX: usize = 3000;

/// What became of a request, as far as colours tell it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestClass {
    /// With its first attempt.
    Ok,
    OkAfterRetry,
    /// A stale answer or a fallback's.
    Degraded,
    DeadlineExceeded,
    Unavailable,
    /// Ended with any other status.
    OtherError,
    /// Never sent; it has no latency.
    Dropped,
}

impl RequestClass {
    pub const ALL: [Self; 7] = [
        Self::Ok,
        Self::OkAfterRetry,
        Self::Degraded,
        Self::DeadlineExceeded,
        Self::Unavailable,
        Self::OtherError,
        Self::Dropped,
    ];

    fn from_row(row: &RequestRow) -> Self {
        match row.status {
            Outcome::OK if row.attempts > 1 => Self::OkAfterRetry,
            Outcome::OK => Self::Ok,
            Outcome::Status(Code::DeadlineExceeded) => Self::DeadlineExceeded,
            Outcome::Status(Code::Unavailable) => Self::Unavailable,
            Outcome::Status(_) => Self::OtherError,
            Outcome::Dropped => Self::Dropped,
            Outcome::Degraded => Self::Degraded,
        }
    }
}

/// The requests of each class, as points or as a grid.
#[derive(Debug, Clone, PartialEq)]
pub struct RequestPoints {
    /// From the lowest to the highest positive latency, in seconds; `None` without any.
    pub range_s: Option<(f64, f64)>,
    pub classes: Vec<(RequestClass, Cloud)>,
}

/// Seconds of the run, and seconds of latency; of dropped requests NaN.
#[derive(Debug, Clone, PartialEq)]
pub enum Cloud {
    Few(Vec<(f64, f64)>),
    Many { count: u64, grid: Grid },
}

impl RequestPoints {
    /// Of the rows of a run that was over at `end_us`.
    pub fn from_rows(rows: &[RequestRow], end_us: u64) -> Self {
        let range_s = range(rows);
        let empty = || {
            if rows.len() <= POINTS_MAX {
                Cloud::Few(Vec::new())
            } else {
                Cloud::Many { count: 0, grid: Grid::new(end_us as f64 / 1e6, range_s) }
            }
        };
        let mut clouds: Vec<Cloud> = RequestClass::ALL.iter().map(|_| empty()).collect();
        for row in rows {
            clouds[RequestClass::from_row(row) as usize].add((row.intended_us as f64 / 1e6, latency_s(row)));
        }
        let mut classes: Vec<(RequestClass, Cloud)> = RequestClass::ALL.into_iter().zip(clouds).collect();
        classes.retain(|(_, cloud)| cloud.count() > 0);
        Self { range_s, classes }
    }
}

impl Cloud {
    pub fn count(&self) -> u64 {
        match self {
            Self::Few(points) => points.len() as u64,
            Self::Many { count, .. } => *count,
        }
    }

    fn add(&mut self, point: (f64, f64)) {
        match self {
            Self::Few(points) => points.push(point),
            Self::Many { count, grid } => {
                *count += 1;
                grid.add(point);
            }
        }
    }
}

fn latency_s(row: &RequestRow) -> f64 {
    row.latency_us.map_or(f64::NAN, |us| us as f64 / 1e6)
}

fn range(rows: &[RequestRow]) -> Option<(f64, f64)> {
    let positive = rows.iter().filter_map(|row| row.latency_us).filter(|us| *us > 0);
    let (low, high) = positive.fold((u64::MAX, 0), |(low, high), us| (low.min(us), high.max(us)));
    (low <= high).then_some((low as f64 / 1e6, high as f64 / 1e6))
}
