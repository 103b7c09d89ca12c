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

/// Number of rows of the marks.
const MARK_ROWS: u16 = 1;

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
}

impl Widget for Charts<'_> {
    fn render(self, area: Rect, buffer: &mut Buffer) {
        let width = area.width.saturating_sub(LABEL_COLUMNS);
        if width == 0 || area.height <= MARK_ROWS {
            return;
        }
        let [latency, throughput] = self.series(width);
        let rows = area.height - MARK_ROWS;
        let upper = rows.div_ceil(2);
        self.marks(Rect { height: MARK_ROWS, ..area }, width, buffer);
        self.chart(&latency, Rect { y: area.y + MARK_ROWS, height: upper, ..area }, buffer);
        self.chart(&throughput, Rect { y: area.y + MARK_ROWS + upper, height: rows - upper, ..area }, buffer);
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
            Series { name: "p95", color: Color::Cyan, values: latency, text: |us| tally::shown(Some(us)) },
            Series {
                name: "answers",
                color: Color::Green,
                values: rate.collect(),
                text: |thousandths| quantity::rate(thousandths as f64 / 1e3),
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
        let bars = series.values.iter().zip(0..).map(|(value, column)| {
            let faulty = self.board.faults.iter().any(|fault| self.covers(fault, column, chart.width));
            let color = if faulty { Color::Red } else { series.color };
            SparklineBar::from(*value).style(Style::new().fg(color))
        });
        Sparkline::default().data(bars.collect::<Vec<_>>()).max(max.unwrap_or(1).max(1)).render(chart, buffer);
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

    /// Draws `▼crash` at the start of a fault and, if it lasts, `┄┄▲` up to its end. A name without room is left out.
    fn marks(&self, area: Rect, width: u16, buffer: &mut Buffer) {
        buffer.set_stringn(area.x, area.y, "faults", usize::from(LABEL_COLUMNS), HEADING);
        let mut cells: Vec<Option<char>> = vec![None; usize::from(width)];
        for fault in &self.board.faults {
            let start = usize::from(self.column(fault.start_us, width));
            let end = usize::from(self.column(fault.end_us.unwrap_or(self.now_us), width));
            cells[start..=end].iter_mut().for_each(|cell| *cell = cell.or(Some('┄')));
            if fault.end_us.is_some() {
                cells[end] = Some('▲');
            }
            cells[start] = Some('▼');
        }
        for (fault, next) in self.board.faults.iter().zip(self.next_starts(width)) {
            let start = usize::from(self.column(fault.start_us, width)) + 1;
            if start + fault.kind.chars().count() <= next {
                cells[start..].iter_mut().zip(fault.kind.chars()).for_each(|(cell, letter)| *cell = Some(letter));
            }
        }
        let marks: String = cells.into_iter().map(|cell| cell.unwrap_or(' ')).collect();
        buffer.set_string(area.x + LABEL_COLUMNS, area.y, marks, Style::new().red().bold());
    }

    /// The columns at which the names of the faults must end: the mark of the next fault, or the end of the chart.
    fn next_starts(&self, width: u16) -> impl Iterator<Item = usize> {
        let starts = self.board.faults.iter().skip(1).map(move |fault| usize::from(self.column(fault.start_us, width)));
        starts.chain([usize::from(width)])
    }
}
