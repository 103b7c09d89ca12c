//! The page of quantiles without requests.

use maud::html;

use kernel::visible::Visible;

use super::{document, table};
use crate::{
    distribution::NamedDistribution,
    text::distribution::{ONLY_QUANTILES, file_name, rows},
};

/// Returns the page of quantiles side by side.
pub fn distribution(distributions: &[NamedDistribution]) -> String {
    let names: Vec<String> = distributions.iter().map(file_name).collect();
    let mut headings = vec![""];
    headings.extend(names.iter().map(String::as_str));
    if distributions.len() == 2 {
        headings.push("relative");
    }
    let sources: Vec<Vec<String>> =
        distributions.iter().map(|named| vec![named.place.visible().to_string(), named.source.clone()]).collect();
    let statuses = distributions.iter().zip(&names).flat_map(|(named, name)| {
        named
            .distribution
            .statuses
            .iter()
            .map(move |(status, count)| vec![name.clone(), status.clone(), count.to_string()])
    });
    let statuses: Vec<Vec<String>> = statuses.collect();
    let title = format!("Quantiles: {}", names.join(", "));
    let body = html! {
        h1 { (title) }
        p { (ONLY_QUANTILES) }
        (table(&headings, &rows(distributions)))
        @if !statuses.is_empty() {
            h2 { "Requests by status" }
            (table(&["", "status", "requests"], &statuses))
        }
        h2 { "Sources" }
        (table(&["file", "written by"], &sources))
    };
    document(&title, &body)
}
