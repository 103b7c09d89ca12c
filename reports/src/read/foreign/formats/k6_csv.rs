//! k6, `--out csv=FILE`: a row a sample of a metric, at the end of the request.

use super::{
    super::{
        head::Head,
        recipe::{Dropped, Layout, Recipe},
    },
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "k6-csv",
    source: "k6 (--out csv)",
    is_it: |head| head.has_columns(&["metric_name", "timestamp", "metric_value"]),
    gives: Gives::Rows(recipe),
};

fn recipe(head: &Head) -> Recipe {
    // Of gRPC, the column of statuses has the codes.
    let is_grpc = head.text.contains("grpc_req_duration,") && !head.text.contains("http_req_duration,");
    let numbers = if is_grpc { "grpc" } else { "http" };
    let columns = format!("done=timestamp,latency=metric_value:ms,status=status:{numbers},error=error");
    let metric: &[&str] = if is_grpc { &["grpc_req_duration"] } else { &["http_req_duration"] };
    Recipe {
        only: vec![("metric_name", metric)],
        dropped: Some(Dropped { column: "metric_name", value: "dropped_iterations", count: "metric_value" }),
        ..Recipe::new(Layout::with_header(head.delimiter), &columns)
    }
}
