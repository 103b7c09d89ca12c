//! Reads logs of requests that other programs wrote.
//!
//! The beginning of a log ([`head`]) decides its format ([`formats`]), unless the user names one. A format says how the
//! bytes become rows, which columns hold what, and which rows are requests ([`recipe`]). From there on all logs go one way.
//!
//! Two of the times `intended` (or `sent`), `done` and `latency` are enough. A log without `intended` cannot show how long
//! a request waited for the load generator; a note says so.
//!
//! The log is read twice. What has to be known of all rows before the first one becomes a request (which columns there
//! are, the earliest time, what the numbers of statuses mean) comes from a scan ([`scan`]). Both passes read the log in
//! chunks of whole rows on all processors ([`chunks`]), and neither keeps lines. A row
//! that cannot be read is left out and counted.

mod chunks;
mod csv;
mod formats;
mod head;
mod json;
mod log;
mod names;
mod recipe;
mod row;
mod scan;
mod select;
mod source;
mod xml;

use std::{io::Read, path::Path};

use kernel::visible::Visible;

use self::{
    chunks::CHUNK,
    formats::{Format, Gives},
    head::Head,
    log::{Log, Passed},
    recipe::Recipe,
    row::{RowReader, RowsPart, RowsRead},
    scan::Scan,
    source::Source,
};
use super::{DOCUMENT_MAX, Input, Mapping, ReadError, bad_rows::BadRows, folder::until_last};
use crate::{
    distribution::{Distribution, NamedDistribution},
    rows::{AllRequests, RequestsRead, RunTables, Spill},
    run::RecordedRun,
};

/// Returns the name of a format.
///
/// # Errors
/// There is no such format; the message lists all.
pub(super) fn format_name(name: &str) -> Result<&'static str, String> {
    formats::named(name).map(|format| format.name)
}

/// Returns the names of all formats, in the order in which they are tried.
pub(super) fn format_names() -> impl Iterator<Item = &'static str> {
    formats::ALL.iter().map(|format| format.name)
}

pub(super) fn input(path: &Path, mapping: &Mapping) -> Result<Input, ReadError> {
    let source = Source::open(path)?;
    let head = Head::read(&source).map_err(ReadError::unreadable(path))?;
    let format = match &mapping.format {
        Some(name) => formats::named(name).map_err(ReadError::Format)?,
        None => formats::recognised(&head),
    };
    match format.gives {
        Gives::Rows(recipe) => {
            run(path, source, &head, format, recipe(&head), mapping, CHUNK).map(Box::new).map(Input::Run)
        }
        Gives::Quantiles(read) => {
            let unit_us = mapping.columns.get("latency").and_then(|column| column.unit_us);
            let distribution = document(path, &source).and_then(|text| {
                let distribution = read(&text, unit_us).and_then(with_quantiles);
                distribution.map_err(|reason| ReadError::Content { path: path.to_owned(), reason })
            })?;
            let place = path.to_owned();
            let source = format.source.to_owned();
            Ok(Input::Quantiles(NamedDistribution { place, source, distribution, has_requests: false }))
        }
    }
}

fn with_quantiles(distribution: Distribution) -> Result<Distribution, String> {
    if distribution.quantiles().is_empty() { Err("it has no quantiles".to_owned()) } else { Ok(distribution) }
}

/// Returns the whole text of a log.
fn document(path: &Path, source: &Source) -> Result<String, ReadError> {
    let mut bytes = Vec::new();
    source.bytes().take(DOCUMENT_MAX + 1).read_to_end(&mut bytes).map_err(ReadError::unreadable(path))?;
    let content = |reason: String| ReadError::Content { path: path.to_owned(), reason };
    if bytes.len() as u64 > DOCUMENT_MAX {
        return Err(content(format!("it is longer than {} MiB", DOCUMENT_MAX >> 20)));
    }
    let text = String::from_utf8(bytes).map_err(|_| content("it is not text in UTF-8".to_owned()))?;
    Ok(text.trim_start_matches('\u{feff}').to_owned())
}

