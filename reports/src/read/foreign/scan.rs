//! The facts about all rows of a log that must be known before the first one becomes a request.

use super::{
    super::{
        Columns, Mapping, ReadError,
        bad_rows::BadRows,
        columns::{Column, FIELDS, unit_name},
        listed,
        moment::epoch_unit,
        outcome::{Numbers, is_no_error},
    },
    head::Head,
    log::{LineError, Log, LogLine},
    row::Times,
    select::{Row, Selection},
};

/// The most characters of a cell that is kept as an example.
const EXAMPLE_MAX: usize = 40;

/// The greatest number of dropped requests of a log. A few bytes can stand for a million of them.
const DROPPED_MAX: u64 = 10_000_000;

/// The result of the scan.
#[derive(Debug)]
pub(super) struct Scan {
    /// The column of each field, as far as the log has one.
    pub(super) columns: Columns,
    /// The number of rows that stand for requests in each part of the log.
    rows: Vec<u64>,
    /// The earliest time, in microseconds.
    pub(super) zero: f64,
    /// The meaning of numbers in the column of the statuses.
    pub(super) numbers: Numbers,
    /// The number of the last line, if the log ends in the middle of it.
    pub(super) cut_off: Option<usize>,
}

/// The scan of a part of the log.
#[derive(Debug, Clone)]
struct ScanPart {
    /// The first cell of each watched column in a request.
    first: Vec<Option<String>>,
    /// The columns that have had no cell yet.
    unseen: Vec<usize>,
    /// Two flags for each `--only`: a row that the ones before let pass has the column; there is such a row.
    only: Vec<[bool; 2]>,
    rows: u64,
    zero: f64,
    /// The place in this part of the first request that has no time.
    first_scheduled: Option<u64>,
    statuses: Statuses,
    /// The number of dropped requests that rows of the log stand for.
    dropped: u64,
}

/// The kinds of statuses that there are.
#[derive(Debug, Clone, Copy, Default)]
struct Statuses {
    /// True if there are numbers above 0 that gRPC has.
    has_codes: bool,
    /// True if there are numbers that only HTTP has.
    has_http: bool,
    /// The number of zeros, and of those beside an error in words.
    zeros: u64,
    explained: u64,
    has_words: bool,
}

impl Statuses {
    fn add(&mut self, status: Option<&str>, error: Option<&str>) {
        let Some(status) = status else { return };
        match status.trim().parse::<i64>() {
            Ok(0) => {
                self.zeros += 1;
                self.explained += u64::from(error.is_some_and(|text| !is_no_error(text)));
            }
            Ok(1..=16) => self.has_codes = true,
            Ok(100..1000) => self.has_http = true,
            Ok(_) => {}
            Err(_) => self.has_words = true,
        }
    }

    fn and(self, other: Self) -> Self {
        Self {
            has_codes: self.has_codes || other.has_codes,
            has_http: self.has_http || other.has_http,
            zeros: self.zeros + other.zeros,
            explained: self.explained + other.explained,
            has_words: self.has_words || other.has_words,
        }
    }

    fn has_numbers(self) -> bool {
        self.has_codes || self.has_http || self.zeros > 0
    }

    /// Returns the meaning of numbers and the reason; `None` if every number is 0, and nothing says what that means.
    fn meaning(self, column: &str) -> Option<(Numbers, &'static str)> {
        let name = column.to_lowercase();
        if self.has_http {
            Some((Numbers::Http, "as there are numbers from 100 on"))
        } else if self.has_codes {
            Some((Numbers::Grpc, "as all numbers are from 0 to 16"))
        } else if self.zeros == 0 {
            // Nothing but words, or numbers that neither has.
            Some((Numbers::Grpc, ""))
        } else if name.contains("grpc") {
            Some((Numbers::Grpc, "by the name of the column"))
        } else if name.contains("http") {
            Some((Numbers::Http, "by the name of the column"))
        } else if self.explained > 0 {
            Some((Numbers::Http, "as there are errors beside zeros"))
        } else if self.has_words {
            Some((Numbers::Grpc, "as there are names beside zeros"))
        } else {
            None
        }
    }
}

