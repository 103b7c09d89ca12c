//! Charts of latency and throughput over the run, below the marks of the faults.

use kernel::measure::quantity;
use ratatui::{
    buffer::Buffer,
    layout::Rect,
    style::{Color, Style},
    widgets::{Sparkline, SparklineBar, Widget},
};

use super::{
    board::{Board, FaultSpan},
    style::HEADING,
    tally,
};

/// Number of columns before a chart, for its name and the value of its highest bar.
const LABEL_COLUMNS: u16 = 12;

/// Most rows of the marks: faults whose marks would cover each other have rows of their own.
const MARK_ROWS_MAX: u16 = 3;

/// Least number of rows of the two charts together.
const CHART_ROWS_MIN: u16 = 2;

/// The charts of a run up to the current time.
pub(super) struct Charts<'a> {
    /// The state of the run.
    pub(super) board: &'a Board,
    /// The current time of the run.
    pub(super) now_us: u64,
}

/// The values of one chart.
struct Series {
    name: &'static str,
    color: Color,
    /// Values by column; `None` in columns without requests.
    values: Vec<Option<u64>>,
    /// Formats a value.
    text: fn(u64) -> String,
    /// The height of bars is that of the logarithm, as latencies of a fault can be a thousand times the usual ones.
    is_logarithmic: bool,
}

impl Widget for Charts<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let width = area.width.saturating_sub(LABEL_COLUMNS);
        if width == 0 || area.height < 1 + CHART_ROWS_MIN {
            return;
        }
        let [latency, throughput] = self.series(width);
        let marks = self.marks(width, area.height - CHART_ROWS_MIN);
        let mark_rows = marks.len() as u16;
        let rows = area.height - mark_rows;
        let upper = rows.div_ceil(2);
        buffer.set_stringn(area.x, area.y, "faults", usize::from(LABEL_COLUMNS), HEADING);
        for (line, row) in marks.iter().zip(area.y..) {
            buffer.set_string(area.x + LABEL_COLUMNS, row, line, Style::new().red().bold());
        }
        self.chart(&latency, Rect { y: area.y + mark_rows, height: upper, ..area }, buffer);
        self.chart(&throughput, Rect { y: area.y + mark_rows + upper, height: rows - upper, ..area }, buffer);
    }
}

