//! The functions that the fuzz targets of `.fuzz` call in this crate; see [`kernel::fuzzing`].

use std::{fs, path::Path};

use kernel::fuzzing::check_message;

use crate::read::{self, BadRowsMax, Mapping};

/// Reads a log of another program from a file in the folder `place`. The first byte chooses the format, `a` the first one and
/// so on; any other byte than these lets the log decide. The rest of the first line is the mapping of the columns, as
/// `--columns` takes it, and the other lines are the log.
///
/// # Panics
///
/// Panics if the file cannot be written, or a message cannot be printed.
pub fn foreign_log(data: &[u8], place: &Path) {
    let Some((choice, text)) = data.split_first() else { return };
    let first_line = text.iter().position(|&byte| byte == b'\n').unwrap_or(text.len());
    let columns = String::from_utf8_lossy(&text[..first_line]).parse();
    let format = choice.checked_sub(b'a').and_then(|index| read::format_names().nth(index.into()));
    let path = place.join("log");
    fs::write(&path, text.get(first_line + 1..).unwrap_or_default())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    // Without a rate, a log without times is refused before its rows are read, and most rows are damaged.
    let mapping = Mapping {
        columns: columns.unwrap_or_default(),
        rate: Some(10.0),
        format: format.map(str::to_owned),
        bad_rows: BadRowsMax::Share(1.0),
        ..Mapping::default()
    };
    if let Err(error) = read::input(&path, &mapping) {
        check_message(&error.to_string());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_log_is_read_or_refused() {
        let place = tempfile::tempdir().unwrap();
        kernel::fuzzing::replay(env!("CARGO_MANIFEST_DIR"), "foreign_log", |data| foreign_log(data, place.path()));
    }

    #[test]
    fn a_log_that_is_cut_off_anywhere_is_read_or_refused_in_any_format() {
        let place = tempfile::tempdir().unwrap();
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("../.fuzz/corpus/foreign_log");
        let mut logs = 0;
        for entry in fs::read_dir(corpus).unwrap() {
            let path = entry.unwrap().path();
            if !path.file_name().unwrap().to_string_lossy().starts_with("format_") {
                continue;
            }
            logs += 1;
            let mut log = fs::read(path).unwrap();
            for cut in 1..12 {
                foreign_log(&log[..log.len() * cut / 12], place.path());
            }
            for choice in b'a'..b'a' + read::format_names().count() as u8 {
                log[0] = choice;
                foreign_log(&log, place.path());
            }
        }
        assert!(logs > 20, "{logs}");
    }
}