impl Scan {
    /// Scans the log, and adds notes on what was inferred.
    ///
    /// # Errors
    /// The log cannot be read or has no requests, there is no column that the mapping names, or its statuses may mean success
    /// or failure.
    pub(super) fn run(
        log: &Log<'_>,
        head: &Head,
        mapping: &Mapping,
        notes: &mut Vec<String>,
    ) -> Result<Self, ReadError> {
        let names = log.names(head);
        let selection = Selection::new(log, mapping);
        let mut settled = settle(log, mapping, |name| names.iter().any(|known| known == name));
        loop {
            let columns = &settled.columns;
            let present: Vec<usize> = (0..log.watched.len()).filter(|column| log.may_have(*column)).collect();
            let empty = ScanPart::new(log.watched.len(), mapping.only.len());
            let times = Times::new(log, columns, mapping.rate);
            let ending = ["status", "error"].map(|field| log.place_of(columns, field));
            let passed = log.pass(
                |_| ScanPart { unseen: present.clone(), ..empty.clone() },
                |part, line| {
                    part.add(line, &selection, &times, ending);
                    Ok(())
                },
                |part| part,
            )?;
            let all = ScanPart::joined(&passed.parts, mapping.rate);
            all.check(log, head, mapping, &passed.bad)?;
            let again = settle(log, mapping, |name| log.place(name).is_some_and(|place| all.first[place].is_some()));
            // A column that the first lines do not have, or that is always empty: the times have to be read again.
            if again.columns == settled.columns {
                let numbers = all.numbers(log, columns, mapping, notes)?;
                notes.extend(settled.note());
                notes.extend(units_by_name(&mapping.columns));
                notes.extend(all.epoch_notes(log, columns));
                let rows = passed.parts.iter().map(|part| part.rows).collect();
                return Ok(Self { columns: settled.columns, rows, zero: all.zero, numbers, cut_off: passed.cut_off });
            }
            settled = again;
        }
    }

    /// Returns the number of requests in all parts before the one at `part`.
    pub(super) fn rows_before(&self, part: usize) -> u64 {
        self.rows.iter().take(part).sum()
    }

    /// Returns the number of rows of requests.
    pub(super) fn rows(&self) -> u64 {
        self.rows.iter().sum()
    }
}

/// The columns of the fields.
struct Settled {
    columns: Columns,
    /// Those that their names alone say.
    guessed: Vec<(&'static str, Column)>,
}

/// Returns the columns that were mapped, that the format has, and whose names say what they hold, as far as the log `has`
/// them.
fn settle(log: &Log<'_>, mapping: &Mapping, has: impl Fn(&str) -> bool) -> Settled {
    let of_format = log.recipe.columns.clone().present(&has);
    let mut columns = mapping.columns.clone().or(&of_format);
    let guessed = log.candidates.complete(&mut columns, has);
    Settled { columns, guessed }
}

/// Returns a note on columns that were mapped without a unit, and whose names have one.
fn units_by_name(columns: &Columns) -> Option<String> {
    let by_name = columns.iter().filter(|(_, column)| column.is_unit_by_name);
    let units = by_name.filter_map(|(_, column)| Some(format!("`{}` in {}", column.name, unit_name(column.unit_us?))));
    let units: Vec<String> = units.collect();
    (!units.is_empty()).then(|| format!("the units are those of the names of the columns: {}", units.join(", ")))
}

impl Settled {
    /// Returns a note on what the names of columns were taken to mean.
    fn note(&self) -> Option<String> {
        if self.guessed.is_empty() {
            return None;
        }
        let guessed = self.guessed.iter().map(|(field, column)| {
            let unit = column.unit_us.map(|unit_us| format!(":{}", unit_name(unit_us))).unwrap_or_default();
            format!("{field}={}{unit}", column.name)
        });
        let guessed: Vec<String> = guessed.collect();
        Some(format!("read by the names of its columns, as --columns {}", guessed.join(",")))
    }
}

impl ScanPart {
    fn new(columns: usize, only: usize) -> Self {
        Self {
            first: vec![None; columns],
            unseen: Vec::new(),
            only: vec![[false; 2]; only],
            rows: 0,
            zero: f64::INFINITY,
            first_scheduled: None,
            statuses: Statuses::default(),
            dropped: 0,
        }
    }

    fn add(&mut self, line: &LogLine<'_>, selection: &Selection<'_>, times: &Times, ending: [Option<usize>; 2]) {
        // A number of dropped requests that is damaged is an error when the rows are read.
        let rows = match selection.row(line, &mut self.only) {
            Ok(Row::Other) | Err(_) => return,
            Ok(Row::Request) => 1,
            Ok(Row::Dropped(count)) => {
                self.dropped += count;
                count
            }
        };
        self.unseen.retain(|column| {
            let first = line(*column).map(|text| text.chars().take(EXAMPLE_MAX).collect());
            self.first[*column] = first;
            self.first[*column].is_none()
        });
        // A time that is damaged is an error when the rows are read.
        match times.start(None, line) {
            Ok(Some([start, _])) => self.zero = self.zero.min(start),
            Ok(None) => self.first_scheduled = self.first_scheduled.or(Some(self.rows)),
            Err(_) => {}
        }
        let [status, error] = ending.map(|column| line(column?));
        self.statuses.add(status, error);
        self.rows += rows;
    }

