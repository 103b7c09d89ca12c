//! JMeter, a JTL file in CSV: a row a sample, with its start and the elapsed milliseconds.

use super::{
    super::{
        head::Head,
        recipe::{Layout, Recipe},
    },
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "jmeter-csv",
    source: "JMeter (JTL, CSV)",
    is_it: |head| has_header(head) || is_without_header(head),
    gives: Gives::Rows(recipe),
};

/// The columns of a file without a header, if they were not chosen by hand.
const COLUMNS: [&str; 9] = [
    "timeStamp",
    "elapsed",
    "label",
    "responseCode",
    "responseMessage",
    "threadName",
    "dataType",
    "success",
    "failureMessage",
];

fn has_header(head: &Head) -> bool {
    head.has_columns(&["timeStamp", "elapsed", "responseCode"])
}

/// The first line has a time in milliseconds, a number, and in their places whether the sample succeeded.
fn is_without_header(head: &Head) -> bool {
    head.whole_number(0).is_some_and(|ms| (100_000_000_000..100_000_000_000_000).contains(&ms))
        && head.whole_number(1).is_some()
        && head.header.get(7).is_some_and(|cell| matches!(cell.as_str(), "true" | "false"))
}

fn recipe(head: &Head) -> Recipe {
    let layout = match has_header(head) {
        true => Layout::with_header(head.delimiter),
        false => Layout::without_header(head.delimiter, &COLUMNS),
    };
    Recipe {
        // The sum of a transaction controller repeats the samples below it.
        skip: Some(("responseMessage", "Number of samples in transaction")),
        ..Recipe::new(
            layout,
            "sent=timeStamp,latency=elapsed:ms,status=responseCode:http,success=success,error=failureMessage",
        )
    }
}
