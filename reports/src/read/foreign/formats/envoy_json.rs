//! Envoy, access logs in JSON with the names of the format strings as keys.

use super::{
    super::recipe::{Layout, Recipe},
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "envoy-json",
    source: "Envoy (access log, JSON)",
    is_it: |head| head.has_keys(&["start_time", "response_code", "duration"]),
    gives: Gives::Rows(|_| {
        Recipe::new(
            Layout::JsonLines,
            "sent=start_time,latency=duration:ms,status=response_code:http,server=upstream_host",
        )
    }),
};
