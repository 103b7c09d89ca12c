//! Which servers and proxies run: a folder of the user's own with a file for each.
//!
//! Beside `ID.json` are `ID.sock`, by which its link is steered, and `ID.log` of one that runs in the background. Whoever
//! was killed leaves its files behind; they are removed when they are next seen, but for the log.

use std::{
    env, fs, io,
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, MetadataExt},
    path::{Path, PathBuf},
};

use kernel::cli::Failure;
use rustix::process::geteuid;
use serde::{Deserialize, Serialize};

use super::identity::{Identity, State};

const FOLDER: &str = "rehearsal";

/// One that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// What it is called.
    pub(crate) id: String,
    pub(crate) kind: Kind,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    pub(crate) process: Identity,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Kind {
    Server,
    /// Passes on what comes to the upstream.
    Proxy {
        upstream: String,
    },
}

/// Why there is no registry, or no entry in it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RegistryError {
    #[error("{path} belongs to someone else or is open to others; set XDG_RUNTIME_DIR to a folder of your own", path = .0.display())]
    NotOurs(PathBuf),
    #[error("cannot keep the list of servers: {path}: {reason}; set XDG_RUNTIME_DIR to a folder of your own", path = path.display())]
    Unusable { path: PathBuf, reason: io::Error },
    #[error("{} already; end it with `real down {}`, or choose another --id", .0.is(), .0.id)]
    Taken(Box<Entry>),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::run_failed(error)
    }
}

/// The folder.
#[derive(Debug, Clone)]
pub(crate) struct Registry {
    folder: PathBuf,
}

impl Registry {
    /// This user's: in `XDG_RUNTIME_DIR`, or else in the folder for temporary files.
    pub(crate) fn of_user() -> Result<Self, RegistryError> {
        let runtime = env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|path| path.is_absolute());
        let temporary = || env::temp_dir().join(format!("{FOLDER}-{}", geteuid().as_raw()));
        Self::at(runtime.map_or_else(temporary, |path| path.join(FOLDER)))
    }

    fn at(folder: PathBuf) -> Result<Self, RegistryError> {
        let made = fs::DirBuilder::new().mode(0o700).create(&folder);
        if let Err(reason) = made.or_else(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => Ok(()),
            _ => Err(error),
        }) {
            return Err(RegistryError::Unusable { path: folder, reason });
        }
        // Not through a link: anyone may make one in the folder for temporary files.
        let found = fs::symlink_metadata(&folder);
        let ours =
            found.is_ok_and(|found| found.is_dir() && found.uid() == geteuid().as_raw() && found.mode() & 0o77 == 0);
        if ours { Ok(Self { folder }) } else { Err(RegistryError::NotOurs(folder)) }
    }

    /// Where `id` is steered from.
    pub(crate) fn socket(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.sock"))
    }

    /// Where `id` writes its log when it runs in the background.
    pub(crate) fn log(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.log"))
    }

    fn file(&self, id: &str) -> PathBuf {
        self.folder.join(format!("{id}.json"))
    }

    /// Enters `entry`, until what this returns is dropped.
    pub(crate) fn enter(&self, entry: Entry) -> Result<Entered, RegistryError> {
        // Whatever is stale goes first.
        self.entries()?;
        let (file, draft) = (self.file(&entry.id), self.folder.join(format!(".{}", std::process::id())));
        let text = serde_json::to_string(&entry).expect("plain data is always written");
        // A link appears whole, and only where there is nothing.
        let linked = fs::write(&draft, text).and_then(|()| fs::hard_link(&draft, &file));
        let _ = fs::remove_file(&draft);
        match linked {
            Ok(()) => Ok(Entered { registry: self.clone(), entry }),
            Err(reason) if reason.kind() == io::ErrorKind::AlreadyExists => {
                Err(RegistryError::Taken(Box::new(read(&file).unwrap_or(entry))))
            }
            Err(reason) => Err(RegistryError::Unusable { path: file, reason }),
        }
    }

    /// All that run, by address. Files of those that do not are removed.
    pub(crate) fn entries(&self) -> Result<Vec<Entry>, RegistryError> {
        let unusable = |reason| RegistryError::Unusable { path: self.folder.clone(), reason };
        let mut entries = Vec::new();
        for file in fs::read_dir(&self.folder).map_err(unusable)? {
            let path = file.map_err(unusable)?.path();
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
}

/// An entry of this process's own. Dropped, it is removed.
pub(crate) struct Entered {
    registry: Registry,
    entry: Entry,
}

impl Entered {
    pub(crate) fn entry(&self) -> &Entry {
        &self.entry
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.registry.socket(&self.entry.id)
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let file = self.registry.file(&self.entry.id);
        if read(&file).as_ref() == Some(&self.entry) {
            remove(&file);
        }
    }
}

impl Entry {
    /// `server-0 runs (pid 7, 127.0.0.1:50051)`.
    pub(crate) fn is(&self) -> String {
        format!("{} runs (pid {}, {})", self.id, self.process.pid, self.address)
    }

    /// A line of a list.
    pub(crate) fn line(&self) -> String {
        let kind = match &self.kind {
            Kind::Server => "server".to_owned(),
            Kind::Proxy { upstream } => format!("proxy to {upstream}"),
        };
        let frozen = if self.process.state() == Some(State::Frozen) { ", frozen" } else { "" };
        format!("{:<12} {:<21} pid {:<8} {kind}{frozen}", self.id, self.address.to_string(), self.process.pid)
    }
}

fn read(file: &Path) -> Option<Entry> {
    serde_json::from_str(&fs::read_to_string(file).ok()?).ok()
}

/// Removes an entry and its socket. They may be gone already: others look, too.
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

    fn entry(id: &str, port: u16) -> Entry {
        let process = Identity::of(std::process::id()).expect("this lives");
        Entry { id: id.to_owned(), kind: Kind::Server, address: ([127, 0, 0, 1], port).into(), process }
    }

    #[test]
    fn entries_last_as_long_as_they_are_held_and_an_id_has_one_holder() {
        let (registry, _directory) = registry();
        let first = registry.enter(entry("b", 1)).unwrap();
        let _second = registry.enter(entry("a", 2)).unwrap();
        assert_eq!(registry.entries().unwrap(), [entry("b", 1), entry("a", 2)]);
        let taken = registry.enter(entry("b", 3)).err().map(|error| error.to_string()).unwrap();
        assert!(taken.starts_with("b runs (pid ") && taken.contains("real down b"), "{taken}");
        drop(first);
        assert_eq!(registry.entries().unwrap(), [entry("a", 2)]);
    }

    #[test]
    fn what_the_dead_leave_is_removed_when_it_is_seen() {
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
        registry.enter(entry("gone", 1)).unwrap();
    }

    #[test]
    fn a_folder_that_others_can_enter_is_not_trusted() {
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
