//! The file from which running loads learn of settings that `real set` changes, in the folder of the registry.

use std::{
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use crate::clock::machine_ns;

/// Name of the file. To the registry, names that start with a dot are its own.
const FILE: &str = ".settings.jsonl";

/// Size from which on a new file is begun, in bytes: some ten thousand changes. It also is the most that is read at once.
const BYTES_MAX: u64 = 1024 * 1024;

/// A line of the file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct SettingEntry {
    /// The time, in nanoseconds since the machine started.
    pub(super) at_ns: u64,
    /// The key, as `--set` takes it.
    pub(super) setting: String,
    /// The value, as TOML.
    pub(super) to: String,
}

/// Adds a line to the file in `folder`.
pub(super) fn add(folder: &Path, setting: &str, to: &str) -> io::Result<()> {
    let entry = SettingEntry { at_ns: machine_ns(), setting: setting.to_owned(), to: to.to_owned() };
    let line = serde_json::to_string(&entry).expect("plain data is always written") + "\n";
    let path = folder.join(FILE);
    let is_full = fs::metadata(&path).is_ok_and(|found| found.len() >= BYTES_MAX);
    // A load that has yet to read the last lines of a file that is full reads the new one from its start.
    let mut file =
        File::options().append(!is_full).write(true).truncate(is_full).create(true).mode(0o600).open(path)?;
    // One write, so that lines of several processes do not mix.
    file.write_all(line.as_bytes())
}

/// Reads what is added to the file.
#[derive(Debug)]
pub(super) struct SettingsLogReader {
    path: PathBuf,
    /// How much of the file has been read, in bytes.
    read: u64,
}

impl SettingsLogReader {
    /// Reads what is added to the file in `folder` from now on.
    pub(super) fn from_now_on(folder: &Path) -> Self {
        let path = folder.join(FILE);
        let read = fs::metadata(&path).map_or(0, |found| found.len());
        Self { path, read }
    }

    /// Returns the whole lines that were added since the last call. What is no line of this program is left out.
    pub(super) fn read(&mut self) -> Vec<SettingEntry> {
        self.added().unwrap_or_default().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    fn added(&mut self) -> io::Result<String> {
        let mut file = File::open(&self.path)?;
        if file.metadata()?.len() < self.read {
            self.read = 0;
        }
        file.seek(SeekFrom::Start(self.read))?;
        let mut bytes = Vec::new();
        file.take(BYTES_MAX).read_to_end(&mut bytes)?;
        let whole = bytes.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
        self.read += whole as u64;
        bytes.truncate(whole);
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_gets_the_whole_lines_that_were_added_since() {
        let folder = tempfile::tempdir().unwrap();
        add(folder.path(), "load.rate", "1").unwrap();
        let mut reader = SettingsLogReader::from_now_on(folder.path());
        assert_eq!(reader.read(), []);
        add(folder.path(), "client.deadline", "\"1s\"").unwrap();
        add(folder.path(), "client.retry.max_attempts", "1").unwrap();
        let path = folder.path().join(FILE);
        let mut file = File::options().append(true).open(path).unwrap();
        file.write_all(b"{}\n{\"at_ns\"").unwrap();
        let read: Vec<_> = reader.read().into_iter().map(|entry| (entry.setting, entry.to)).collect();
        let expected = [("client.deadline", "\"1s\""), ("client.retry.max_attempts", "1")];
        assert_eq!(read, expected.map(|(setting, to)| (setting.to_owned(), to.to_owned())));
        assert_eq!(reader.read(), []);
    }
}
