//! The registry of running servers and proxies: a folder that belongs to the user, with a file for each.
//!
//! Beside `ID.json` are `ID.sock`, the control socket, and `ID.log`, the log of a process in the background. A process
//! that was killed leaves its files; the next reader removes them, except the log.

use std::{
    env, fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use kernel::cli::Failure;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::identity::{ProcessIdentity, ProcessState};

const FOLDER: &str = "rehearsal";

/// A running server or proxy.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct RegistryEntry {
    /// Name by which users find it.
    pub(crate) id: String,
    /// Server or proxy.
    pub(crate) kind: EntryKind,
    /// Address at which it listens.
    pub(crate) address: SocketAddr,
    /// Identity of its process.
    pub(crate) process: ProcessIdentity,
}

/// The kind of an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EntryKind {
    /// A gRPC server.
    Server,
    /// A proxy in front of `upstream`.
    Proxy { upstream: String },
}

/// An error of the registry.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    /// Other users could read or replace the files.
    #[error("{path} belongs to someone else or is open to others; set XDG_RUNTIME_DIR to a folder of your own", path = .0.display())]
    NotOurs(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot keep the list of servers: {path}: {reason}; set XDG_RUNTIME_DIR to a folder of your own", path = path.display())]
    Unusable {
        path: PathBuf,
        #[source]
        reason: io::Error,
    },
    /// The id belongs to this entry.
    #[error("{} already; end it with `real down {}`, or choose another --id", .0.running(), .0.id)]
    Taken(Box<RegistryEntry>),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::run_failed(error)
    }
}

/// The folder of the registry.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    folder: PathBuf,
}

impl Registry {
    /// Opens the registry of this user: in `XDG_RUNTIME_DIR`, or otherwise in the folder for temporary files.
    pub(crate) fn for_user() -> Result<Self, RegistryError> {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        Self::at(match runtime {
            Some(runtime) => runtime.join(FOLDER),
            None => env::temp_dir().join(format!("{FOLDER}-{}", geteuid().as_raw())),
        })
    }

    fn at(folder: PathBuf) -> Result<Self, RegistryError> {
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        if let Err(reason) = made.or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        }) {
            return Err(RegistryError::Unusable { path: folder, reason });
        }
        // Without following a symbolic link: any user can make one in the folder for temporary files.
        let found = fs::symlink_metadata(&folder);
        let ours =
            found.is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o77 == 0);
        if ours { Ok(Self { folder }) } else { Err(RegistryError::NotOurs(folder)) }
    }

    /// Path of the control socket of `id`.
    pub(crate) fn socket(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.sock"))
    }

    /// Path of the log of `id` when it runs in the background.
    pub(crate) fn log(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.log"))
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// Adds `entry`, until the returned registration is dropped.
    pub(crate) fn register(&self, entry: RegistryEntry) -> Result<Registration, RegistryError> {
        // This removes a stale entry of the same id, which would take the place.
        self.entries()?;
        let file = self.file(&entry.id);
        let draft = self.folder.join(format!(".{}", std::process::id()));
        let text = serde_json::to_string(&entry).expect("plain data is always written");
        // A hard link is atomic and fails if the file exists: readers never see a part of an entry, and one process wins.
        let linked = fs::write(&draft, text).and_then(|()| fs::hard_link(&draft, &file));
        let _ = fs::remove_file(&draft);
        match linked {
            Ok(()) => Ok(Registration { registry: self.clone(), entry }),
            Err(reason) if reason.kind() == io::ErrorKind::AlreadyExists => {
                Err(RegistryError::Taken(Box::new(read(&file).unwrap_or(entry))))
            }
            Err(reason) => Err(RegistryError::Unusable { path: file, reason }),
        }
    }

    /// All running servers and proxies, sorted by address. Removes the files of those that have ended.
    pub(crate) fn entries(&self) -> Result<Vec<RegistryEntry>, RegistryError> {
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(|reason| self.unusable(reason))? {
            let path = file.map_err(|reason| self.unusable(reason))?.path();
            if path.extension().is_none_or(|extension| extension != "json") {
                continue;
            }
            match read(&path).filter(|entry| entry.process.state().is_some()) {
                Some(entry) => entries.push(entry),
                None => remove(&path),
            }
        }
        entries.sort_by(|a, b| (a.address, &a.id).cmp(&(b.address, &b.id)));
        Ok(entries)
    }

    fn unusable(&self, reason: io::Error) -> RegistryError {
        RegistryError::Unusable { path: self.folder.clone(), reason }
    }
}

