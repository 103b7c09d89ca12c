//! Exports the percentiles of latencies as HdrHistogram writes them, for its plotter and for comparisons.

use std::{
    error::Error,
    fs::File,
    io::{BufWriter, Write},
    path::Path,
};

use super::Exporter;
use crate::{compare::Sample, run::RecordedRun};

/// Writes `latencies.hgrm`.
pub(super) const EXPORTER: Exporter = Exporter { option: "--hgrm", file: "latencies.hgrm", write };

/// The number of lines for each half of the distance that is left to all requests, as HdrHistogram has it.
const TICKS: u32 = 5;

fn write(run: &RecordedRun, path: &Path) -> Result<(), Box<dyn Error>> {
    write_sample(&Sample::of_requests(&run.rows.requests), path)
}

/// Writes the percentiles of the latencies of a run to a path.
pub(crate) fn write_sample(sample: &Sample, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut file = BufWriter::new(File::create(path)?);
    writeln!(file, "{:>12} {:>14} {:>10} {:>14}\n", "Value", "Percentile", "TotalCount", "1/(1-Percentile)")?;
    let mut sum = 0.0;
    let mut squares = 0.0;
    for (seconds, count) in sample.counts() {
        sum += seconds * 1e3 * count as f64;
        squares += (seconds * 1e3).powi(2) * count as f64;
    }
    let mean = sum / sample.len().max(1) as f64;
    for share in shares(sample.len()) {
        let Some(seconds) = sample.quantile(share) else { continue };
        let count = sample.up_to(seconds);
        let reciprocal = if share < 1.0 { format!(" {:>14.2}", 1.0 / (1.0 - share)) } else { String::new() };
        writeln!(file, "{:>12.3} {share:>14.12} {count:>10}{reciprocal}", seconds * 1e3)?;
    }
    let deviation = (squares / sample.len().max(1) as f64 - mean * mean).max(0.0).sqrt();
    let max = sample.quantile(1.0).unwrap_or(0.0) * 1e3;
    writeln!(file, "#[Mean    = {mean:>12.3}, StdDeviation   = {deviation:>12.3}]")?;
    writeln!(file, "#[Max     = {max:>12.3}, Total count    = {:>12}]", sample.len())?;
    // Programs that read the format pass over such a line, and `reports` needs no unit then.
    writeln!(file, "#[Unit    = ms]")?;
    file.flush()?;
    Ok(())
}

/// Returns the shares of the lines: closer to each other the closer they are to 1, up to the last request.
fn shares(count: u64) -> Vec<f64> {
    let mut shares = Vec::new();
    let mut left = 1.0;
    while count > 0 && left * count as f64 >= 1.0 {
        shares.extend((0..TICKS).map(|tick| 1.0 - left + left / 2.0 * f64::from(tick) / f64::from(TICKS)));
        left /= 2.0;
    }
    if count > 0 {
        shares.push(1.0);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_denser_towards_the_end() {
        assert!(shares(0).is_empty());
        assert_eq!(shares(1), [0.0, 0.1, 0.2, 0.3, 0.4, 1.0]);
        let shares = shares(1_000_000);
        assert!(shares.is_sorted() && shares.len() < 120, "{}", shares.len());
        assert!(shares[shares.len() - 2] > 0.99999);
    }
}
