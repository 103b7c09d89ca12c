//! The registry of running servers and proxies: a folder that belongs to the user, with a file for each.
//!
//! Beside `ID.json` are `ID.sock`, the control socket, and `ID.log`, the log of a process in the background. A process
//! that was killed leaves its files; the next reader removes them, except the log. Nothing else in the folder is removed: what
//! is no entry of a process that has ended, known by its start time, is shown as what it is and left there.

use std::{
    env,
    fs::{self, File, Metadata},
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use kernel::{cli::Failure, visible::Visible};
use rustix::{
    fs::{Mode, OFlags, open},
    process::geteuid,
};
use serde::{Deserialize, Serialize};

use super::{
    fault_log::{Change, FaultLog},
    identity::{ProcessIdentity, ProcessState},
};
use crate::option;

const FOLDER: &str = "rehearsal";

/// The file that readers lock while they remove the files of a process that has ended.
const LOCK: &str = ".lock";

/// Largest file of an entry, in bytes. An entry takes a few hundred.
const ENTRY_BYTES_MAX: u64 = 16 * 1024;

/// Number of tries to take the place of an entry whose process has ended, while others remove it.
const TRIES: u32 = 200;

/// Time between two of them.
const TRY_INTERVAL: Duration = Duration::from_millis(10);

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
    /// Address of its endpoint for metrics, if it has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) metrics: Option<SocketAddr>,
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
    #[error("{path} belongs to someone else or is open to others; set XDG_RUNTIME_DIR to a folder of your own", path = .0.visible())]
    NotOurs(PathBuf),
    /// A file cannot be read or written.
    #[error("cannot keep the list of servers: {path}: {reason}; set XDG_RUNTIME_DIR to a folder of your own", path = path.visible())]
    Unusable {
        path: PathBuf,
        #[source]
        reason: io::Error,
    },
    /// The id's file is no entry, and not ours to remove.
    #[error("{}, and no entry of a server; remove it, or choose another --id", .0.clause())]
    Occupied(Foreign),
    /// The id belongs to this entry.
    #[error("{} already; end it with `real down {}`, or choose another --id", .0.running(), .0.id)]
    Taken(Box<RegistryEntry>),
}

impl From<RegistryError> for Failure {
    fn from(error: RegistryError) -> Self {
        Self::run_failed(error)
    }
}

/// Something in the folder of the registry that is not of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Foreign {
    /// Its path.
    pub(crate) path: PathBuf,
    /// The kind of the thing there, such as `a directory`.
    pub(crate) what: &'static str,
}

/// The content of the folder of the registry.
#[derive(Debug, Default)]
pub(crate) struct Found {
    /// Running servers and proxies, sorted by address.
    pub(crate) entries: Vec<RegistryEntry>,
    /// The content that is not of the registry, sorted by path.
    pub(crate) foreign: Vec<Foreign>,
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

