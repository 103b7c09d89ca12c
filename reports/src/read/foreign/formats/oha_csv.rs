//! oha, `--output-format csv`: a row a response, with seconds since the start.

use super::{
    super::recipe::{Layout, Recipe},
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "oha-csv",
    source: "oha (--output-format csv)",
    is_it: |head| head.has_columns(&["request-start", "request-duration", "status"]),
    gives: Gives::Rows(|head| Recipe {
        notes: &[
            "oha writes no row for a request without a response, so that connection errors and timeouts are not in the log",
        ],
        ..Recipe::new(
            Layout::with_header(head.delimiter),
            "sent=request-start:s,latency=request-duration:s,status=status:http",
        )
    }),
};
