//! hey, `-o csv`: a row a response, with seconds since the start.

use super::{
    super::recipe::{Layout, Recipe},
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "hey-csv",
    source: "hey (-o csv)",
    is_it: |head| head.has_columns(&["response-time", "status-code", "offset"]),
    gives: Gives::Rows(|head| Recipe {
        notes: &[
            "hey writes no row for a request without a response, so that connection errors and timeouts are not in the log",
        ],
        ..Recipe::new(
            Layout::with_header(head.delimiter),
            "sent=offset:s,latency=response-time:s,status=status-code:http",
        )
    }),
};