    /// The folder.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
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
        let file = self.file(&entry.id);
        let unusable = |reason| RegistryError::Unusable { path: file.clone(), reason };
        let draft = self.draft(&entry).map_err(unusable)?;
        let added = self.add(&draft, &file);
        let _ = fs::remove_file(&draft);
        added.map(|()| Registration { registry: self.clone(), entry })
    }

    /// Writes `entry` to a file of its own, which has another name than an entry.
    fn draft(&self, entry: &RegistryEntry) -> io::Result<PathBuf> {
        static DRAFTS: AtomicU64 = AtomicU64::new(0);
        let text = serde_json::to_string(entry).expect("plain data is always written");
        loop {
            let number = DRAFTS.fetch_add(1, Ordering::Relaxed);
            let draft = self.folder.join(format!(".{}.{number}", std::process::id()));
            // Never through a link, and never into a file of another process, which had the same id before.
            match File::options().write(true).create_new(true).mode(0o600).open(&draft) {
                Ok(mut file) => return file.write_all(text.as_bytes()).map(|()| draft),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Adds the entry in `draft` as `file`, in place of one whose process has ended.
    fn add(&self, draft: &Path, file: &Path) -> Result<(), RegistryError> {
        for _ in 0..TRIES {
            // A hard link is atomic and fails if the file exists: readers never see a part of an entry, and one process wins.
            match fs::hard_link(draft, file) {
                Ok(()) => return Ok(()),
                Err(reason) if reason.kind() == io::ErrorKind::AlreadyExists => {}
                Err(reason) => return Err(RegistryError::Unusable { path: file.to_owned(), reason }),
            }
            match read(file) {
                Ok(entry) if entry.process.state().is_some() => return Err(RegistryError::Taken(Box::new(entry))),
                Ok(_) => self.remove_ended(file),
                // It has been removed meanwhile.
                Err(NoEntry::Gone) => {}
                Err(NoEntry::Foreign(what)) => {
                    return Err(RegistryError::Occupied(Foreign { path: file.to_owned(), what }));
                }
            }
            pause();
        }
        let reason = io::Error::new(io::ErrorKind::ResourceBusy, "other processes keep the folder busy; try again");
        Err(RegistryError::Unusable { path: file.to_owned(), reason })
    }

    /// All running servers and proxies, sorted by address. Removes the files of those that have ended.
    pub(crate) fn entries(&self) -> Result<Vec<RegistryEntry>, RegistryError> {
        self.look().map(|found| found.entries)
    }

    /// Everything in the folder but logs. Removes the files of processes that have ended.
    pub(crate) fn look(&self) -> Result<Found, RegistryError> {
        let mut found = Found::default();
        for file in fs::read_dir(&self.folder).map_err(|reason| self.unusable(reason))? {
            let path = file.map_err(|reason| self.unusable(reason))?.path();
            let extension = path.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
            let what = match extension {
                "json" => match read(&path) {
                    Ok(entry) if entry.process.state().is_some() => {
                        found.entries.push(entry);
                        None
                    }
                    Ok(_) => {
                        self.remove_ended(&path);
                        None
                    }
                    Err(NoEntry::Gone) => None,
                    Err(NoEntry::Foreign(what)) => Some(what),
                },
                "sock" => kind_other_than(&path, |found| found.file_type().is_socket()),
                // Logs stay after their process, for the user to read.
                "log" => kind_other_than(&path, Metadata::is_file),
                _ if is_own(&path) => None,
                _ => kind_other_than(&path, |_| false),
            };
            found.foreign.extend(what.map(|what| Foreign { path, what }));
        }
        found.entries.sort_by(|a, b| (a.address, &a.id).cmp(&(b.address, &b.id)));
        found.foreign.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(found)
    }

    /// Removes an entry whose process has ended, and its control socket. While another process does the same, it does nothing:
    /// without the lock, the one that is later could remove what a new process of the same id has written meanwhile.
    fn remove_ended(&self, file: &Path) {
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let Ok(lock) = open(self.folder.join(LOCK), flags, Mode::RUSR | Mode::WUSR).map(File::from) else { return };
        if lock.try_lock().is_ok() && read(file).is_ok_and(|entry| entry.process.state().is_none()) {
            remove(file);
        }
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
        // A log that cannot be written keeps no process from its end.
        let _ = FaultLog::new(&self.registry.folder, &self.entry).add(Change::Down);
        let file = self.registry.file(&self.entry.id);
        // Another process can have the id by now, if this one's file was removed by hand.
        if read(&file).is_ok_and(|entry| entry == self.entry) {
            remove(&file);
        }
    }
}

impl Foreign {
    /// A clause for messages, such as `/run/user/1000/rehearsal/x.json is a directory`.
    pub(crate) fn clause(&self) -> String {
        format!("{} is {}", self.path.visible(), self.what)
    }
}

impl RegistryEntry {
    /// The upstream of a proxy; empty for a server.
    fn upstream(&self) -> &str {
        match &self.kind {
            EntryKind::Server => "",
            EntryKind::Proxy { upstream } => upstream,
        }
    }

    /// A clause for messages, such as `server-0 runs (pid 7, 127.0.0.1:50051)`.
    pub(crate) fn running(&self) -> String {
        format!("{} runs (pid {}, {})", self.id.visible(), self.process.pid, self.address)
    }

    /// The line of a list.
    pub(crate) fn line(&self) -> String {
        let kind = match &self.kind {
            EntryKind::Server => "server".to_owned(),
            EntryKind::Proxy { upstream } => format!("proxy to {}", upstream.visible()),
        };
        let frozen = if self.process.state() == Some(ProcessState::Frozen) { ", frozen" } else { "" };
        let id = self.id.visible().to_string();
        let metrics = self.metrics.map(|address| format!(", metrics at http://{address}/metrics")).unwrap_or_default();
        format!("{id:<12} {:<21} pid {:<8} {kind}{frozen}{metrics}", self.address.to_string(), self.process.pid)
    }
}

/// Why a file is no entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NoEntry {
    /// There is none.
    Gone,
    /// It is this.
    Foreign(&'static str),
}

/// Reads an entry. It never waits, and reads no more than an entry can have: anything can be at this path.
fn read(file: &Path) -> Result<RegistryEntry, NoEntry> {
    // A link is not followed, and a FIFO or a device is opened without a wait and rejected by its kind.
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = match open(file, flags, Mode::empty()) {
        Ok(opened) => File::from(opened),
        Err(rustix::io::Errno::NOENT) => return Err(NoEntry::Gone),
        Err(_) => return Err(NoEntry::Foreign(kind_of(file).unwrap_or("a file that cannot be read"))),
    };
    let found = opened.metadata().map_err(|_| NoEntry::Foreign("a file that cannot be read"))?;
    if !found.is_file() {
        return Err(NoEntry::Foreign(kind(&found)));
    }
    if found.uid() != geteuid().as_raw() {
        return Err(NoEntry::Foreign("a file of another user"));
    }
    if found.len() > ENTRY_BYTES_MAX {
        return Err(NoEntry::Foreign("a file that is too large"));
    }
    let mut text = String::new();
    let read = opened.take(ENTRY_BYTES_MAX).read_to_string(&mut text);
    let entry = read.ok().and_then(|_| serde_json::from_str::<RegistryEntry>(&text).ok());
    // Under another name than its id it was put there by someone else, and commands would act on the wrong files.
    let entry = entry.filter(|entry| file.file_stem().is_some_and(|stem| stem == &*entry.id));
    let plain = entry.filter(|entry| option::id(&entry.id).is_ok() && !entry.upstream().contains(char::is_control));
    plain.ok_or(NoEntry::Foreign("a file with another content"))
}

/// Returns the kind of the file at `path`; `None` if `expected` accepts it, or it is gone.
fn kind_other_than(path: &Path, expected: impl FnOnce(&Metadata) -> bool) -> Option<&'static str> {
    let found = fs::symlink_metadata(path).ok()?;
    (!expected(&found)).then(|| kind(&found))
}

fn kind_of(path: &Path) -> Option<&'static str> {
    fs::symlink_metadata(path).ok().map(|found| kind(&found))
}

