//! Envoy, access logs in the default format of Envoy or of Istio: cells between spaces, in quotes where they have spaces.

use super::{
    super::{
        head::{Head, cells},
        recipe::{Layout, Recipe},
    },
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "envoy-text",
    source: "Envoy (access log)",
    is_it: |head| head.text.starts_with("[2") && request_line(head).is_some_and(|line| line.len() >= ENVOY.len()),
    gives: Gives::Rows(|head| {
        let is_istio = request_line(head).is_some_and(|line| line.len() > ENVOY.len());
        let names: &[&str] = if is_istio { &ISTIO } else { &ENVOY };
        Recipe::new(
            Layout::without_header(b' ', names),
            "sent=start_time,latency=duration:ms,status=response_code:http,server=upstream_host",
        )
    }),
};

const ENVOY: [&str; 13] = [
    "start_time",
    "request",
    "response_code",
    "response_flags",
    "bytes_received",
    "bytes_sent",
    "duration",
    "upstream_service_time",
    "x_forwarded_for",
    "user_agent",
    "request_id",
    "authority",
    "upstream_host",
];

/// The beginning of Istio's format, which has three more cells behind the flags.
const ISTIO: [&str; 16] = [
    "start_time",
    "request",
    "response_code",
    "response_flags",
    "response_code_details",
    "connection_termination_details",
    "upstream_transport_failure_reason",
    "bytes_received",
    "bytes_sent",
    "duration",
    "upstream_service_time",
    "x_forwarded_for",
    "user_agent",
    "request_id",
    "authority",
    "upstream_host",
];

/// Returns the cells of the first line, whose third one is a status.
fn request_line(head: &Head) -> Option<Vec<String>> {
    let cells = cells(head.lines().next()?, b' ');
    cells.get(2)?.parse::<u16>().ok()?;
    Some(cells)
}
