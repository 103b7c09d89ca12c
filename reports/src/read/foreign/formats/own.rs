//! The rows of this project: `requests.jsonl` of a run folder, or the same columns in CSV.

use super::{
    super::{
        head::Head,
        recipe::{Layout, Recipe},
    },
    Format, Gives,
};

pub(super) const FORMAT: Format = Format {
    name: "rehearsal",
    source: "this project's rows",
    is_it: |head| {
        let columns = ["intended_us", "latency_us", "status"];
        head.has_keys(&columns) || head.has_columns(&columns)
    },
    gives: Gives::Rows(recipe),
};

fn recipe(head: &Head) -> Recipe {
    let layout = if head.text.starts_with('{') { Layout::JsonLines } else { Layout::with_header(head.delimiter) };
    // Rows of other programs may have these names, too, and others beside them.
    Recipe { is_by_name: true, ..Recipe::new(layout, "") }
}
