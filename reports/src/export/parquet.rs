//! Exports one table of requests, attempts and events as Parquet.

use std::{error::Error, fs::File, path::Path};

use polars::error::PolarsResult;
use polars_io::parquet::write::{BatchedWriter, ParquetWriter};

use super::{Exporter, joined};
use crate::run::RecordedRun;

/// Writes `joined.parquet`.
pub(super) const EXPORTER: Exporter = Exporter { option: "--parquet", file: "joined.parquet", write };

fn write(run: &RecordedRun, path: &Path) -> Result<(), Box<dyn Error>> {
    let mut file = Some(File::create(path)?);
    let mut writer: Option<BatchedWriter<File>> = None;
    joined::each_part(&run.rows, |part| -> PolarsResult<()> {
        // The first part has the names and types of the columns.
        if let Some(file) = file.take() {
            writer = Some(ParquetWriter::new(file).batched(part.schema())?);
        }
        writer.as_mut().map_or(Ok(()), |writer| writer.write_batch(part))
    })?;
    if let Some(writer) = writer {
        writer.finish()?;
    }
    Ok(())
}
