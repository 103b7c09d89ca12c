//! k6, `--out json=FILE`: a line a sample of a metric, at the end of the request, between lines that declare the metrics.

use super::{
    super::{
        head::Head,
        recipe::{Dropped, Layout, Recipe},
    },
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "k6-json",
    source: "k6 (--out json)",
    is_it: |head| {
        let kind = head.object.as_ref().and_then(|object| object.get("type")?.as_str());
        head.has_keys(&["metric", "data"]) && matches!(kind, Some("Metric" | "Point"))
    },
    gives: Gives::Rows(recipe),
};

fn recipe(head: &Head) -> Recipe {
    // Of gRPC, the tag of the status has the code.
    let is_grpc = head.text.contains("\"grpc_req_duration\"") && !head.text.contains("\"http_req_duration\"");
    let numbers = if is_grpc { "grpc" } else { "http" };
    let columns =
        format!("done=data.time,latency=data.value:ms,status=data.tags.status:{numbers},error=data.tags.error");
    let metric: &[&str] = if is_grpc { &["grpc_req_duration"] } else { &["http_req_duration"] };
    Recipe {
        only: vec![("type", &["Point"]), ("metric", metric)],
        dropped: Some(Dropped { column: "metric", value: "dropped_iterations", count: "data.value" }),
        ..Recipe::new(Layout::JsonLines, &columns)
    }
}
