//! Counts points in the cells of a grid, where there are more than a plot can show.

use super::GridCell;

/// The number of cells along the time axis.
const COLUMNS: usize = 220;

/// The number of cells along the latency axis.
const ROWS: usize = 72;

/// The number of shades of cells. People cannot distinguish more.
const SHADES: u8 = 8;

/// The weight of a cell with a single point, so that one failure among millions is visible.
const WEIGHT_MIN: f64 = 0.35;

/// The number of points in each cell of time × logarithm of latency.
#[derive(Debug, Clone, PartialEq)]
pub struct Grid {
    end_s: f64,
    /// The range of latencies; both are positive.
    range_s: (f64, f64),
    /// The number of rows per unit of the logarithm of latency.
    scale: f64,
    counts: Vec<u32>,
}

impl Grid {
    /// Returns an empty grid for the seconds of a run up to `end_s`, and latencies in seconds within `range_s`.
    pub fn new(end_s: f64, range_s: Option<(f64, f64)>) -> Self {
        // A run without latencies still has a grid, for the requests that were dropped.
        let (low, high) = range_s.unwrap_or((1e-3, 1.0));
        // One more row above, so that the highest value is inside.
        let range_s = (low, high * (high / low).max(1.01).powf(1.0 / ROWS as f64));
        let scale = ROWS as f64 / (range_s.1 / range_s.0).ln();
        // The end is a divisor, and a run may end at 0.
        Self { end_s: end_s.max(1e-6), range_s, scale, counts: vec![0; COLUMNS * ROWS] }
    }

    /// Counts a point. A point without a positive latency counts in the lowest row.
    pub fn add(&mut self, (at, latency): (f64, f64)) {
        let column = (at / self.end_s * COLUMNS as f64) as usize;
        let row = if latency > 0.0 { ((latency / self.range_s.0).ln() * self.scale) as usize } else { 0 };
        let cell = &mut self.counts[row.min(ROWS - 1) * COLUMNS + column.min(COLUMNS - 1)];
        // The shade of a full counter is no different from that of a greater one.
        *cell = cell.saturating_add(1);
    }

    /// Returns the cells that contain points. Their darkness follows the logarithm of the number of points. Neighbours along
    /// the time axis that have the same shade are one cell.
    pub fn cells(&self) -> Vec<GridCell> {
        // The logarithm of 1 is 0, which cannot be a divisor.
        let most = f64::from(self.counts.iter().copied().max().unwrap_or(0)).max(2.0).ln();
        let mut cells = Vec::new();
        for row in 0..ROWS {
            let counts = &self.counts[row * COLUMNS..(row + 1) * COLUMNS];
            let shades: Vec<u8> = counts.iter().map(|count| if *count > 0 { shade(*count, most) } else { 0 }).collect();
            let mut column = 0;
            for run in shades.chunk_by(|a, b| a == b) {
                if run[0] > 0 {
                    cells.push(self.cell(row, column, run.len(), run[0]));
                }
                column += run.len();
            }
        }
        cells
    }

    /// Returns the cell that begins in `column` and is `columns` wide.
    fn cell(&self, row: usize, column: usize, columns: usize, shade: u8) -> GridCell {
        let weight = WEIGHT_MIN + (1.0 - WEIGHT_MIN) * f64::from(shade - 1) / f64::from(SHADES - 1);
        GridCell {
            x: (self.time(column), self.time(column + columns)),
            y: (self.latency(row), self.latency(row + 1)),
            weight,
        }
    }

    /// Returns the beginning of a column, in seconds of the run.
    fn time(&self, column: usize) -> f64 {
        column as f64 / COLUMNS as f64 * self.end_s
    }

    /// Returns the lower edge of a row, in seconds of latency.
    fn latency(&self, row: usize) -> f64 {
        self.range_s.0 * (self.range_s.1 / self.range_s.0).powf(row as f64 / ROWS as f64)
    }
}

/// Returns the shade of a cell with `count` points, from 1. `most` is the logarithm of the greatest count.
fn shade(count: u32, most: f64) -> u8 {
    ((f64::from(count).ln() / most) * f64::from(SHADES - 1)).round() as u8 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid(points: impl Iterator<Item = (f64, f64)>, range_s: (f64, f64)) -> Grid {
        let mut grid = Grid::new(100.0, Some(range_s));
        points.for_each(|point| grid.add(point));
        grid
    }

    #[test]
    fn every_point_is_in_a_cell_and_a_single_one_is_visible() {
        let points = (0..10_000).map(|index| (f64::from(index) / 100.0, 0.01)).chain([(50.0, 9.0)]);
        let grid = grid(points, (0.01, 9.0));
        assert_eq!(grid.counts.iter().sum::<u32>(), 10_001);
        let cells = grid.cells();
        let high = cells.iter().find(|cell| cell.y.0 <= 9.0 && cell.y.1 >= 9.0).unwrap();
        assert!(high.weight >= WEIGHT_MIN && high.x.0 <= 50.0 && high.x.1 >= 50.0);
    }

    #[test]
    fn equal_neighbours_are_one_cell() {
        let points = (0..22_000).map(|index| (f64::from(index) / 220.0, 0.01));
        assert_eq!(grid(points, (0.01, 0.01)).cells().len(), 1);
    }
}
