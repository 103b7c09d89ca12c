//! Locust, `PREFIX_stats.csv`: percentiles in milliseconds of each request and, in the row `Aggregated`, of all.

use csv::ReaderBuilder;

use super::{Format, Gives};
use crate::distribution::Distribution;

pub(super) const FORMAT: Format = Format {
    name: "locust-statistics",
    source: "Locust (statistics)",
    is_it: |head| {
        head.has_columns(&["Type", "Name", "Request Count", "Failure Count"])
            || head.has_columns(&["Timestamp", "User Count", "Total Request Count"])
    },
    gives: Gives::Quantiles(|text, _| read(text)),
};

fn read(text: &str) -> Result<Distribution, String> {
    let mut reader = ReaderBuilder::new().flexible(true).from_reader(text.as_bytes());
    let header = reader.headers().map_err(|error| error.to_string())?.clone();
    if header.iter().any(|name| name == "Total Request Count") {
        return Err("it is the history of statistics, which has a row a second; name PREFIX_stats.csv".to_owned());
    }
    let rows: Vec<csv::StringRecord> = reader.records().collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let place = |name: &str| header.iter().position(|known| known == name);
    let name = place("Name").unwrap_or_default();
    let row = rows.iter().find(|row| row.get(name) == Some("Aggregated")).ok_or("it has no row `Aggregated`")?;
    let number = |name: &str| row.get(place(name)?)?.parse::<f64>().ok();
    let mut distribution = Distribution {
        count: number("Request Count").map(|count| count as u64),
        failed: number("Failure Count").map(|count| count as u64),
        mean_s: number("Average Response Time").map(|ms| ms / 1e3),
        ..Distribution::default()
    };
    if let Some(ms) = number("Min Response Time") {
        distribution.add(0.0, ms / 1e3)?;
    }
    for name in header.iter() {
        let share = name.strip_suffix('%').and_then(|percent| percent.parse::<f64>().ok());
        if let Some((percent, ms)) = share.zip(number(name)) {
            distribution.add(percent / 100.0, ms / 1e3)?;
        }
    }
    Ok(distribution)
}