fn run(
    path: &Path,
    source: Source,
    head: &Head,
    format: &Format,
    recipe: Recipe,
    mapping: &Mapping,
    chunk: usize,
) -> Result<RecordedRun, ReadError> {
    let mut notes = Vec::new();
    if !recipe.is_by_name && mapping.format.is_none() {
        notes.push(format!("the log is recognised as one of {}; --format says otherwise", format.source));
    }
    notes.extend(recipe.notes.iter().map(|note| (*note).to_owned()));
    let mut log = Log::open(path, source, head, recipe, mapping)?;
    log.chunk = chunk;
    let scan = Scan::run(&log, head, mapping, &mut notes)?;
    let reader = RowReader::new(&log, head, &scan, mapping, &mut notes)?;
    let requests = requests(&log, &scan, &reader, mapping, &mut notes)?;
    notes.extend(scan.cut_off.map(|line| format!("the log ends in the middle of line {line}, which is left out")));
    notes.extend(requests.note());
    Ok(RecordedRun {
        scenario_name: path.file_stem().unwrap_or_default().visible().to_string(),
        place: path.to_owned(),
        world: "log".to_owned(),
        seed: 0,
        duration: until_last(requests.last_us),
        servers: requests.servers,
        rows: RunTables { requests: requests.table, ..RunTables::default() },
        scenario: None,
        scenario_text: None,
        info: None,
        stored: None,
        state: None,
        notes,
    })
}

/// Reads the requests, and adds a note on rows that were left out.
fn requests(
    log: &Log<'_>,
    scan: &Scan,
    reader: &RowReader<'_>,
    mapping: &Mapping,
    notes: &mut Vec<String>,
) -> Result<AllRequests, ReadError> {
    let spill = Spill::default();
    // The place of a request in the log is its id, so the parts have to know how many precede them.
    let passed: Passed<RowsRead> = log.pass(
        |part| reader.part(RequestsRead::new(&spill), scan.rows_before(part)),
        |part, line| part.add(reader, line),
        RowsPart::finish,
    )?;
    notes.extend(left_out(log, scan, &passed.bad, mapping)?);
    Ok(AllRequests::from_parts(row::finished(log, passed.parts)?))
}