fn kind(found: &Metadata) -> &'static str {
    let kind = found.file_type();
    match () {
        () if kind.is_dir() => "a directory",
        () if kind.is_symlink() => "a symbolic link",
        () if kind.is_fifo() => "a FIFO",
        () if kind.is_socket() => "a socket",
        () if kind.is_block_device() || kind.is_char_device() => "a device",
        () => "a file",
    }
}

/// Returns true if there is a socket at `path`.
pub(super) fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|found| found.file_type().is_socket())
}

/// Returns true for the lock and for drafts of entries.
fn is_own(path: &Path) -> bool {
    path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with('.'))
}

/// Waits for [`TRY_INTERVAL`].
fn pause() {
    let interval = rustix::time::Timespec { tv_sec: 0, tv_nsec: i64::from(TRY_INTERVAL.subsec_nanos()) };
    // It may be shorter after a signal, which only makes the next try earlier.
    let _ = rustix::thread::nanosleep(&interval);
}

/// Removes an entry and its control socket. Another reader can have removed them already.
fn remove(file: &Path) {
    let socket = file.with_extension("sock");
    if is_socket(&socket) {
        let _ = fs::remove_file(socket);
    }
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
        let address = ([127, 0, 0, 1], port).into();
        RegistryEntry { id: id.to_owned(), kind: EntryKind::Server, address, process, metrics: None }
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
        for text in &stale {
            fs::write(registry.file("gone"), text).unwrap();
            let socket = std::os::unix::net::UnixListener::bind(registry.socket("gone")).unwrap();
            drop(socket);
            fs::write(registry.log("gone"), "").unwrap();
            assert_eq!(registry.entries().unwrap(), []);
            assert!(
                !registry.file("gone").exists() && !registry.socket("gone").exists() && registry.log("gone").exists()
            );
        }
        registry.register(entry("gone", 1)).unwrap();
    }

    #[test]
    fn what_is_not_of_the_registry_is_shown_and_left_there() {
        let (registry, _directory) = registry();
        let _running = registry.register(entry("mine", 1)).unwrap();
        let at = |name: &str| registry.folder.join(name);
        let gone = serde_json::to_string(&entry("gone", 1)).unwrap().replace("\"pid\":", "\"pid\":1");
        fs::write(at("another.json"), gone).unwrap();
        fs::write(at("empty.json"), "").unwrap();
        fs::write(at("half.json"), "{\"id").unwrap();
        fs::write(at("notes.txt"), "").unwrap();
        File::create(at("huge.json")).unwrap().set_len(1 << 40).unwrap();
        fs::create_dir(at("folder.json")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at("fifo.json"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        std::os::unix::fs::symlink("/dev/zero", at("zero.json")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(at("socket.json")).unwrap();
        fs::write(at("file.sock"), "").unwrap();
        fs::create_dir(at("folder.log")).unwrap();
        let expected = [
            ("another.json", "a file with another content"),
            ("empty.json", "a file with another content"),
            ("fifo.json", "a FIFO"),
            ("file.sock", "a file"),
            ("folder.json", "a directory"),
            ("folder.log", "a directory"),
            ("half.json", "a file with another content"),
            ("huge.json", "a file that is too large"),
            ("notes.txt", "a file"),
            ("socket.json", "a socket"),
            ("zero.json", "a symbolic link"),
        ];
        for _ in 0..2 {
            let found = registry.look().unwrap();
            assert_eq!(found.entries, [entry("mine", 1)]);
            assert_eq!(found.foreign, expected.map(|(name, what)| Foreign { path: at(name), what }));
        }
        let occupied = registry.register(entry("fifo", 2)).err().map(|error| error.to_string()).unwrap();
        assert!(occupied.contains("fifo.json is a FIFO") && occupied.contains("choose another --id"), "{occupied}");
    }

    #[test]
    fn of_many_that_take_an_ended_ones_place_one_wins() {
        let (registry, _directory) = registry();
        let gone = serde_json::to_string(&entry("a", 1)).unwrap().replace("\"pid\":", "\"pid\":9");
        for _ in 0..20 {
            fs::write(registry.file("a"), &gone).unwrap();
            let registered = std::thread::scope(|scope| {
                let start = |port: u16| {
                    std::thread::Builder::new().spawn_scoped(scope, {
                        let registry = &registry;
                        move || registry.register(entry("a", port))
                    })
                };
                let threads: Vec<_> = (1..5).map(|port| start(port).unwrap()).collect();
                let registered = threads.into_iter().map(|thread| thread.join().unwrap());
                registered.filter_map(Result::ok).collect::<Vec<_>>()
            });
            assert_eq!(registered.len(), 1);
            assert_eq!(registry.entries().unwrap(), [registered[0].entry().clone()]);
        }
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
