//! The loads that run, as `real set` sees them: a file for each in the folder of the registry, with the settings that it has now.
//!
//! A load takes no requests of others. It reads what changes from the file of `settings_log`, and its own file says when it has done so.

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

use kernel::{
    load::Trace,
    scenario::{Scenario, Workload},
};
use rustix::{
    fs::{Mode, OFlags, open},
    process::geteuid,
};
use serde::{Deserialize, Serialize};

use super::identity::ProcessIdentity;

/// The start of the names of the files. To the registry, names that start with a dot are its own.
const PREFIX: &str = ".load-";

/// Largest file that is read, in bytes. The settings of a load take a few KB.
const BYTES_MAX: u64 = 1024 * 1024;

/// A load that runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct RunningLoad {
    /// Its process.
    pub(super) process: ProcessIdentity,
    /// The settings that it has, as a scenario.
    settings: String,
}

impl RunningLoad {
    /// The loads that run, by their process ids. Removes the files of those that have ended.
    pub(super) fn all(folder: &Path) -> io::Result<Vec<Self>> {
        let mut loads = Vec::new();
        for file in fs::read_dir(folder)? {
            let path = file?.path();
            let Some(pid) = path.file_name().and_then(|name| name.to_str()?.strip_prefix(PREFIX)) else { continue };
            let Some(load) = read(&path).filter(|load| load.process.pid.to_string() == pid) else { continue };
            match load.process.state() {
                Some(_) => loads.push(load),
                None => drop(fs::remove_file(&path)),
            }
        }
        loads.sort_by_key(|load| load.process.pid);
        Ok(loads)
    }

    /// The load as its file has it now; `None` if it has ended.
    pub(super) fn again(&self, folder: &Path) -> Option<Self> {
        read(&path(folder, self.process.pid))
            .filter(|load| load.process == self.process && load.process.state().is_some())
    }

    /// Its name in messages.
    pub(super) fn name(&self) -> String {
        format!("load (pid {})", self.process.pid)
    }

    /// The settings. Fails with the reason if another version wrote them.
    pub(super) fn scenario(&self) -> Result<Scenario, String> {
        let read = Scenario::parse("the load", &self.settings, &[]);
        read.map_err(|_| "its settings are not those of this version; end it, and start it again".to_owned())
    }

    /// True if the load has these settings now.
    pub(super) fn has(&self, settings: &Scenario) -> bool {
        self.settings == text(settings)
    }
}

/// The file of the load of this process, which is removed when this is dropped.
pub(super) struct OwnLoad {
    path: PathBuf,
    process: ProcessIdentity,
}

impl OwnLoad {
    /// Writes the file of this process into `folder`.
    pub(super) fn begin(folder: &Path, settings: &Scenario) -> io::Result<Self> {
        let process = ProcessIdentity::for_pid(std::process::id());
        let process = process.ok_or_else(|| io::Error::other("/proc has no entry for this process"))?;
        let own = Self { path: path(folder, process.pid), process };
        own.update(settings)?;
        Ok(own)
    }

    /// Says that the load has these settings from now on.
    pub(super) fn update(&self, settings: &Scenario) -> io::Result<()> {
        let load = RunningLoad { process: self.process.clone(), settings: text(settings) };
        let text = serde_json::to_string(&load).expect("plain data is always written");
        // In place of the file before at once: a reader never sees a part of it.
        let draft = self.path.with_extension("draft");
        let _ = fs::remove_file(&draft);
        File::options().write(true).create_new(true).mode(0o600).open(&draft)?.write_all(text.as_bytes())?;
        fs::rename(&draft, &self.path)
    }
}

impl Drop for OwnLoad {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.path);
    }
}

fn path(folder: &Path, pid: u32) -> PathBuf {
    folder.join(format!("{PREFIX}{pid}"))
}

