//! The log of the faults that are injected by hand: a file in the folder of the registry, to which every process of the user adds
//! what it does, and from which `real load` and `real list` learn it.
//!
//! The process that has an effect writes the line: a server or proxy for the faults of its link and its calls, `real inject` for
//! signals, since a process that is stopped or killed writes nothing. Times are those of the machine's clock, which all have.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{identity::ProcessIdentity, registry::RegistryEntry};
use crate::clock::machine_ns;

/// Name of the file. To the registry, names that start with a dot are its own.
const FILE: &str = ".faults.jsonl";

/// Name of the file before it, which a file that has become too large is renamed to.
const EARLIER: &str = ".faults.earlier.jsonl";

/// Size beyond which a new file is begun, in bytes: some ten thousand faults.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Largest line that is read, in bytes. One that this program writes has less than 1 KB.
const LINE_BYTES_MAX: usize = 16 * 1024;

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct FaultEntry {
    /// The time, in nanoseconds since the machine started.
    pub(super) at_ns: u64,
    /// The id of the server or proxy.
    pub(super) target: String,
    /// The process that it is.
    pub(super) process: ProcessIdentity,
    /// The change.
    pub(super) change: Change,
}

/// A change of the faults of a server or proxy.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Change {
    /// A fault began.
    Begins(InjectedFaultId),
    /// A fault was lifted.
    Ends(InjectedFaultId),
    /// The process listens. Faults of the one before it of the same id are over.
    Up,
    /// The process ends as it was asked to, and all its faults with it.
    Down,
}

/// A fault on one target.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct InjectedFaultId {
    /// The same for all targets of one command, and for no other command.
    pub(super) command: String,
    /// The kind of the fault, such as `delay`.
    pub(super) kind: String,
    /// Its description.
    pub(super) text: String,
}

/// The log, for one process that has effects.
#[derive(Debug, Clone)]
pub(super) struct FaultLog {
    folder: PathBuf,
    target: String,
    process: ProcessIdentity,
}

impl FaultLog {
    /// Returns the log in `folder`, for what happens to the process of `entry`.
    pub(super) fn new(folder: &Path, entry: &RegistryEntry) -> Self {
        Self { folder: folder.to_owned(), target: entry.id.clone(), process: entry.process.clone() }
    }

    /// Adds a line. A log that cannot be written ends no server and no fault: the error is for the caller to show.
    pub(super) fn add(&self, change: Change) -> io::Result<()> {
        let entry =
            FaultEntry { at_ns: machine_ns(), target: self.target.clone(), process: self.process.clone(), change };
        let line = serde_json::to_string(&entry).expect("plain data is always written") + "\n";
        let path = self.folder.join(FILE);
        if fs::metadata(&path).is_ok_and(|found| found.len() > BYTES_MAX) {
            // Of two that rename at once, the later one moves a file with a few lines; they are in it.
            let _ = fs::rename(&path, self.folder.join(EARLIER));
        }
        let mut file = File::options().append(true).create(true).mode(0o600).open(path)?;
        // One write, so that lines of several processes do not mix.
        file.write_all(line.as_bytes())
    }
}

/// Returns the text that makes the faults of one command one fault on several targets.
pub(super) fn command_id() -> String {
    format!("{}-{}", std::process::id(), machine_ns())
}

/// Reads a log from its beginning, and later what has been added.
#[derive(Debug)]
pub(super) struct FaultLogReader {
    folder: PathBuf,
    /// The file that is read, by its inode, and how much of it has been read.
    position: Option<(u64, u64)>,
    /// The start of a line whose end is not there yet.
    rest: Vec<u8>,
}

impl FaultLogReader {
    /// Reads the log in `folder`.
    pub(super) fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned(), position: None, rest: Vec::new() }
    }

    /// Returns the lines that were added since the last call; at first all lines. What is no line of this program is left out, as
    /// the file may be damaged, or of another version.
    pub(super) fn read(&mut self) -> io::Result<Vec<FaultEntry>> {
        let mut entries = Vec::new();
        let path = self.folder.join(FILE);
        let current = inode(&path);
        let begun = self.position.map(|(inode, _)| inode);
        if begun.is_none() || begun != current {
            // At first, or because the file was renamed in the meantime: what is before the current one, or the rest of it.
            let earlier = self.folder.join(EARLIER);
            if inode(&earlier).is_some_and(|earlier| begun.is_none_or(|begun| begun == earlier)) {
                self.read_file(&earlier, &mut entries)?;
            }
            self.position = None;
            self.rest.clear();
        }
        if current.is_some() {
            self.read_file(&path, &mut entries)?;
        }
        Ok(entries)
    }

    fn read_file(&mut self, path: &Path, entries: &mut Vec<FaultEntry>) -> io::Result<()> {
        let mut file = File::options().read(true).open(path)?;
        let found = file.metadata()?;
        if !found.is_file() {
            return Ok(());
        }
        let from = self.position.filter(|(inode, _)| *inode == found.ino()).map_or(0, |(_, read)| read);
        file.seek(SeekFrom::Start(from))?;
        let mut added = Vec::new();
        // A file that another program has filled is not read as a whole.
        let read = file.take(2 * BYTES_MAX).read_to_end(&mut added)? as u64;
        self.position = Some((found.ino(), from + read));
        self.rest.extend_from_slice(&added);
        let end = self.rest.iter().rposition(|byte| *byte == b'\n').map_or(0, |at| at + 1);
        let lines: Vec<u8> = self.rest.drain(..end).collect();
        if self.rest.len() > LINE_BYTES_MAX {
            self.rest.clear();
        }
        entries.extend(lines.split(|byte| *byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()));
        Ok(())
    }
}

