//! Which rows of a log are requests.

use super::{
    super::Mapping,
    log::{Log, LogLine},
    recipe::Dropped,
};

/// The greatest number of dropped requests that a row may stand for. Each becomes a row of its own.
const DROPPED_MAX: u64 = 1_000_000;

/// The meaning of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    /// One request.
    Request,
    /// This many requests that were dropped.
    Dropped(u64),
    /// Nothing that is asked for.
    Other,
}

/// The choice of rows.
#[derive(Debug)]
pub(super) struct Selection<'a> {
    /// The column and the value of each `--only`, and whether rows of dropped requests are chosen by that column.
    only: Vec<(Option<usize>, &'a str, bool)>,
    /// The columns of the format, and the values of which one is needed.
    of_format: Vec<(usize, &'static [&'static str])>,
    skip: Option<(usize, &'static str)>,
    dropped: Option<(usize, usize, Dropped)>,
}

impl<'a> Selection<'a> {
    /// Returns the choice of `mapping`, and that of the format for the columns that `mapping` does not choose by.
    pub(super) fn new(log: &Log<'_>, mapping: &'a Mapping) -> Self {
        let recipe = &log.recipe;
        let only = mapping.only.iter().map(|(column, value)| {
            let is_by_dropped = recipe.dropped.is_some_and(|dropped| dropped.column == column);
            (log.place(column), value.as_str(), is_by_dropped)
        });
        let of_format = recipe.only.iter().filter(|(column, _)| mapping.only.iter().all(|(only, _)| only != column));
        Self {
            only: only.collect(),
            of_format: of_format.filter_map(|(column, values)| Some((log.place(column)?, *values))).collect(),
            skip: recipe.skip.and_then(|(column, start)| Some((log.place(column)?, start))),
            dropped: recipe
                .dropped
                .and_then(|dropped| Some((log.place(dropped.column)?, log.place(dropped.count)?, dropped))),
        }
    }

    /// Returns what a row stands for. `reached` has for each `--only` whether a row that the ones before let pass has the
    /// column, and whether there is such a row; it may be shorter.
    ///
    /// # Errors
    /// It stands for a number of dropped requests that is none.
    pub(super) fn row(&self, line: &LogLine<'_>, reached: &mut [[bool; 2]]) -> Result<Row, String> {
        let dropped = self.dropped.filter(|(column, _, dropped)| line(*column) == Some(dropped.value));
        for (index, (column, value, is_of_dropped)) in self.only.iter().enumerate() {
            let cell = column.and_then(line);
            if let Some([has_column, is_reached]) = reached.get_mut(index) {
                *is_reached = true;
                *has_column |= cell.is_some();
            }
            // A choice of the latencies of k6 has the requests without one, too.
            if cell != Some(value) && !(*is_of_dropped && dropped.is_some()) {
                return Ok(Row::Other);
            }
        }
        if let Some((_, count, dropped)) = dropped {
            return dropped_count(line(count), dropped.count).map(Row::Dropped);
        }
        let is_wanted =
            self.of_format.iter().all(|(column, values)| line(*column).is_some_and(|cell| values.contains(&cell)));
        let is_skipped =
            self.skip.is_some_and(|(column, start)| line(column).is_some_and(|cell| cell.starts_with(start)));
        Ok(if is_wanted && !is_skipped { Row::Request } else { Row::Other })
    }
}

fn dropped_count(cell: Option<&str>, column: &str) -> Result<u64, String> {
    let text = cell.ok_or_else(|| format!("`{column}` is empty"))?;
    let count = text.parse::<f64>().ok().filter(|count| (0.0..=DROPPED_MAX as f64).contains(count));
    count.map(|count| count as u64).ok_or_else(|| {
        format!("`{text}` in `{column}` is not a number of dropped requests, which is {DROPPED_MAX} at most")
    })
}
