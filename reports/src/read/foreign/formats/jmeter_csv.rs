//! JMeter, a JTL file in CSV: a row a sample, with its start and the elapsed milliseconds.

use super::{
    super::recipe::{Layout, Recipe},
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "jmeter-csv",
    source: "JMeter (JTL, CSV)",
    is_it: |head| head.has_columns(&["timeStamp", "elapsed", "responseCode"]),
    gives: Gives::Rows(|head| Recipe {
        // The sum of a transaction controller repeats the samples below it.
        skip: Some(("responseMessage", "Number of samples in transaction")),
        ..Recipe::new(
            Layout::with_header(head.delimiter),
            "sent=timeStamp,latency=elapsed:ms,status=responseCode:http,success=success,error=failureMessage",
        )
    }),
};