/// Returns the note on rows that were left out.
///
/// # Errors
/// They are more than are allowed.
fn left_out(log: &Log<'_>, scan: &Scan, bad: &BadRows, mapping: &Mapping) -> Result<Option<String>, ReadError> {
    let Some((line, reason)) = &bad.first else { return Ok(None) };
    // A row that is not even in the format is not among those that were scanned.
    let rows = scan.rows().max(bad.count);
    if mapping.bad_rows.allows(bad.count, rows) {
        return Ok(bad.note(rows));
    }
    let count = bad.count;
    let cannot = if count == 1 { "1 row" } else { &format!("{count} rows") };
    let reason = format!("{reason} ({cannot} of {rows} cannot be read; --bad-rows allows {})", mapping.bad_rows);
    Err(ReadError::Line { path: log.path.to_owned(), line: *line, reason })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::read::BadRowsMax;

    /// Returns the rows and the notes of a log that is read in chunks of `chunk` bytes, or the error.
    fn read(text: &str, chunk: usize, bad_rows: BadRowsMax) -> Result<(Vec<String>, Vec<String>), String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        fs::write(&path, text).unwrap();
        let source = Source::open(&path).unwrap();
        let head = Head::read(&source).unwrap();
        let format = formats::recognised(&head);
        let Gives::Rows(recipe) = &format.gives else { panic!("{text:?} has no rows") };
        let mapping = Mapping { bad_rows, ..Mapping::default() };
        let run = run(&path, source, &head, format, recipe(&head), &mapping, chunk);
        let run = run.map_err(|error| error.to_string().rsplit_once("log, ").unwrap().1.to_owned())?;
        Ok((run.rows.requests.iter().map(|row| format!("{row:?}")).collect(), run.notes))
    }

    /// Reads `text` in chunks of all sizes, which has `rows` rows and, if they are not allowed, this first bad one.
    fn is_read_alike(text: &str, rows: usize, first_bad: Option<&str>) {
        let whole = read(text, CHUNK, BadRowsMax::Rows(10)).unwrap();
        assert_eq!(whole.0.len(), rows, "{text:?}");
        for chunk in [1, 2, 7, 30, 64, 200] {
            assert_eq!(read(text, chunk, BadRowsMax::Rows(10)).as_ref(), Ok(&whole), "{chunk}: {text:?}");
            match first_bad {
                Some(error) => {
                    let message = read(text, chunk, BadRowsMax::Rows(0)).unwrap_err();
                    assert!(message.starts_with(error), "{chunk}: {message}");
                }
                None => assert_eq!(read(text, chunk, BadRowsMax::Rows(0)).as_ref(), Ok(&whole), "{chunk}: {text:?}"),
            }
        }
    }

    const HEADER: &str = "intended_us,latency_us,status,server,note";

    #[test]
    fn a_table_in_chunks_has_the_rows_and_lines_of_a_table_in_one() {
        let long = "x".repeat(300);
        let rows = format!(
            "1,2,OK,a,plain\n2,3,UNAVAILABLE,\"b\",\"a line\nbreak, and \"\"marks\"\"\n\"\n\n3,4,OK,5\" disk,{long}\n4,5,OK,\"{long}\n\",\n"
        );
        is_read_alike(&format!("{HEADER}\n{rows}5,6,OK,c,d\n"), 5, None);
        // Without a line break at the end, with a mark at the beginning, and with line breaks of other systems.
        is_read_alike(&format!("\u{feff}{HEADER}\n{rows}5,6,OK,c,d"), 5, None);
        is_read_alike(&format!("{HEADER}\n{rows}5,6,OK,c,d").replace('\n', "\r\n"), 5, None);
        is_read_alike(&format!("{HEADER}\n{rows}5,6,OK,c,d\n").replace('\n', "\r"), 5, None);
        // The last row is left out, and a mark of quotation that is not closed ends with the log.
        is_read_alike(&format!("{HEADER}\n{rows}5,6,O"), 4, None);
        is_read_alike(&format!("{HEADER}\n{rows}5,6,OK,c,\"d\n6,7,OK,c,d\n"), 5, None);
    }

    #[test]
    fn a_bad_row_of_a_table_is_named_by_its_line_whatever_the_chunks() {
        let text = format!("{HEADER}\n1,2,OK,\"a\n\n\",\n\n2,x,OK,a,\n3,4,OK,a,\n4,y,OK,a,\n");
        let bad = |line: usize| format!("line {line}: `x` in `latency_us` is not a time");
        is_read_alike(&text, 2, Some(&bad(6)));
        is_read_alike(&text.replace('\n', "\r\n"), 2, Some(&bad(6)));
    }

    #[test]
    fn an_array_in_chunks_has_the_rows_and_lines_of_an_array_in_one() {
        let row = |at: u32, more: &str| format!("{{\"intended_us\":{at},\"latency_us\":2,\"status\":\"OK\"{more}}}");
        let rows = [
            row(1, ",\"x\":[1,{\"y\":\"]}\\\"\"}]"),
            row(2, &format!(",\"x\":\"{}\"", "y".repeat(300))),
            row(3, ",\"latency_us\":true"),
            row(4, ",\"x\":{\"y\":1e3}"),
        ]
        .join(",\n");
        let bad = "line 4: `true` in `latency_us` is not a time";
        is_read_alike(&format!("[\n{rows}\n]\n"), 3, Some(bad));
        is_read_alike(&format!("[\n{rows},\n{{\"intended_us\":4"), 3, Some(bad));
    }

    #[test]
    fn xml_in_chunks_has_the_rows_and_lines_of_xml_in_one() {
        let row = |at: u32, took: &str| {
            format!("<httpSample t=\"{took}\" ts=\"17778528{at:05}\" s=\"true\" rc=\"200\"><a t=\"7\"/></httpSample>\n")
        };
        let rows = [row(1, "5"), row(2, "5&#48;"), row(3, "x"), row(4, "8")].concat();
        let start = "<?xml version=\"1.0\"?>\n<testResults>\n";
        let bad = "line 5: `x` in `t` is not a time";
        is_read_alike(&format!("{start}{rows}</testResults>\n"), 3, Some(bad));
        is_read_alike(&format!("{start}{rows}<httpSample t="), 3, Some(bad));
    }
}
