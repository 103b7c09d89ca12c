//! One run in two processes, and the first difference between them.

use std::{
    env, fmt, fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use crate::trace::Entry;
use kernel::{
    cli::Failure,
    scenario::{Images, Pictures, Scenario, Workload},
    time::Instant,
    visible::Visible,
};
use tempfile::TempDir;

use super::{VerifyArgs, side};

/// Every so many seeds, one process has a thread that only keeps a core busy.
const BUSY_EVERY: u64 = 8;

/// The run to simulate twice.
pub(super) struct Pair<'a> {
    pub(super) path: &'a Path,
    pub(super) scenario: &'a Scenario,
    pub(super) seed: u64,
    pub(super) args: &'a VerifyArgs,
}

/// The result of a comparison.
pub(super) enum Compared {
    /// Both processes have the same trace, with this number of entries.
    Same { events: u64 },
    /// The traces differ.
    Different(Box<Difference>),
}

/// The first trace entry that differs, as each process has it; `None` if its trace has ended.
pub(super) struct Difference {
    event: u64,
    first: Option<Entry>,
    second: Option<Entry>,
}

impl Pair<'_> {
    /// Runs both processes, and compares their digests as they arrive.
    pub(super) fn compare(&self) -> Result<Compared, Failure> {
        let folder = TempDir::with_prefix("rehearsal-verify-").map_err(Failure::run_failed)?;
        let mut first = TracedProcess::start(self.plain(folder.path())?).map_err(Failure::run_failed)?;
        let mut second = TracedProcess::start(self.disturbed(folder.path())?).map_err(Failure::run_failed)?;
        let mut event = 0;
        loop {
            match (first.next()?, second.next()?) {
                (None, None) => return Ok(Compared::Same { events: event }),
                (left, right) if left == right => event += 1,
                (left, right) => {
                    let first = first.entry(event, left.is_some())?;
                    let second = second.entry(event, right.is_some())?;
                    return Ok(Compared::Different(Box::new(Difference { event, first, second })));
                }
            }
        }
    }

    /// Returns the command of the first process: this program with an empty environment.
    fn plain(&self, folder: &Path) -> Result<Command, Failure> {
        let mut command = self.command()?;
        command.env_clear().current_dir(folder);
        Ok(command)
    }

    /// Returns the command of the second process, in which everything is different that must not matter. The sizes of the
    /// paddings move the stack; malloc uses one arena and fills the memory that it returns; threads get larger stacks.
    fn disturbed(&self, folder: &Path) -> Result<Command, Failure> {
        let seed = self.seed;
        let deeper = folder.join("a folder/with a longer name");
        fs::create_dir_all(&deeper).map_err(Failure::run_failed)?;
        let mut command = self.command()?;
        command.arg(side::DISTURBED);
        if seed.is_multiple_of(BUSY_EVERY) {
            command.arg(side::BUSY);
        }
        let padding = "x".repeat(1 + (seed.wrapping_mul(7_919) % 30_011) as usize);
        command.envs((0..=seed % 7).map(|number| (format!("PADDING_{number}"), padding.clone())));
        command.envs([("RUST_LOG", "trace"), ("RUST_BACKTRACE", "full"), ("RUST_MIN_STACK", "16777216")]);
        command.envs([("LANG", "de_DE.UTF-8"), ("LC_ALL", "tr_TR.UTF-8"), ("TZ", "Pacific/Chatham")]);
        command.envs([("MALLOC_ARENA_MAX", "1"), ("MALLOC_PERTURB_", "165"), ("MALLOC_TOP_PAD_", "1048576")]);
        command.env("HOME", &deeper).current_dir(deeper);
        Ok(command)
    }

    /// Returns the command that both have in common. It runs in another folder, so paths are absolute.
    fn command(&self) -> Result<Command, Failure> {
        let mut command = Command::new(env::current_exe().map_err(Failure::run_failed)?);
        command.arg(side::NAME).arg(absolute(self.path)?).args(["--seed", &self.seed.to_string()]);
        for setting in &self.args.conditions.overrides {
            command.args(["--set", setting]);
        }
        if let Workload::Sobel(Images { pictures: Pictures::Files(pattern), .. }) = &self.scenario.workload {
            let here = env::current_dir().map_err(Failure::run_failed)?;
            command.args(["--set", &format!("workload.images={}", here.join(pattern).display())]);
        }
        if let Some(calibration) = &self.args.conditions.times {
            command.arg("--calibration").arg(absolute(calibration)?);
        }
        #[cfg(feature = "canaries")]
        if let Some(canary) = self.args.canary.as_ref().and_then(clap::ValueEnum::to_possible_value) {
            command.args(["--canary", canary.get_name()]);
        }
        Ok(command)
    }
}

