//! Arrivals that are replayed from a file: `arrivals = "trace"`, `trace = "times.txt"`.
//!
//! The resolved scenario has the times themselves, so that it plays the same without the file.

use std::{
    io::{BufRead, BufReader, Read},
    path::Path,
    sync::Arc,
    time::Duration,
};

use serde::Deserialize;
use serde_json::{Value, json};

use super::settings::{Arrivals, Load};
use crate::{
    input::Input,
    settings::{
        duration, limits,
        problem::Problem,
        table::TableReader,
        toml_writer::string,
        value::{Codec, Item},
    },
    visible::Visible,
};

/// The most bytes of a line of the file.
const LINE_BYTES_MAX: u64 = 64 << 10;

/// Times of arrivals, in order. Clones share them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trace {
    /// Microseconds since the start of the run.
    times_us: Arc<[u64]>,
}

impl Trace {
    /// Creates the trace of these times, in microseconds since the start of the run, in any order.
    pub fn new(mut times_us: Vec<u64>) -> Self {
        times_us.sort_unstable();
        Self { times_us: times_us.into() }
    }

    /// Returns the time of arrival `index`, from 0.
    pub(super) fn get(&self, index: u64) -> Option<Duration> {
        self.times_us.get(usize::try_from(index).ok()?).map(|us| Duration::from_micros(*us))
    }

    /// Returns the number of arrivals in the first `duration` of a run.
    pub(super) fn count(&self, duration: Duration) -> usize {
        self.within(duration).len()
    }

    /// Returns the largest number of arrivals within one second, in the first `duration` of a run.
    pub(super) fn peak(&self, duration: Duration) -> usize {
        let times = self.within(duration);
        let mut first = 0;
        let mut peak = 0;
        for (last, us) in times.iter().enumerate() {
            while us - times[first] >= 1_000_000 {
                first += 1;
            }
            peak = peak.max(last + 1 - first);
        }
        peak
    }

    fn within(&self, duration: Duration) -> &[u64] {
        &self.times_us[..self.times_us.partition_point(|us| Duration::from_micros(*us) < duration)]
    }
}

/// Reads the file that `load` names, if it does, in place of the name. It is relative to `base`.
pub(crate) fn apply(table: &TableReader<'_, '_>, base: &Path, load: &mut Load) -> Result<(), Problem> {
    let Some(name) = load.trace.take() else { return Ok(()) };
    if load.arrivals != Arrivals::Trace {
        return Ok(());
    }
    let path = base.join(&name);
    let times = Input::open(&path).map_err(|error| error.to_string()).and_then(read);
    load.trace_us = Some(times.map_err(|wrong| {
        Problem::new(table.span("trace"), format!("trace {name}: {wrong}")).help(format!(
            "it is looked for at {}; each of its lines is a time or a row of requests.jsonl",
            path.visible()
        ))
    })?);
    Ok(())
}

/// Reads the times of a file. An error says what is wrong, and in which line.
fn read(file: impl Read) -> Result<Trace, String> {
    let mut file = BufReader::new(file.take(limits::TRACE_BYTES_MAX));
    let mut times_us = Vec::new();
    let mut line = Vec::new();
    for number in 1_u64.. {
        line.clear();
        let length = file.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line);
        if length.map_err(|error| format!("cannot be read: {error}"))? == 0 {
            break;
        }
        if number > limits::TRACE_TIMES_MAX as u64 {
            return Err(format!("it has more than {} lines; keep a part of it", limits::TRACE_TIMES_MAX));
        }
        // The line may have been cut.
        if file.get_ref().limit() == 0 {
            return Err(format!("it has more than {} bytes; keep a part of it", limits::TRACE_BYTES_MAX));
        }
        let text = std::str::from_utf8(&line).map_err(|_| format!("line {number} is no text in UTF-8"))?.trim();
        if !text.is_empty() && !text.starts_with('#') {
            times_us.push(time_us(text).map_err(|wrong| format!("line {number}: {wrong}"))?);
        }
    }
    if times_us.is_empty() {
        return Err("it has no time".to_owned());
    }
    Ok(Trace::new(times_us))
}

/// The part of a row of `requests.jsonl` that is replayed.
#[derive(Deserialize)]
struct Row {
    intended_us: u64,
}

/// Reads a line: a row, a duration, or a number of seconds.
fn time_us(text: &str) -> Result<u64, String> {
    let us = if text.starts_with('{') {
        let row: Row =
            serde_json::from_str(text).map_err(|error| format!("it is no row of requests.jsonl: {error}"))?;
        row.intended_us
    } else if let Ok(seconds) = text.parse::<f64>() {
        if seconds.is_nan() || seconds < 0.0 {
            return Err(format!("`{}` is no time after the start of the run", text.visible()));
        }
        // What is too large for the type is its largest value, which is too late.
        (seconds * 1e6).round() as u64
    } else {
        let time = duration::parse(text).map_err(|error| format!("{error}; a number without a unit is in seconds"))?;
        u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
    };
    if Duration::from_micros(us) > *limits::WAIT.end() {
        let latest = duration::text(*limits::WAIT.end());
        return Err(format!(
            "`{}` is later than {latest}; times count from the start of the run, so subtract that of the first line",
            text.visible()
        ));
    }
    Ok(us)
}

