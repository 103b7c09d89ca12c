//! The formats that are recognised, a file each.
//!
//! A new format is a file here and its name in [`ALL`]. A format of rows says how a row becomes a request ([`Recipe`]); a
//! format of quantiles reads its document itself.

mod artillery;
mod envoy_json;
mod envoy_text;
mod fortio;
mod gatling;
mod ghz_csv;
mod ghz_json;
mod hey;
mod hgrm;
mod jmeter_csv;
mod jmeter_xml;
mod json_array;
mod json_lines;
mod k6_csv;
mod k6_json;
mod locust;
mod locust_statistics;
mod oha_csv;
mod oha_summary;
mod own;
mod table;
mod vegeta_csv;
mod vegeta_json;
mod wrk2;

use super::{head::Head, recipe::Recipe};
use crate::distribution::Distribution;

/// A format of logs.
pub(super) struct Format {
    /// The name for `--format`.
    pub(super) name: &'static str,
    /// The program that writes it, as messages name it.
    pub(super) source: &'static str,
    /// Returns whether a log that begins so is in this format.
    pub(super) is_it: fn(&Head) -> bool,
    /// The data that a log of the format has.
    pub(super) gives: Gives,
}

/// The data that a log of a format has.
pub(super) enum Gives {
    /// A row a request. The beginning of the log decides between variants of the format.
    Rows(fn(&Head) -> Recipe),
    /// Quantiles of all requests together. The function reads the whole document; values without a unit have the one given,
    /// in microseconds.
    Quantiles(fn(&str, Option<f64>) -> Result<Distribution, String>),
}

/// All formats. The first one that recognises a log reads it, so the last three, which take any file, are the last.
pub(super) const ALL: [&Format; 24] = [
    &own::FORMAT,
    &k6_csv::FORMAT,
    &k6_json::FORMAT,
    &vegeta_json::FORMAT,
    &vegeta_csv::FORMAT,
    &jmeter_csv::FORMAT,
    &jmeter_xml::FORMAT,
    &locust::FORMAT,
    &ghz_csv::FORMAT,
    &ghz_json::FORMAT,
    &hey::FORMAT,
    &oha_csv::FORMAT,
    &gatling::FORMAT,
    &envoy_text::FORMAT,
    &envoy_json::FORMAT,
    &hgrm::FORMAT,
    &fortio::FORMAT,
    &artillery::FORMAT,
    &locust_statistics::FORMAT,
    &oha_summary::FORMAT,
    &wrk2::FORMAT,
    &json_array::FORMAT,
    &json_lines::FORMAT,
    &table::FORMAT,
];

/// Returns the format of a log that begins so.
pub(super) fn recognised(head: &Head) -> &'static Format {
    ALL.into_iter().find(|format| (format.is_it)(head)).unwrap_or(&table::FORMAT)
}

/// Returns the format with this name.
///
/// # Errors
/// There is none; the message lists all names.
pub(super) fn named(name: &str) -> Result<&'static Format, String> {
    ALL.into_iter().find(|format| format.name == name).ok_or_else(|| {
        let names: Vec<&str> = ALL.iter().map(|format| format.name).collect();
        format!("`{name}` is not a format; the formats are {}", names.join(", "))
    })
}
