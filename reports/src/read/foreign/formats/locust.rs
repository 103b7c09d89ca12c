//! Locust, a row a request: the CSV that a listener of the event `request` writes. Locust itself writes none, so the
//! names of its arguments are those of the columns.

use super::{
    super::{
        head::Head,
        recipe::{Layout, Recipe},
    },
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "locust-requests",
    source: "Locust (event request)",
    is_it: |head| head.has_columns(&["request_type", "name", "response_time"]),
    gives: Gives::Rows(recipe),
};

fn recipe(head: &Head) -> Recipe {
    // A listener is called when the request has ended, so that a time of its own is that of the end.
    let end =
        ["timestamp", "time", "end_time"].into_iter().find(|name| head.has_columns(&[name])).unwrap_or("timestamp");
    let status = ["status_code", "response_code", "status"].into_iter().find(|name| head.has_columns(&[name]));
    let time = if head.has_columns(&["start_time"]) { "sent=start_time".to_owned() } else { format!("done={end}") };
    let status = status.map(|name| format!(",status={name}:http")).unwrap_or_default();
    let success = if head.has_columns(&["success"]) { ",success=success" } else { "" };
    let columns = format!("{time},latency=response_time:ms,error=exception{status}{success}");
    Recipe::new(Layout::with_header(head.delimiter), &columns)
}