/// Times as a text: the microseconds from each to the next, the first from the start of the run.
pub(super) struct Gaps;

impl Codec for Gaps {
    type Target = Trace;
    type Limits = ();

    fn type_name() -> String {
        "list of microseconds".into()
    }

    fn read(item: &Item<'_>, (): &()) -> Result<Trace, Problem> {
        let wrong = |what: String| {
            Problem::at(item.span(), what).help("name a file in `trace` instead, which is written here once it is read")
        };
        let text = item.get_ref().as_str().ok_or_else(|| wrong("expected a text of numbers".to_owned()))?;
        let mut times_us = Vec::new();
        let mut time_us = 0_u64;
        for gap in text.split_ascii_whitespace() {
            let gap: u64 = gap.parse().map_err(|_| wrong(format!("`{gap}` is no number of microseconds")))?;
            time_us = time_us.saturating_add(gap);
            times_us.push(time_us);
        }
        if times_us.is_empty() || times_us.len() > limits::TRACE_TIMES_MAX {
            let message = format!("there are {} times; allowed are 1 to {}", times_us.len(), limits::TRACE_TIMES_MAX);
            return Err(wrong(message));
        }
        if Duration::from_micros(time_us) > *limits::WAIT.end() {
            return Err(wrong(format!("the last time is later than {}", duration::text(*limits::WAIT.end()))));
        }
        Ok(Trace::new(times_us))
    }

    fn written(value: &Trace) -> Option<String> {
        let mut before = 0;
        let gaps = value.times_us.iter().map(|us| {
            let gap = us - before;
            before = *us;
            gap.to_string()
        });
        Some(string(&gaps.collect::<Vec<_>>().join(" ")))
    }

    fn schema((): &()) -> Value {
        json!({ "type": "string", "pattern": "^[0-9 ]+$" })
    }

    fn limits_text((): &()) -> Option<String> {
        Some(format!("1 to {} numbers, together up to 24h", limits::TRACE_TIMES_MAX))
    }
}

#[cfg(test)]
mod tests {
    use std::io::repeat;

    use super::*;

    fn times(text: &str) -> Result<Vec<u64>, String> {
        read(text.as_bytes()).map(|trace| trace.times_us.to_vec())
    }

    #[test]
    fn a_line_is_a_number_of_seconds_a_duration_or_a_row() {
        assert_eq!(times("# seconds\n0\n0.25\n\n1.5\r\n1e1"), Ok(vec![0, 250_000, 1_500_000, 10_000_000]));
        assert_eq!(times("1m\n250ms\n7us"), Ok(vec![7, 250_000, 60_000_000]), "in order, whatever that of the file");
        let rows = "{\"id\":0,\"intended_us\":5,\"size\":\"8x8\"}\n{\"id\":1,\"intended_us\":5}\n";
        assert_eq!(times(rows), Ok(vec![5, 5]));
    }

    #[test]
    fn a_wrong_line_is_named() {
        for (text, message) in [
            ("", "it has no time"),
            ("0\n-1", "line 2: `-1` is no time after the start of the run"),
            ("nan", "line 1: `nan` is no time after the start of the run"),
            ("0\n\n1700000000.5", "line 3: `1700000000.5` is later than 24h; times count from the start of the run"),
            ("inf", "is later than 24h"),
            ("soon", "a number without a unit is in seconds"),
            ("{\"id\": 3}", "line 1: it is no row of requests.jsonl: missing field `intended_us`"),
        ] {
            let wrong = times(text).unwrap_err();
            assert!(wrong.contains(message), "{wrong}");
        }
        assert_eq!(read(&b"\xff\n"[..]), Err("line 1 is no text in UTF-8".to_owned()));
    }

    #[test]
    fn a_file_of_any_length_is_refused_before_it_fills_the_memory() {
        let many = "0\n".repeat(limits::TRACE_TIMES_MAX + 1);
        assert_eq!(times(&many), Err("it has more than 500000 lines; keep a part of it".to_owned()));
        assert_eq!(read(repeat(b'\n')), Err("it has more than 500000 lines; keep a part of it".to_owned()));
        assert!(read(repeat(b'9')).unwrap_err().contains("is later than 24h"));
    }

    #[test]
    fn the_peak_is_of_the_busiest_second() {
        let trace = Trace::new(vec![0, 100_000, 999_999, 1_000_000, 1_050_000, 9_000_000]);
        let second = Duration::from_secs(1);
        assert_eq!((trace.peak(second * 60), trace.peak(second), trace.count(second)), (4, 3, 3));
    }
}