/// The settings alone, as a scenario: without what is asked for, which may name files, and the times of a trace, which may be many.
fn text(settings: &Scenario) -> String {
    let mut settings = Scenario {
        name: "load".to_owned(),
        workload: Workload::default(),
        faults: Vec::new(),
        changes: Vec::new(),
        expectations: Vec::new(),
        slos: Vec::new(),
        nemesis: None,
        ..settings.clone()
    };
    settings.load.request.clear();
    settings.load.trace_us = settings.load.trace_us.map(|_| Trace::new(vec![0]));
    settings.to_toml()
}

/// Reads a file of a load. It never waits, and reads no more than such a file can have: anything can be at this path.
fn read(path: &Path) -> Option<RunningLoad> {
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let file = File::from(open(path, flags, Mode::empty()).ok()?);
    let found = file.metadata().ok()?;
    if !found.is_file() || found.uid() != geteuid().as_raw() || found.len() > BYTES_MAX {
        return None;
    }
    let mut text = String::new();
    file.take(BYTES_MAX).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scenario(load: &str) -> Scenario {
        let text = format!("name = \"s\"\nduration = \"9s\"\n[workload]\nsizes = [\"8x8\"]\n[load]\n{load}\n");
        Scenario::parse("s.toml", &text, &["client.bulkhead=on".to_owned()]).unwrap()
    }

    #[test]
    fn a_load_is_there_with_its_settings_while_it_runs() {
        let folder = tempfile::tempdir().unwrap();
        let before = scenario("rate = 5");
        let own = OwnLoad::begin(folder.path(), &before).unwrap();
        let [load] = &*RunningLoad::all(folder.path()).unwrap() else { panic!("there is one") };
        assert_eq!(load.process.pid, std::process::id());
        assert!(load.has(&before));
        let (after, change) = load.scenario().unwrap().with_setting("load.rate", "7").unwrap();
        assert_eq!(change.description(), "load.rate from 5.0 to 7.0");
        let (after, change) = after.with_setting("client.bulkhead.max_concurrent_calls", "3").unwrap();
        assert!(change.description().ends_with(" to 3"));
        own.update(&after).unwrap();
        assert!(load.again(folder.path()).unwrap().has(&after));
        drop(own);
        assert_eq!(load.again(folder.path()), None);
        assert_eq!(RunningLoad::all(folder.path()).unwrap(), []);
    }

    #[test]
    fn what_is_no_load_is_left_alone_and_one_that_has_ended_is_removed() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let own = OwnLoad::begin(folder.path(), &scenario("rate = 5")).unwrap();
        let mut ended: serde_json::Value = serde_json::from_slice(&fs::read(&own.path).unwrap()).unwrap();
        ended["process"]["pid"] = 1.into();
        fs::write(at(".load-1"), ended.to_string()).unwrap();
        fs::write(at(".load-2"), ended.to_string()).unwrap();
        fs::write(at(".load-3"), "x").unwrap();
        std::os::unix::fs::symlink("/dev/zero", at(".load-4")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, at(".load-5"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(RunningLoad::all(folder.path()).unwrap().len(), 1);
        let left: Vec<_> = (1..=5).filter(|id| fs::symlink_metadata(at(&format!(".load-{id}"))).is_ok()).collect();
        assert_eq!(left, [2, 3, 4, 5]);
    }

    #[test]
    fn a_trace_is_written_without_its_times() {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = scenario("rate = 5");
        settings.load.arrivals = kernel::scenario::Arrivals::Trace;
        settings.load.rate = 0.0;
        settings.load.trace_us = Some(Trace::new((0..500_000).collect()));
        let _own = OwnLoad::begin(folder.path(), &settings).unwrap();
        let [load] = &*RunningLoad::all(folder.path()).unwrap() else { panic!("there is one") };
        let refused = load.scenario().unwrap().with_setting("load.rate", "7").unwrap_err();
        assert!(refused.contains("that of the trace"), "{refused}");
    }
}