fn inode(path: &Path) -> Option<u64> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_file).map(|found| found.ino())
}

/// The faults that are active, by the lines of a log.
#[derive(Debug, Default)]
pub(super) struct OpenFaults(BTreeMap<(String, InjectedFaultId), FaultEntry>);

/// A fault that began or ended on a target.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct FaultEdge {
    /// The time, in nanoseconds since the machine started.
    pub(super) at_ns: u64,
    /// The id of the server or proxy.
    pub(super) target: String,
    /// The fault.
    pub(super) fault: InjectedFaultId,
    /// True if it began.
    pub(super) begins: bool,
}

impl OpenFaults {
    /// Takes a line, and returns what begins and ends by it.
    pub(super) fn apply(&mut self, entry: FaultEntry) -> Vec<FaultEdge> {
        let at_ns = entry.at_ns;
        let edge = |target: &str, fault: &InjectedFaultId, begins: bool| FaultEdge {
            at_ns,
            target: target.to_owned(),
            fault: fault.clone(),
            begins,
        };
        let target = entry.target.clone();
        match entry.change.clone() {
            Change::Begins(fault) => {
                // A process that ends takes its other faults with it.
                let ends_process = ["crash", "drain"].contains(&fault.kind.as_str());
                let mut edges = if ends_process { self.end_all(&target, at_ns) } else { Vec::new() };
                edges.push(edge(&target, &fault, true));
                self.0.insert((target, fault), entry);
                edges
            }
            Change::Ends(fault) => {
                let was_open = self.0.remove(&(target.clone(), fault.clone())).is_some();
                was_open.then(|| edge(&target, &fault, false)).into_iter().collect()
            }
            Change::Up | Change::Down => self.end_all(&target, at_ns),
        }
    }

    fn end_all(&mut self, target: &str, at_ns: u64) -> Vec<FaultEdge> {
        let ended: Vec<(String, InjectedFaultId)> = self.0.keys().filter(|(of, _)| of == target).cloned().collect();
        let mut edges = Vec::new();
        for key in ended {
            self.0.remove(&key);
            edges.push(FaultEdge { at_ns, target: key.0, fault: key.1, begins: false });
        }
        edges
    }

    /// Returns the faults of a running process, in order of their beginning. Those of an earlier process of the same id are over.
    pub(super) fn of_process(&self, entry: &RegistryEntry) -> Vec<(&InjectedFaultId, u64)> {
        let own = self.0.iter().filter(|((target, _), begun)| *target == entry.id && begun.process == entry.process);
        let mut faults: Vec<(&InjectedFaultId, u64)> = own.map(|((_, fault), begun)| (fault, begun.at_ns)).collect();
        faults.sort_by_key(|(_, at_ns)| *at_ns);
        faults
    }

    /// Returns the faults of this kind on a running process.
    pub(super) fn of_kind(&self, entry: &RegistryEntry, kind: &str) -> Vec<InjectedFaultId> {
        let own = self.of_process(entry).into_iter().map(|(fault, _)| fault);
        own.filter(|fault| fault.kind == kind).cloned().collect()
    }

    /// Reads the faults that are active now from the log in `folder`.
    pub(super) fn now(folder: &Path) -> io::Result<Self> {
        let mut open = Self::default();
        for entry in FaultLogReader::new(folder).read()? {
            open.apply(entry);
        }
        Ok(open)
    }

    /// Keeps only the faults of these running processes.
    pub(super) fn retain_running(&mut self, running: &[RegistryEntry]) {
        self.0.retain(|(target, _), begun| {
            running.iter().any(|entry| entry.id == *target && entry.process == begun.process)
        });
    }