    /// Returns the scan of all parts. `rate` gives the requests without times their times.
    fn joined(parts: &[Self], rate: Option<f64>) -> Self {
        let first = parts.first();
        let mut all = Self::new(first.map_or(0, |part| part.first.len()), first.map_or(0, |part| part.only.len()));
        for part in parts {
            let scheduled = part.first_scheduled.zip(rate).map(|(place, rate)| (all.rows + place) as f64 * 1e6 / rate);
            all.zero = all.zero.min(part.zero).min(scheduled.unwrap_or(f64::INFINITY));
            all.statuses = all.statuses.and(part.statuses);
            all.rows += part.rows;
            all.dropped += part.dropped;
            for (all, part) in all.first.iter_mut().zip(&part.first) {
                *all = all.take().or_else(|| part.clone());
            }
            for (all, part) in all.only.iter_mut().flatten().zip(part.only.iter().flatten()) {
                *all |= part;
            }
        }
        all
    }

    /// Fails if there are no requests, or no column that the mapping names.
    fn check(&self, log: &Log<'_>, head: &Head, mapping: &Mapping, bad: &BadRows) -> Result<(), ReadError> {
        for ((column, _), [has_column, is_reached]) in mapping.only.iter().zip(&self.only) {
            if *is_reached && !has_column {
                let present = listed(&log.names(head));
                return Err(log.content(format!("it has no column `{column}` for --only; it has {present}")));
            }
        }
        if let (0, Some((line, reason))) = (self.rows, &bad.first) {
            let reason = format!("{reason}; no row can be read");
            return Err(log.refused(*line, LineError::Format(reason)));
        }
        if self.rows == 0 {
            let reason = if self.only.first().is_some_and(|[_, is_reached]| *is_reached) {
                "no row has the values that --only asks for"
            } else {
                "it has no requests; the format is CSV with a header line, or JSON lines, or one that --format names"
            };
            return Err(log.content(reason.to_owned()));
        }
        if self.dropped > DROPPED_MAX {
            let reason = format!("it has {} dropped requests; {DROPPED_MAX} are the most that are read", self.dropped);
            return Err(log.content(reason));
        }
        for (field, column) in mapping.columns.iter() {
            if log.place(&column.name).is_none_or(|place| self.first[place].is_none()) {
                return Err(log.no_column(head, field, &column.name));
            }
        }
        Ok(())
    }

    /// Returns the meaning of numbers in the column of the statuses.
    ///
    /// # Errors
    /// All are 0, and nothing says whether that is a success.
    fn numbers(
        &self,
        log: &Log<'_>,
        columns: &Columns,
        mapping: &Mapping,
        notes: &mut Vec<String>,
    ) -> Result<Numbers, ReadError> {
        let Some(column) = columns.get("status") else { return Ok(Numbers::Http) };
        if let Some(numbers) = column.numbers {
            let is_of_format = mapping.columns.get("status").is_none_or(|mapped| mapped.numbers.is_none());
            if is_of_format && self.statuses.has_numbers() {
                notes.push(format!("numbers in `{}` are statuses of {}, by the format", column.name, numbers.name()));
            }
            return Ok(numbers);
        }
        let Some((numbers, reason)) = self.statuses.meaning(&column.name) else {
            let name = &column.name;
            let reason = format!(
                "every status is 0, which is a success in gRPC and no response at all in HTTP; write --columns \
                 status={name}:grpc or status={name}:http"
            );
            return Err(log.content(reason));
        };
        if !reason.is_empty() {
            notes.push(format!("numbers in `{}` are statuses of {}, {reason}", column.name, numbers.name()));
        }
        Ok(numbers)
    }

    /// Returns notes on numbers that are times since 1970, in a unit that their size says.
    fn epoch_notes(&self, log: &Log<'_>, columns: &Columns) -> Vec<String> {
        let points = FIELDS.into_iter().filter(|field| matches!(*field, "intended" | "sent" | "done"));
        let points = points.filter_map(|field| columns.get(field)).filter(|column| column.unit_us.is_none());
        let noted = points.filter_map(|column| {
            let example = self.first[log.place(&column.name)?].as_ref()?;
            let unit = unit_name(epoch_unit(example.parse().ok()?)?);
            Some(format!(
                "numbers in `{}`, such as {example}, are times since 1970 in {unit}, by their size",
                column.name
            ))
        });
        noted.collect()
    }
}
