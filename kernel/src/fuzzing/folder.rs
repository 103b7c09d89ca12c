//! Run folders, with files of any content.

use std::{fs, path::Path};

use super::check_message;
use crate::run_folder::{ATTEMPTS, EVENTS, FolderError, REQUESTS, RowFile};

/// Puts the bytes into one file of a run folder at `place`, chosen by the first byte, and reads the file row by row and in
/// blocks. The folder exists.
///
/// # Panics
///
/// Panics if the file cannot be written, or a message cannot be printed.
pub fn run_folder(data: &[u8], place: &Path) {
    let Some((choice, content)) = data.split_first() else { return };
    match choice % 3 {
        0 => read_rows(&REQUESTS, content, place),
        1 => read_rows(&ATTEMPTS, content, place),
        _ => read_rows(&EVENTS, content, place),
    }
}

fn read_rows<T: serde::de::DeserializeOwned + Send>(file: &'static RowFile<T>, content: &[u8], place: &Path) {
    let path = place.join(file.name);
    fs::write(&path, content).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let by_row = file.lines(place).and_then(|rows| rows.map(|row| row.map(drop)).collect::<Result<Vec<()>, _>>());
    let in_blocks = file.fold(place, || 0_usize, |count, _| *count += 1, |count| count);
    for error in [by_row.err(), in_blocks.err()].into_iter().flatten() {
        check_error(&error);
    }
}

fn check_error(error: &FolderError) {
    check_message(&error.to_string());
}

#[cfg(test)]
mod tests {
    use super::{super::replay, *};

    #[test]
    fn any_run_folder_is_read_or_refused() {
        let place = tempfile::tempdir().unwrap();
        replay(env!("CARGO_MANIFEST_DIR"), "run_folder", |data| run_folder(data, place.path()));
    }
}