    /// Returns the beginnings of all faults, at their times.
    pub(super) fn beginnings(&self) -> Vec<FaultEdge> {
        let edges = self.0.iter().map(|((target, fault), entry)| FaultEdge {
            at_ns: entry.at_ns,
            target: target.clone(),
            fault: fault.clone(),
            begins: true,
        });
        let mut edges: Vec<FaultEdge> = edges.collect();
        edges.sort_by_key(|edge| edge.at_ns);
        edges
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::manual::registry::EntryKind;

    fn own_process() -> ProcessIdentity {
        ProcessIdentity::for_pid(std::process::id()).unwrap()
    }

    fn server(id: &str) -> RegistryEntry {
        let address = ([127, 0, 0, 1], 1).into();
        RegistryEntry { id: id.to_owned(), kind: EntryKind::Server, address, process: own_process(), metrics: None }
    }

    fn fault(kind: &str) -> InjectedFaultId {
        InjectedFaultId { command: "1-1".to_owned(), kind: kind.to_owned(), text: format!("{kind} it") }
    }

    fn entry(at_ns: u64, change: Change) -> FaultEntry {
        FaultEntry { at_ns, target: "a".to_owned(), process: own_process(), change }
    }

    #[test]
    fn a_reader_gets_every_line_once_also_over_a_new_file() {
        let folder = tempfile::tempdir().unwrap();
        let log = FaultLog::new(folder.path(), &server("a"));
        let mut reader = FaultLogReader::new(folder.path());
        assert!(reader.read().unwrap().is_empty());
        log.add(Change::Begins(fault("delay"))).unwrap();
        let read = reader.read().unwrap();
        assert_eq!((read.len(), &read[0].change), (1, &Change::Begins(fault("delay"))));
        log.add(Change::Ends(fault("delay"))).unwrap();
        fs::rename(folder.path().join(FILE), folder.path().join(EARLIER)).unwrap();
        log.add(Change::Up).unwrap();
        let changes: Vec<Change> = reader.read().unwrap().into_iter().map(|entry| entry.change).collect();
        assert_eq!(changes, [Change::Ends(fault("delay")), Change::Up]);
        assert!(reader.read().unwrap().is_empty());
        // Another reader has both files.
        assert_eq!(FaultLogReader::new(folder.path()).read().unwrap().len(), 3);
    }

    #[test]
    fn lines_that_are_none_are_left_out_and_half_a_line_is_waited_for() {
        let folder = tempfile::tempdir().unwrap();
        let line = serde_json::to_string(&entry(5, Change::Up)).unwrap();
        let (start, end) = line.split_at(10);
        fs::write(folder.path().join(FILE), format!("{{}}\nnothing\n{start}")).unwrap();
        let mut reader = FaultLogReader::new(folder.path());
        assert!(reader.read().unwrap().is_empty());
        let mut file = File::options().append(true).open(folder.path().join(FILE)).unwrap();
        file.write_all(format!("{end}\n").as_bytes()).unwrap();
        assert_eq!(reader.read().unwrap(), [entry(5, Change::Up)]);
    }

    #[test]
    fn a_fault_ends_when_it_is_lifted_and_with_its_process() {
        let mut open = OpenFaults::default();
        let begun = |edges: &[FaultEdge]| -> Vec<(String, bool)> {
            edges.iter().map(|edge| (edge.fault.kind.clone(), edge.begins)).collect()
        };
        let steps = [
            (Change::Begins(fault("delay")), vec![("delay", true)]),
            (Change::Begins(fault("loss")), vec![("loss", true)]),
            (Change::Ends(fault("delay")), vec![("delay", false)]),
            (Change::Ends(fault("delay")), vec![]),
            (Change::Begins(fault("crash")), vec![("loss", false), ("crash", true)]),
            (Change::Up, vec![("crash", false)]),
            (Change::Begins(fault("freeze")), vec![("freeze", true)]),
            (Change::Down, vec![("freeze", false)]),
        ];
        for (at_ns, (change, expected)) in (0..).zip(steps) {
            let edges = open.apply(entry(at_ns, change));
            let expected: Vec<(String, bool)> =
                expected.into_iter().map(|(kind, begins)| (kind.to_owned(), begins)).collect();
            assert_eq!(begun(&edges), expected);
        }
    }

    #[test]
    fn only_faults_of_the_running_process_are_active() {
        let mut open = OpenFaults::default();
        open.apply(entry(7, Change::Begins(fault("delay"))));
        assert_eq!(open.of_process(&server("a")), [(&fault("delay"), 7)]);
        assert!(open.of_process(&server("b")).is_empty());
        open.retain_running(&[server("b")]);
        assert!(open.beginnings().is_empty());
    }
}
