//! One of the two processes of a proof: plays a run, tells the digest of each event as it happens, and then what any of
//! them was.
//!
//! On standard output: eight bytes for each event, the running digest in little-endian order, then [`END`]. Then, for
//! each line on standard input with the number of an event, a line of JSON: the event, or null beyond the last.

use std::{
    hint,
    io::{self, BufRead, BufWriter, Stdout, Write},
    path::PathBuf,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use clap::Args;
use kernel::{
    cli::{Exit, Failure},
    scenario::Scenario,
};
use sim::{Plan, trace::Entry};
use twox_hash::XxHash3_128;

use crate::{failed, options::Conditions};

/// Of the hidden command.
pub(super) const NAME: &str = "side";
pub(super) const DISTURBED: &str = "--disturbed";
pub(super) const BUSY: &str = "--busy";
/// Behind the last digest; none is like it.
pub(super) const END: u64 = 0;

/// How far from today the clock of a disturbed process is: a thousand days, and a bit.
const OTHER_DAY: Duration = Duration::from_secs(86_400 * 1_000 + 12_345);

/// What to play, and how.
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
    canary: Option<sim::canary::Canary>,
}

/// Plays the part.
pub(crate) fn run(args: &SideArgs) -> Result<Exit, Failure> {
    let scenario = Scenario::load(&args.scenario, &args.conditions.overrides).map_err(Failure::wrong_input)?;
    let plan = Plan { scenario, seed: args.seed, calibration: args.conditions.calibration()? };
    #[cfg(feature = "canaries")]
    if let Some(canary) = args.canary {
        sim::canary::plant(canary);
    }
    let _past = args.disturbed.then(|| past(&plan));

    let log = Arc::new(Mutex::new(Log::default()));
    let told = log.clone();
    let play = || sim::run_with_listener(&plan, &AtomicU64::new(0), Box::new(move |entry| locked(&told).add(&entry)));
    let played = if args.busy { beside_a_busy_thread(play) } else { play() }.map_err(failed)?;
    let mut log = locked(&log);
    let (records, steps, instants) = (played.records.digest(), played.steps, played.instants);
    let what = format!("the run ends with the records {records} after {steps} steps and {instants} instants");
    let at_ns = log.last_ns;
    log.add(&Entry { at_ns, host: "driver".to_owned(), what });
    log.answer().map_err(Failure::run_failed)?;
    Ok(Exit::Passed)
}

/// What another process would not have behind it: freed and kept memory, simulations, another date. What is returned
/// is to be kept.
fn past(plan: &Plan) -> Vec<Vec<u8>> {
    sim::shift_date(OTHER_DAY);
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
    // What becomes of it is no matter; if it cannot be played the run itself will say so.
    let _ = sim::run(&other, &AtomicU64::new(0));
    blocks
}

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

fn locked(log: &Mutex<Log>) -> MutexGuard<'_, Log> {
    log.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Everything that happened.
struct Log {
    digest: u64,
    /// JSON, one behind the other.
    lines: String,
    ends: Vec<usize>,
    /// Of the last event.
    last_ns: u64,
    out: BufWriter<Stdout>,
}

impl Default for Log {
    fn default() -> Self {
        Self { digest: 0, lines: String::new(), ends: Vec::new(), last_ns: 0, out: BufWriter::new(io::stdout()) }
    }
}

impl Log {
    fn add(&mut self, entry: &Entry) {
        let line = serde_json::to_string(entry).expect("plain data is always written");
        let running = XxHash3_128::oneshot_with_seed(self.digest, line.as_bytes()) as u64;
        self.digest = if running == END { 1 } else { running };
        self.last_ns = entry.at_ns;
        self.lines += &line;
        self.ends.push(self.lines.len());
        // Once nobody compares any more there is nothing left to do, and `answer` ends the process.
        let _ = self.out.write_all(&self.digest.to_le_bytes());
    }

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
