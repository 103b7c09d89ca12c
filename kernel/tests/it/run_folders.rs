//! Files of others in the folder of a run, whatever they are called: none is ever lost.

use std::{
    collections::BTreeMap,
    fs,
    os::unix::fs::symlink,
    path::{Path, PathBuf},
};

use kernel::{
    record::Records,
    run_folder::{Earlier, FolderError, RunFolder, RunInfo, manifest::Manifest},
    scenario::Scenario,
};
use proptest::prelude::*;

const SCENARIO: &str = "name = \"short\"\nduration = \"1s\"\n[load]\nrate = 3\n";

/// Names of files of a run, of folders that it has, and others.
const NAMES: [&str; 10] = [
    "run.json",
    "events.jsonl",
    "files.json",
    "logs",
    "report",
    "report.txt",
    "run.partial",
    "thesis",
    "thesis.txt",
    "server-0.log",
];

/// Where a killed process leaves the folder that it was replacing.
const ASIDE: &str = "run.1-1.replaced";

/// What happens to the folder.
#[derive(Debug, Clone)]
enum Step {
    /// A run with this many logs is written to it.
    Run { earlier: Earlier, logs: usize },
    /// Somebody puts a file into it.
    File(Vec<usize>),
    /// Somebody puts a link into it, to a folder with a file in it.
    Link(Vec<usize>),
    /// A report of the run is written.
    Report,
    /// The process is killed after it has moved the earlier folder aside.
    Killed,
}

fn step() -> impl Strategy<Value = Step> {
    let path = prop::collection::vec(0..NAMES.len(), 1..4);
    prop_oneof![
        (prop::sample::select(vec![Earlier::Replace, Earlier::Keep, Earlier::Force]), 0..3_usize)
            .prop_map(|(earlier, logs)| Step::Run { earlier, logs }),
        path.clone().prop_map(Step::File),
        path.prop_map(Step::Link),
        Just(Step::Report),
        Just(Step::Killed),
    ]
}

/// A folder that runs are written to, and what others have put into it.
struct Folder {
    directory: tempfile::TempDir,
    /// The content of each file of others, where it was put.
    others: BTreeMap<String, PathBuf>,
    count: usize,
}

impl Folder {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("elsewhere")).unwrap();
        for name in NAMES {
            fs::write(directory.path().join("elsewhere").join(name), "years of work").unwrap();
        }
        Self { directory, others: BTreeMap::new(), count: 0 }
    }

    fn place(&self) -> PathBuf {
        self.directory.path().join("run")
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Run { earlier, logs } => self.run(*earlier, *logs),
            Step::File(path) => self.put(path, |to, content| fs::write(to, content)),
            Step::Link(path) => {
                let elsewhere = self.directory.path().join("elsewhere");
                self.put(path, |to, _| if to.exists() { Ok(()) } else { symlink(&elsewhere, to) });
            }
            Step::Report => self.report(),
            Step::Killed => {
                let aside = self.directory.path().join(ASIDE);
                if !aside.exists() && Manifest::read(&self.place()).is_some() {
                    fs::rename(self.place(), aside).unwrap();
                }
            }
        }
    }

    fn run(&mut self, earlier: Earlier, logs: usize) {
        // A file of the run that others have written over is what `Force` is for, also if a kill has moved it aside.
        if earlier == Earlier::Force {
            let aside = self.directory.path().join(ASIDE);
            for folder in [self.place(), aside] {
                for name in Manifest::read(&folder).iter().flat_map(Manifest::names) {
                    let lost = fs::read_to_string(folder.join(name)).unwrap_or_default();
                    self.others.remove(&lost);
                }
            }
        }
        let scenario = Scenario::parse("short.toml", SCENARIO, &[]).unwrap();
        let folder = match RunFolder::prepare(&self.place(), earlier) {
            Ok(folder) => folder,
            Err(FolderError::Occupied { .. } | FolderError::Changed { .. } | FolderError::Unlisted { .. }) => return,
            Err(error) => panic!("{error}"),
        };
        if logs > 0 {
            let place = folder.logs().unwrap();
            (0..logs).for_each(|log| fs::write(place.join(format!("server-{log}.log")), "ready").unwrap());
        }
        let written = folder.write(&scenario, &RunInfo::new("sim", 1), &Records::default(), scenario.duration).unwrap();
        let manifest = Manifest::read(&written.placed.place).expect("it was written");
        assert!(manifest.changed(&written.placed.place).unwrap().is_empty(), "the run is as it was written");
    }

    /// Puts a file of somebody else at `path`, unless a folder is there or there can be none above it.
    fn put(&mut self, path: &[usize], write: impl FnOnce(&Path, &str) -> std::io::Result<()>) {
        let mut to = self.place();
        to.extend(path.iter().map(|&name| NAMES[name]));
        if !self.place().is_dir() || to.is_dir() || fs::create_dir_all(to.parent().unwrap()).is_err() {
            return;
        }
        // Nothing is written behind a link: that would be a change of what is elsewhere.
        if to.canonicalize().is_ok_and(|real| real != to)
            || to.parent().unwrap().canonicalize().unwrap() != to.parent().unwrap()
        {
            return;
        }
        self.count += 1;
        let content = format!("file {} of somebody else", self.count);
        write(&to, &content).unwrap();
        // A link is put only where nothing is.
        if fs::symlink_metadata(&to).unwrap().is_file() && fs::read_to_string(&to).unwrap() == content {
            self.others.retain(|_, path| *path != to);
            self.others.insert(content, to);
        }
    }

    fn report(&mut self) {
        let report = self.place().join("report");
        if !self.place().is_dir() || fs::symlink_metadata(&report).is_ok() {
            return;
        }
        fs::create_dir(&report).unwrap();
        let mut manifest = Manifest::new("report");
        manifest.add("report.txt", kernel::run_folder::sha256(b"PASS"));
        fs::write(report.join("report.txt"), "PASS").unwrap();
        fs::write(report.join("files.json"), manifest.to_json()).unwrap();
    }

    /// Checks that each file of others is somewhere, with its content.
    fn check(&self) {
        let mut found = Vec::new();
        contents(self.directory.path(), &mut found);
        for (content, path) in &self.others {
            assert!(found.contains(content), "{} is lost", path.display());
        }
        let elsewhere = self.directory.path().join("elsewhere");
        for name in NAMES {
            assert_eq!(fs::read_to_string(elsewhere.join(name)).unwrap(), "years of work");
        }
    }
}

/// Adds the content of each file below `folder`, and follows no link.
fn contents(folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            contents(&entry.path(), found);
        } else if kind.is_file() {
            found.push(fs::read_to_string(entry.path()).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn no_file_of_others_is_lost_whatever_it_is_called(steps in prop::collection::vec(step(), 1..14)) {
        let mut folder = Folder::new();
        folder.run(Earlier::Replace, 1);
        for step in &steps {
            folder.take(step);
            folder.check();
        }
    }
}