fn absolute(path: &Path) -> Result<PathBuf, Failure> {
    path.canonicalize().map_err(|error| Failure::wrong_input(format!("{}: {error}", path.visible())))
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { event, first, second } = self;
        write!(f, "event {event} differs")?;
        let earlier = first.iter().chain(second).min_by_key(|entry| entry.at_ns);
        if let Some(entry) = earlier {
            write!(f, ", at {} on {}", Instant::from_nanos(entry.at_ns), entry.host)?;
        }
        for (name, entry) in [("first ", first), ("second", second)] {
            match entry {
                Some(Entry { at_ns, host, what }) => {
                    write!(f, "\n    {name}  {} {host}: {what}", Instant::from_nanos(*at_ns))?;
                }
                None => write!(f, "\n    {name}  had ended")?,
            }
        }
        Ok(())
    }
}

/// One of the two processes. It is killed when this is dropped.
struct TracedProcess {
    child: Child,
    questions: ChildStdin,
    answers: BufReader<ChildStdout>,
}

impl TracedProcess {
    fn start(mut command: Command) -> io::Result<Self> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
        let questions = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let answers = BufReader::with_capacity(1 << 16, child.stdout.take().ok_or(io::ErrorKind::BrokenPipe)?);
        Ok(Self { child, questions, answers })
    }

    /// Returns the running digest after its next entry, or `None` at the end.
    fn next(&mut self) -> Result<Option<u64>, Failure> {
        let mut digest = [0; 8];
        match self.answers.read_exact(&mut digest) {
            Ok(()) => Ok(Some(u64::from_le_bytes(digest)).filter(|&digest| digest != side::END)),
            Err(_) => Err(self.failure()),
        }
    }

    /// Returns the entry with this number, of the very run that was compared. `is_running` is true unless the end has been
    /// read.
    fn entry(&mut self, event: u64, is_running: bool) -> Result<Option<Entry>, Failure> {
        while is_running && self.next()?.is_some() {}
        let answer = self.ask(event).map_err(Failure::run_failed)?;
        serde_json::from_str(&answer).map_err(Failure::run_failed)
    }

    /// Sends the number of an entry, and reads the line that the process returns for it.
    fn ask(&mut self, event: u64) -> io::Result<String> {
        writeln!(self.questions, "{event}")?;
        self.questions.flush()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer)?;
        Ok(answer)
    }

    /// Returns the failure of a process that has ended before its run did, with the message that it has printed.
    fn failure(&mut self) -> Failure {
        let mut message = String::new();
        // A message that cannot be read is as good as none.
        let _ = self.child.stderr.take().map(|mut stderr| stderr.read_to_string(&mut message));
        let message = message.trim().trim_start_matches("error: ");
        match self.child.wait().ok().and_then(|status| status.code()) {
            Some(2) => Failure::wrong_input(message),
            _ if message.is_empty() => Failure::run_failed("a process of the check ended without output"),
            _ => Failure::run_failed(message),
        }
    }
}

impl Drop for TracedProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
