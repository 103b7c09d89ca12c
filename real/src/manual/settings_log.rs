//! The file from which running loads learn of settings that `real set` changes, in the folder of the registry: theirs, to change them, and
//! those of servers and proxies, which have changed already, for the record.

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
    /// The news for the loads.
    pub(super) news: SettingNews,
}

/// A setting's change as the loads learn of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SettingNews {
    /// Every load changes this setting.
    Change {
        /// The key, as `--set` takes it.
        setting: String,
        /// The value, as TOML.
        to: String,
    },
    /// Servers or proxies have changed a setting.
    Changed {
        /// Their ids.
        targets: Vec<String>,
        /// The change in words.
        description: String,
    },
}

/// Adds a line to the file in `folder`.
pub(super) fn add(folder: &Path, news: SettingNews) -> io::Result<()> {
    let entry = SettingEntry { at_ns: machine_ns(), news };
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

    fn change(setting: &str) -> SettingNews {
        SettingNews::Change { setting: setting.to_owned(), to: "1".to_owned() }
    }

    #[test]
    fn a_reader_gets_the_whole_lines_that_were_added_since() {
        let folder = tempfile::tempdir().unwrap();
        add(folder.path(), change("load.rate")).unwrap();
        let mut reader = SettingsLogReader::from_now_on(folder.path());
        assert_eq!(reader.read(), []);
        let changed = SettingNews::Changed { targets: vec!["server-0".to_owned()], description: "it".to_owned() };
        let added = [change("client.retry.max_attempts"), changed];
        added.clone().into_iter().for_each(|news| add(folder.path(), news).unwrap());
        let path = folder.path().join(FILE);
        let mut file = File::options().append(true).open(path).unwrap();
        file.write_all(b"{}\n{\"at_ns\"").unwrap();
        let read: Vec<_> = reader.read().into_iter().map(|entry| entry.news).collect();
        assert_eq!(read, added);
        assert_eq!(reader.read(), []);
    }
}
