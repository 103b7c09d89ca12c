//! ghz, `-O json` or `-O pretty`: a document whose key `details` has a call each, with its end and a latency in nanoseconds.

use super::{
    super::recipe::{Layout, Recipe},
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "ghz-json",
    source: "ghz (-O json)",
    is_it: |head| head.is_document_with(&["count", "fastest", "slowest", "rps", "average"]),
    gives: Gives::Rows(|_| {
        Recipe::new(
            Layout::JsonArray(Some("details")),
            "done=timestamp,latency=latency:ns,status=status:grpc,error=error",
        )
    }),
};
