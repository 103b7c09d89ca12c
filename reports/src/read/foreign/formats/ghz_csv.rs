//! ghz, `-O csv`: a row a call, without times.

use super::{
    super::recipe::{Layout, Recipe},
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "ghz-csv",
    source: "ghz (-O csv)",
    is_it: |head| head.has_columns(&["duration (ms)", "status", "error"]),
    gives: Gives::Rows(|head| {
        Recipe::new(Layout::with_header(head.delimiter), "latency=duration (ms),status=status:grpc,error=error")
    }),
};
