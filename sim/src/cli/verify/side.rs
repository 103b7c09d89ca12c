//! One of the two processes of `sim verify`: simulates a run, and writes a digest for each trace entry as it happens. Then it
//! answers questions for single entries.
//!
//! It writes to standard output eight bytes for each entry, the running digest in little-endian order, then [`END`]. Then it
//! reads the number of an entry from each line of standard input, and writes a line of JSON: the entry, or null beyond
//! the last one.

use std::{
    hint,
    io::{self, BufRead, BufWriter, Stdout, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use crate::{
    CompletedRun, Plan,
    trace::{Entry, Listener},
};
use clap::Args;
use kernel::{
    cli::{Exit, Failure},
    scenario::Scenario,
    sync::lock,
};
use twox_hash::XxHash3_128;

use crate::cli::{app, failed, options::Conditions};

/// Name of the hidden subcommand.
pub(super) const NAME: &str = "side";
/// Option of the process that differs in everything that must not matter.
pub(super) const DISTURBED: &str = "--disturbed";
/// Option of a process that also keeps a core busy.
pub(super) const BUSY: &str = "--busy";
/// Follows the last digest. No digest is equal to it.
pub(super) const END: u64 = 0;

/// The time by which the wall clock of a disturbed process is ahead: a thousand days and some hours.
const DATE_SHIFT: Duration = Duration::from_secs(86_400 * 1_000 + 12_345);

/// Options of one of the two processes.
#[derive(Debug, Args)]
pub(crate) struct SideArgs {
    scenario: PathBuf,

    #[arg(long)]
    seed: u64,

    #[command(flatten)]
    conditions: Conditions,

    /// Has a past, and another date
    #[arg(long)]
    disturbed: bool,

    /// Keeps a core busy
    #[arg(long)]
    busy: bool,

    #[cfg(feature = "canaries")]
    #[arg(long)]
    canary: Option<crate::canary::Canary>,
}

/// Simulates the run and answers the questions.
pub(crate) fn run(args: &SideArgs) -> Result<Exit, Failure> {
    let scenario = Scenario::load(&args.scenario, &args.conditions.overrides).map_err(Failure::wrong_input)?;
    let plan = Plan {
        scenario,
        seed: args.seed,
        branches: Vec::new(),
        calibration: args.conditions.calibration()?,
        app: app(),
    };
    #[cfg(feature = "canaries")]
    if let Some(canary) = args.canary {
        crate::canary::plant(canary);
    }
    let _blocks = args.disturbed.then(|| disturb(&plan));

    let log = Arc::new(Mutex::new(TraceLog::default()));
    let listening = log.clone();
    let listener: Listener = Box::new(move |entry| lock(&listening).add(&entry));
    let now = AtomicU64::new(0);
    let completed = if args.busy {
        beside_a_busy_thread(|| crate::run_with_listener(&plan, &now, listener))
    } else {
        crate::run_with_listener(&plan, &now, listener)
    };
    let completed = completed.map_err(failed)?;
    let mut log = lock(&log);
    let records = completed.records.digest();
    let CompletedRun { steps, instants, .. } = completed;
    let what = format!("the run ends with the records {records} after {steps} steps and {instants} instants");
    let at_ns = log.last_ns;
    log.add(&Entry { at_ns, host: "driver".to_owned(), what });
    log.answer().map_err(Failure::run_failed)?;
    Ok(Exit::Passed)
}

/// Gives this process a past that the other one does not have: freed memory, memory that is still in use, a simulation
/// before this one, another date. The returned blocks must be kept for as long as the run lasts.
fn disturb(plan: &Plan) -> Vec<Vec<u8>> {
    crate::shift_date(DATE_SHIFT);
    let sizes = (0..2_000_usize).map(|number| 16 + (number * 7_919 + plan.seed as usize % 1_000) % 9_973);
    let mut blocks: Vec<Vec<u8>> = sizes.map(|size| vec![1; size]).collect();
    let mut kept = false;
    blocks.retain(|_| {
        kept = !kept;
        kept
    });
    let mut other = plan.clone();
    other.seed = plan.seed.wrapping_add(1);
    other.scenario.duration = other.scenario.duration.min(Duration::from_secs(1));
    other.scenario.faults.clear();
    // Its result does not matter. If it cannot be simulated, the run itself reports that.
    let _ = crate::run(&other, &AtomicU64::new(0));
    blocks
}

/// Does `work` while another thread keeps a core busy.
fn beside_a_busy_thread<T>(work: impl FnOnce() -> T) -> T {
    let done = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Relaxed) {
                hint::spin_loop();
            }
        });
        let result = work();
        done.store(true, Relaxed);
        result
    })
}

/// All entries of the trace.
struct TraceLog {
    /// The running digest of all entries.
    digest: u64,
    /// The entries as JSON, without anything between them.
    lines: String,
    /// The end of each entry in `lines`, in bytes.
    ends: Vec<usize>,
    /// Virtual time of the last entry, in nanoseconds.
    last_ns: u64,
    out: BufWriter<Stdout>,
}

impl Default for TraceLog {
    fn default() -> Self {
        Self { digest: 0, lines: String::new(), ends: Vec::new(), last_ns: 0, out: BufWriter::new(io::stdout()) }
    }
}

impl TraceLog {
    /// Keeps an entry and writes the digest.
    fn add(&mut self, entry: &Entry) {
        let line = serde_json::to_string(entry).expect("plain data is always written");
        let running = XxHash3_128::oneshot_with_seed(self.digest, line.as_bytes()) as u64;
        self.digest = if running == END { 1 } else { running };
        self.last_ns = entry.at_ns;
        self.lines += &line;
        self.ends.push(self.lines.len());
        // An error means that the comparing process is gone. `answer` then fails too, and ends this one.
        let _ = self.out.write_all(&self.digest.to_le_bytes());
    }

    /// Ends the digests, then answers questions until standard input ends.
    fn answer(&mut self) -> io::Result<()> {
        self.out.write_all(&END.to_le_bytes())?;
        self.out.flush()?;
        for question in io::stdin().lock().lines() {
            let event: Option<usize> = question?.parse().ok();
            let end = event.and_then(|event| self.ends.get(event).copied());
            let start = event.and_then(|event| self.ends.get(event.checked_sub(1)?).copied()).unwrap_or(0);
            writeln!(self.out, "{}", end.map_or("null", |end| &self.lines[start..end]))?;
            self.out.flush()?;
        }
        Ok(())
    }
}
