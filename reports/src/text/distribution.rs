//! Quantiles without requests as plain text.

use kernel::{
    measure::text::table::{Align, TextTable},
    visible::Visible,
};

use super::{missing, optional_duration, optional_percent};
use crate::distribution::{NamedDistribution, SHOWN, name};

/// The note in reports of quantiles.
pub(crate) const ONLY_QUANTILES: &str =
    "Only quantiles are known, not the requests: there are no series over time, no episodes and no verdict.";

/// Returns the table of quantiles, side by side. It ends with a line break.
pub fn report(distributions: &[NamedDistribution]) -> String {
    let mut text = format!("Quantiles of latencies\n\n{}\n", table(distributions).render());
    for named in distributions {
        text.push_str(&format!("  {}  {}\n", named.place.visible(), named.source));
    }
    text.push_str(&format!("  note: {ONLY_QUANTILES}\n"));
    text
}

fn table(distributions: &[NamedDistribution]) -> TextTable {
    let names: Vec<String> = distributions.iter().map(file_name).collect();
    let mut columns = vec![("", Align::Left)];
    columns.extend(names.iter().map(|name| (name.as_str(), Align::Right)));
    if distributions.len() == 2 {
        columns.push(("relative", Align::Right));
    }
    let mut table = TextTable::new(&columns);
    for row in rows(distributions) {
        table.row(row);
    }
    table
}

/// Returns the name of the file or the folder.
pub(crate) fn file_name(named: &NamedDistribution) -> String {
    named.place.file_name().unwrap_or_default().visible().to_string()
}

/// Returns the rows of the table: what it is, the value of each distribution and, of two, their relative difference.
pub(crate) fn rows(distributions: &[NamedDistribution]) -> Vec<Vec<String>> {
    let mut rows = Vec::new();
    for share in SHOWN {
        let values: Vec<Option<f64>> = distributions.iter().map(|named| named.distribution.at(share)).collect();
        if values.iter().any(Option::is_some) {
            let mut row = vec![name(share)];
            row.extend(values.iter().map(|seconds| optional_duration(*seconds)));
            if let [reference, side] = values[..] {
                row.push(relative(reference, side));
            }
            rows.push(row);
        }
    }
    let mut requests = vec!["requests".to_owned()];
    let mut failed = vec!["failed".to_owned()];
    for named in distributions {
        let distribution = &named.distribution;
        requests.push(distribution.count.map_or_else(missing, |count| count.to_string()));
        let share = distribution.failed.zip(distribution.count.filter(|count| *count > 0));
        failed.push(optional_percent(share.map(|(failed, count)| failed as f64 / count as f64)));
    }
    if distributions.len() == 2 {
        requests.push(String::new());
        failed.push(String::new());
    }
    rows.extend([requests, failed]);
    rows
}

fn relative(reference: Option<f64>, side: Option<f64>) -> String {
    let share =
        reference.filter(|reference| *reference > 0.0).zip(side).map(|(reference, side)| side / reference - 1.0);
    share.map_or_else(missing, |share| format!("{:+.1} %", share * 100.0))
}
