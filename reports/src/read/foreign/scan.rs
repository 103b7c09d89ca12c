//! What has to be known of all rows of a log before the first one becomes a request.

use super::{
    super::{Columns, Mapping, ReadError, listed},
    log::{Log, LogLine},
    row::{Times, is_wanted},
};

/// The result of the scan.
#[derive(Debug)]
pub(super) struct Scan {
    /// The column of each field, as far as the log has one.
    pub(super) columns: Columns,
    /// The number of requests in each part of the log.
    rows: Vec<u64>,
    /// The earliest time, in microseconds.
    pub(super) zero: f64,
    /// The highest number in the column of the statuses.
    pub(super) highest: Option<u32>,
    /// The number of the last line, if the log ends in the middle of it.
    pub(super) cut_off: Option<usize>,
}

/// The scan of a part of the log.
#[derive(Debug)]
struct ScanPart {
    /// Whether a request has each of the watched columns.
    seen: Vec<bool>,
    /// For each `--only`: whether a row that the ones before let pass has the column, and whether there is such a row.
    only: Vec<[bool; 2]>,
    rows: u64,
    zero: f64,
    /// The place in this part of the first request that has no time.
    first_scheduled: Option<u64>,
    highest: Option<u32>,
}

impl Scan {
    /// Scans the log.
    ///
    /// # Errors
    /// The log cannot be read or has no requests, or there is no column that the mapping names.
    pub(super) fn of(log: &Log<'_>, mapping: &Mapping) -> Result<Self, ReadError> {
        let names = log.names()?;
        let mut columns = mapping.columns.clone().or_our_own(|name| names.iter().any(|known| known == name));
        loop {
            let part = |_| ScanPart::new(log.watched.len(), mapping.only.len());
            let times = Times::of(log, &columns, mapping.rate);
            let status = columns.get("status").and_then(|column| log.place(&column.name));
            let only = mapping.only_places(log);
            let passed = log.pass(part, |part, line| {
                part.add(line, &only, &times, status);
                Ok(())
            })?;
            let all = ScanPart::joined(&passed.parts, mapping.rate);
            all.check(log, mapping)?;
            let has = |name: &str| log.place(name).is_some_and(|place| all.seen[place]);
            let settled = mapping.columns.clone().or_our_own(has);
            // A column that the first lines do not have, or that is always empty: the times have to be read again.
            if settled == columns {
                let rows = passed.parts.iter().map(|part| part.rows).collect();
                return Ok(Self { columns, rows, zero: all.zero, highest: all.highest, cut_off: passed.cut_off });
            }
            columns = settled;
        }
    }

    /// Returns the number of requests in all parts before the one at `part`.
    pub(super) fn rows_before(&self, part: usize) -> u64 {
        self.rows.iter().take(part).sum()
    }
}

impl ScanPart {
    fn new(columns: usize, only: usize) -> Self {
        Self {
            seen: vec![false; columns],
            only: vec![[false; 2]; only],
            rows: 0,
            zero: f64::INFINITY,
            first_scheduled: None,
            highest: None,
        }
    }

    fn add(&mut self, line: &LogLine<'_>, only: &[(usize, &str)], times: &Times, status: Option<usize>) {
        for ([has_column, is_reached], filter) in self.only.iter_mut().zip(only) {
            *is_reached = true;
            *has_column |= line(filter.0).is_some();
            if !is_wanted(line, std::slice::from_ref(filter)) {
                return;
            }
        }
        for (column, seen) in self.seen.iter_mut().enumerate().filter(|(_, seen)| !**seen) {
            *seen = line(column).is_some();
        }
        // A time that is damaged is an error when the rows are read.
        match times.start(None, line) {
            Ok(Some([start, _])) => self.zero = self.zero.min(start),
            Ok(None) => self.first_scheduled = self.first_scheduled.or(Some(self.rows)),
            Err(_) => {}
        }
        let number = status.and_then(line).and_then(|text| text.parse().ok());
        self.highest = self.highest.max(number);
        self.rows += 1;
    }

    /// Returns the scan of all parts. `rate` gives the requests without times their times.
    fn joined(parts: &[Self], rate: Option<f64>) -> Self {
        let mut all =
            Self::new(parts.first().map_or(0, |part| part.seen.len()), parts.first().map_or(0, |part| part.only.len()));
        for part in parts {
            let scheduled = part.first_scheduled.zip(rate).map(|(place, rate)| (all.rows + place) as f64 * 1e6 / rate);
            all.zero = all.zero.min(part.zero).min(scheduled.unwrap_or(f64::INFINITY));
            all.highest = all.highest.max(part.highest);
            all.rows += part.rows;
            all.seen.iter_mut().zip(&part.seen).for_each(|(all, part)| *all |= part);
            for (all, part) in all.only.iter_mut().flatten().zip(part.only.iter().flatten()) {
                *all |= part;
            }
        }
        all
    }

    /// Fails if there are no requests, or no column that the mapping names.
    fn check(&self, log: &Log<'_>, mapping: &Mapping) -> Result<(), ReadError> {
        for ((column, _), [has_column, is_reached]) in mapping.only.iter().zip(&self.only) {
            if *is_reached && !has_column {
                let present = listed(&log.names()?);
                return Err(log.content(format!("it has no column `{column}` for --only; it has {present}")));
            }
        }
        if self.rows == 0 {
            let reason = if self.only.first().is_some_and(|[_, is_reached]| *is_reached) {
                "no row has the values that --only asks for"
            } else {
                "it has no requests; the format is CSV with a header line, or JSON lines"
            };
            return Err(log.content(reason.to_owned()));
        }
        for (field, column) in mapping.columns.iter() {
            if log.place(&column.name).is_none_or(|place| !self.seen[place]) {
                return Err(log.no_column(field, &column.name)?);
            }
        }
        Ok(())
    }
}

impl Mapping {
    /// Returns the places of the columns of `--only` with their values.
    pub(super) fn only_places(&self, log: &Log<'_>) -> Vec<(usize, &str)> {
        self.only.iter().filter_map(|(column, value)| Some((log.place(column)?, value.as_str()))).collect()
    }
}
