//! Exports one table of requests, attempts and events as Parquet.

use std::{error::Error, fs::File, path::Path};

use polars_io::parquet::write::ParquetWriter;

use super::Exporter;
use crate::{frame::Frames, run::RecordedRun};

/// Writes `joined.parquet`.
pub(super) const EXPORTER: Exporter = Exporter { option: "--parquet", file: "joined.parquet", write };

fn write(run: &RecordedRun, path: &Path) -> Result<(), Box<dyn Error>> {
    let records = &run.records;
    // The joined table has no windows, so the end of the run is not used.
    let frames = Frames::from_rows(&records.requests, &records.attempts, &records.events, 0)?;
    let mut table = frames.joined(&records.requests)?;
    ParquetWriter::new(File::create(path)?).finish(&mut table)?;
    Ok(())
}
