//! vegeta, `vegeta encode --to json`: a line a request, with its start and a latency in nanoseconds.

use super::{
    super::recipe::{Layout, Recipe},
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "vegeta-json",
    source: "vegeta (encode)",
    is_it: |head| head.has_keys(&["attack", "seq", "code", "timestamp", "latency"]),
    gives: Gives::Rows(|_| {
        Recipe::new(Layout::JsonLines, "sent=timestamp,latency=latency:ns,status=code:http,error=error")
    }),
};