/// The entry of this process. It is removed from the registry when this is dropped.
pub(crate) struct Registration {
    registry: Registry,
    entry: RegistryEntry,
}

impl Registration {
    /// The entry.
    pub(crate) fn entry(&self) -> &RegistryEntry {
        &self.entry
    }

    /// Path of the control socket of this process.
    pub(crate) fn socket(&self) -> PathBuf {
        self.registry.socket(&self.entry.id)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        let file = self.registry.file(&self.entry.id);
        // Another process can have the id by now, if this one's file was removed by hand.
        if read(&file).as_ref() == Some(&self.entry) {
            remove(&file);
        }
    }
}

impl RegistryEntry {
    /// A clause for messages, such as `server-0 runs (pid 7, 127.0.0.1:50051)`.
    pub(crate) fn running(&self) -> String {
        format!("{} runs (pid {}, {})", self.id, self.process.pid, self.address)
    }

    /// The line of a list.
    pub(crate) fn line(&self) -> String {
        let kind = match &self.kind {
            EntryKind::Server => "server".to_owned(),
            EntryKind::Proxy { upstream } => format!("proxy to {upstream}"),
        };
        let frozen = if self.process.state() == Some(ProcessState::Frozen) { ", frozen" } else { "" };
        format!("{:<12} {:<21} pid {:<8} {kind}{frozen}", self.id, self.address.to_string(), self.process.pid)
    }
}

fn read(file: &Path) -> Option<RegistryEntry> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}

/// Removes an entry and its control socket. Another reader can have removed them already.
fn remove(file: &Path) {
    let _ = fs::remove_file(file.with_extension("sock"));
    let _ = fs::remove_file(file);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry() -> (Registry, tempfile::TempDir) {
        let directory = tempfile::tempdir().unwrap();
        (Registry::at(directory.path().join(FOLDER)).unwrap(), directory)
    }

    fn entry(id: &str, port: u16) -> RegistryEntry {
        let process = ProcessIdentity::for_pid(std::process::id()).expect("this lives");
        RegistryEntry { id: id.to_owned(), kind: EntryKind::Server, address: ([127, 0, 0, 1], port).into(), process }
    }

    #[test]
    fn an_entry_lasts_as_long_as_its_registration_and_an_id_has_one_entry() {
        let (registry, _directory) = registry();
        let first = registry.register(entry("b", 1)).unwrap();
        let _second = registry.register(entry("a", 2)).unwrap();
        assert_eq!(registry.entries().unwrap(), [entry("b", 1), entry("a", 2)]);
        let taken = registry.register(entry("b", 3)).err().map(|error| error.to_string()).unwrap();
        assert!(taken.starts_with("b runs (pid ") && taken.contains("real down b"), "{taken}");
        drop(first);
        assert_eq!(registry.entries().unwrap(), [entry("a", 2)]);
    }

    #[test]
    fn the_files_of_ended_processes_are_removed_when_they_are_read() {
        let (registry, _directory) = registry();
        let text = serde_json::to_value(entry("gone", 1)).unwrap();
        let stale =
            [("started", 1.into()), ("pid", u32::MAX.into()), ("boot", "another".into())].map(|(key, value)| {
                let mut text = text.clone();
                text["process"][key] = value;
                text.to_string()
            });
        for text in stale.iter().map(String::as_str).chain(["", "{\"id"]) {
            fs::write(registry.file("gone"), text).unwrap();
            fs::write(registry.socket("gone"), "").unwrap();
            fs::write(registry.log("gone"), "").unwrap();
            assert_eq!(registry.entries().unwrap(), []);
            assert!(
                !registry.file("gone").exists() && !registry.socket("gone").exists() && registry.log("gone").exists()
            );
        }
        registry.register(entry("gone", 1)).unwrap();
    }

    #[test]
    fn a_folder_that_other_users_can_open_is_rejected() {
        let directory = tempfile::tempdir().unwrap();
        let open = directory.path().join("open");
        fs::DirBuilder::new().mode(0o755).create(&open).unwrap();
        let link = directory.path().join("link");
        std::os::unix::fs::symlink(directory.path(), &link).unwrap();
        for folder in [open, link] {
            assert!(matches!(Registry::at(folder), Err(RegistryError::NotOurs(_))));
        }
    }
}