impl Charts<'_> {
    /// The width of the time axis: the duration of the run, or more while it waits for the last calls.
    fn axis_us(&self) -> u64 {
        self.board.duration_us.max(self.now_us).max(1)
    }

    fn series(&self, width: u16) -> [Series; 2] {
        let columns = self.board.timeline.columns(self.axis_us(), u64::from(width), self.now_us);
        let latency = columns.iter().map(|(tally, _)| tally.latencies.percentile(950)).collect();
        // In thousandths, as the values of bars are whole numbers.
        let rate = columns.iter().map(|(tally, seconds)| Some((tally.ended as f64 / seconds * 1e3).round() as u64));
        [
            Series {
                name: "p95, log",
                color: Color::Cyan,
                values: latency,
                text: |us| tally::shown(Some(us)),
                is_logarithmic: true,
            },
            Series {
                name: "answers",
                color: Color::Green,
                values: rate.collect(),
                text: |thousandths| quantity::rate(thousandths as f64 / 1e3),
                is_logarithmic: false,
            },
        ]
    }

    fn chart(&self, series: &Series, area: Rect, buffer: &mut Buffer) {
        let max = series.values.iter().flatten().max().copied();
        buffer.set_stringn(area.x, area.y, series.name, usize::from(LABEL_COLUMNS), HEADING);
        if let (Some(max), true) = (max, area.height > 1) {
            buffer.set_stringn(area.x, area.y + 1, (series.text)(max), usize::from(LABEL_COLUMNS), HEADING);
        }
        let chart = Rect { x: area.x + LABEL_COLUMNS, width: area.width - LABEL_COLUMNS, ..area };
        let least = series.values.iter().flatten().min().copied().unwrap_or_default();
        let greatest = max.unwrap_or(1).max(1);
        let height = |value: u64| {
            // Even the least latency has a bar.
            if series.is_logarithmic { on_log_scale(value, least, greatest).max(1) } else { value }
        };
        let full = if series.is_logarithmic { on_log_scale(greatest, least, greatest).max(1) } else { greatest };
        let bars = series.values.iter().zip(0..).map(|(value, column)| {
            let faulty = self.board.faults.iter().any(|fault| self.covers(fault, column, chart.width));
            let color = if faulty { Color::Red } else { series.color };
            SparklineBar::from(value.map(height)).style(Style::new().fg(color))
        });
        Sparkline::default().data(bars.collect::<Vec<_>>()).max(full).render(chart, buffer);
    }

    /// Tells if the fault was active in a column of a chart of this width.
    fn covers(&self, fault: &FaultSpan, column: u16, width: u16) -> bool {
        let end_us = fault.end_us.unwrap_or(self.now_us);
        (self.column(fault.start_us, width)..=self.column(end_us, width)).contains(&column)
    }

    fn column(&self, at_us: u64, width: u16) -> u16 {
        let column = u128::from(at_us) * u128::from(width) / u128::from(self.axis_us());
        u16::try_from(column).unwrap_or(u16::MAX).min(width - 1)
    }

    /// Returns the marks of the faults: `▼crash` at the start of a fault and, if it lasts, `┄┄▲` up to its end. A fault whose mark
    /// would cover another one's goes to the next of at most `rows` rows; without
    /// a free one, only its start is shown.
    fn marks(&self, width: u16, rows: u16) -> Vec<String> {
        let rows = usize::from(rows.clamp(1, MARK_ROWS_MAX));
        let mut lines: Vec<Vec<Option<char>>> = vec![vec![None; usize::from(width)]];
        for fault in &self.board.faults {
            let start = usize::from(self.column(fault.start_us, width));
            let mark = self.mark(fault, width);
            let cells = start..(start + mark.len()).min(usize::from(width));
            let mut free = lines.iter().position(|line| line[cells.clone()].iter().all(Option::is_none));
            if free.is_none() && lines.len() < rows {
                lines.push(vec![None; usize::from(width)]);
                free = Some(lines.len() - 1);
            }
            match free {
                Some(line) => lines[line][cells].iter_mut().zip(mark).for_each(|(cell, mark)| *cell = Some(mark)),
                None => lines[rows - 1][start] = Some('▼'),
            }
        }
        lines.iter().map(|line| line.iter().map(|cell| cell.unwrap_or(' ')).collect()).collect()
    }

    /// Returns the mark of a fault from its start on, at least as long as the fault and its name.
    fn mark(&self, fault: &FaultSpan, width: u16) -> Vec<char> {
        let start = self.column(fault.start_us, width);
        let end = self.column(fault.end_us.unwrap_or(self.now_us), width);
        let mut mark: Vec<char> = "▼".chars().chain(fault.kind.chars()).collect();
        let lasts = usize::from(end.saturating_sub(start));
        let name = mark.len();
        mark.resize(name.max(lasts + 1), '┄');
        if fault.end_us.is_some() && lasts >= name {
            mark[lasts] = '▲';
        }
        mark
    }
}

/// Returns a latency on a logarithmic scale from the decade below the least to that above the greatest, from 0 to 1,000.
fn on_log_scale(us: u64, least: u64, greatest: u64) -> u64 {
    let low = (least.max(1) as f64).log10().floor();
    let high = (greatest.max(1) as f64).log10().ceil().max(low + 1.0);
    (((us.max(1) as f64).log10() - low) / (high - low) * 1e3).round() as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::live::board::sample::sample_run;

    #[test]
    fn marks_that_would_cover_each_other_have_rows_of_their_own() {
        let (mut board, now_us) = sample_run();
        let fault = |index, kind: &str, start_s: u64, end_s: Option<u64>| FaultSpan {
            index,
            kind: kind.to_owned(),
            start_us: start_s * 1_000_000,
            end_us: end_s.map(|end_s| end_s * 1_000_000),
        };
        board.faults =
            vec![fault(0, "delay", 10, Some(30)), fault(1, "loss", 12, None), fault(2, "crash", 40, Some(40))];
        let charts = Charts { board: &board, now_us };
        // 45 columns for 90 s: two seconds each; now is 47.3 s.
        let marks: Vec<String> = charts.marks(45, 3).iter().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(marks, ["     ▼delay┄┄┄┄▲    ▼crash", "      ▼loss┄┄┄┄┄┄┄┄┄┄┄┄┄"]);
        let cut: Vec<String> = charts.marks(45, 1).iter().map(|line| line.trim_end().to_owned()).collect();
        assert_eq!(cut, ["     ▼▼elay┄┄┄┄▲    ▼crash"]);
    }

    #[test]
    fn a_logarithmic_scale_goes_from_decade_to_decade() {
        let scaled = [1_000, 10_000, 100_000, 31_623].map(|us| on_log_scale(us, 1_000, 100_000));
        assert_eq!(scaled, [0, 500, 1_000, 750]);
        assert_eq!(on_log_scale(0, 0, 0), 0);
    }
}
