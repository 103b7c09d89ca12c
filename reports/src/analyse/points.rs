//! Each request as a point: its intended start, its latency, and its outcome.

use kernel::{
    record::RequestRow,
    status::{Code, Outcome},
};

use crate::{figure::density::Grid, rows::RowTable};

/// The greatest number of requests that are drawn one by one. Beyond it, a plot shows the number in each cell of a grid.
pub const POINTS_MAX: usize = 3000;

/// The outcome of a request, as far as a plot distinguishes outcomes by color.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RequestClass {
    /// The first attempt succeeded.
    Ok,
    /// A later attempt succeeded.
    OkAfterRetry,
    /// The client returned a stale answer or that of a fallback.
    Degraded,
    /// The request ended with the status `DEADLINE_EXCEEDED`.
    DeadlineExceeded,
    /// The request ended with the status `UNAVAILABLE`.
    Unavailable,
    /// The request ended with another status.
    OtherError,
    /// The request was never sent, so it has no latency.
    Dropped,
}

impl RequestClass {
    /// All classes, in the order of legends.
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
    /// The lowest and the highest positive latency, in seconds; `None` if there is none.
    pub range_s: Option<(f64, f64)>,
    /// The classes that have requests, in the order of legends.
    pub classes: Vec<(RequestClass, Cloud)>,
}

/// Points with the intended start and the latency in seconds. The latency of a dropped request is NaN.
#[derive(Debug, Clone, PartialEq)]
pub enum Cloud {
    /// So few points that each is drawn.
    Few(Vec<(f64, f64)>),
    /// So many points that only their number in each cell is drawn.
    Many {
        /// The number of points.
        count: u64,
        /// The number of points in each cell.
        grid: Grid,
    },
}

impl RequestPoints {
    /// Returns the points of the rows of a run that ended at `end_us`, with its lowest and its highest positive latency.
    pub fn from_rows(rows: &RowTable<RequestRow>, end_us: u64, latencies_us: Option<(u64, u64)>) -> Self {
        let range_s = latencies_us.map(|(low, high)| (low as f64 / 1e6, high as f64 / 1e6));
        let empty = if rows.len() <= POINTS_MAX {
            Cloud::Few(Vec::new())
        } else {
            Cloud::Many { count: 0, grid: Grid::new(end_us as f64 / 1e6, range_s) }
        };
        let mut clouds = RequestClass::ALL.map(|_| empty.clone());
        rows.each(|row| {
            clouds[RequestClass::from_row(row) as usize].add((row.intended_us as f64 / 1e6, latency_s(row)));
        });
        let mut classes: Vec<(RequestClass, Cloud)> = RequestClass::ALL.into_iter().zip(clouds).collect();
        classes.retain(|(_, cloud)| cloud.count() > 0);
        Self { range_s, classes }
    }
}

impl Cloud {
    /// Returns the number of points.
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
