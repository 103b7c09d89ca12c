//! `sim hunt`: faults drawn from a seed, schedule after schedule, until a run fails.

use std::{
    fs,
    io::{self, Write},
    num::NonZeroUsize,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use kernel::{
    cli::{Exit, Failure, quoted},
    scenario::{Scenario, duration},
};
use sim::{
    Plan, SimulationError,
    calibration::Calibration,
    drawn::{FAULTS_MAX, Kind, Menu},
    play,
    reduction::{Goal, short_toml},
};

use crate::failed;

/// Options of a hunt.
#[derive(Debug, Args)]
pub(crate) struct HuntArgs {
    /// The scenario file, whose faults are replaced by drawn ones. It is to expect nothing of single faults
    scenario: PathBuf,

    /// How long to hunt
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = time)]
    lasts: Duration,

    /// Decides which schedules are drawn, and is the seed of every run
    #[arg(long, default_value_t = 0)]
    seed: u64,

    /// Schedules at most
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    runs: u64,

    /// Kinds of faults to draw
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = Kind::value_variants().to_vec())]
    kinds: Vec<Kind>,

    /// Faults of one schedule, at most
    #[arg(long, value_name = "N", default_value_t = 6, value_parser = faults_max)]
    faults: usize,

    /// Looks for broken invariants only, which are bugs of this program, whatever the scenario expects
    #[arg(long)]
    invariants: bool,

    /// Overrides a setting of the scenario, such as client.retry.max_attempts=1; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,

    /// The host's times; the built-in ones unless given
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,

    /// Where to write scenarios that fail [default: runs/SCENARIO/hunt-seedN]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Writes every scenario that is drawn, too
    #[arg(long)]
    keep: bool,
}

fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

fn faults_max(text: &str) -> Result<usize, String> {
    let count = text.parse().ok().filter(|count| (1..=FAULTS_MAX).contains(count));
    count.ok_or_else(|| format!("a schedule has 1 to {FAULTS_MAX} faults"))
}

/// A schedule that a run fails with.
struct Find {
    number: u64,
    scenario: Scenario,
    goal: Goal,
}

/// Draws and plays until a run fails or the time is over.
pub(crate) fn run(args: &HuntArgs) -> Result<Exit, Failure> {
    let calibration = match &args.calibration {
        Some(path) => Calibration::load(path).map_err(Failure::wrong_input)?,
        None => Calibration::default(),
    };
    let mut base = Scenario::load(&args.scenario, &args.overrides).map_err(Failure::wrong_input)?;
    if args.invariants {
        base.expectations.clear();
    } else if base.expectations.is_empty() {
        return Err(Failure::wrong_input("the scenario expects nothing; add an [[expect]], or give --invariants"));
    }
    if base.expectations.iter().any(|expected| expected.during.is_some()) {
        let wrong = "the scenario expects something `during` a phase, and a hunt replaces its faults; remove that";
        return Err(Failure::wrong_input(wrong));
    }
    base.faults.clear();
    let folder = args.out.clone().unwrap_or_else(|| format!("runs/{}/hunt-seed{}", base.name, args.seed).into());
    fs::create_dir_all(&folder).map_err(|reason| {
        Failure::wrong_input(format!("cannot write to {}: {reason}; choose another with --out", folder.display()))
    })?;
    let hunt = Hunt { args, base: &base, calibration: &calibration, folder: &folder };
    let (find, played) = hunt.go()?;
    let text = match &find {
        None => format!("NOTHING  {} (sim, seed {}): no run of {played} fails\n", base.name, args.seed),
        Some(find) => hunt.account(find, played)?,
    };
    // Whoever reads may have read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(match find {
        None => Exit::Passed,
        Some(Find { goal: Goal::Invariant(_), .. }) => Exit::InvariantBroken,
        Some(_) => Exit::Failed,
    })
}

struct Hunt<'a> {
    args: &'a HuntArgs,
    base: &'a Scenario,
    calibration: &'a Calibration,
    folder: &'a PathBuf,
}

impl Hunt<'_> {
    /// The first find by number, and how many runs there were. On several cores, all before it have been played.
    fn go(&self) -> Result<(Option<Find>, u64), Failure> {
        let jobs = thread::available_parallelism().map_or(1, NonZeroUsize::get);
        let (next, played) = (AtomicU64::new(0), AtomicU64::new(0));
        let found: Mutex<Option<Result<Find, Failure>>> = Mutex::default();
        let bar = bar(self.args.lasts);
        thread::scope(|scope| {
            for _ in 0..jobs {
                scope.spawn(|| {
                    while bar.elapsed() < self.args.lasts && lock(&found).is_none() {
                        let number = next.fetch_add(1, Relaxed);
                        if number >= self.args.runs {
                            return;
                        }
                        let outcome = self.play(number).transpose();
                        played.fetch_add(1, Relaxed);
                        bar.set_position(bar.elapsed().as_secs());
                        bar.set_message(format!("{} runs", played.load(Relaxed)));
                        let Some(outcome) = outcome else { continue };
                        let mut found = lock(&found);
                        let is_first = match (&outcome, &*found) {
                            (Ok(new), Some(Ok(old))) => new.number < old.number,
                            (_, known) => known.is_none(),
                        };
                        if is_first {
                            *found = Some(outcome);
                        }
                    }
                });
            }
        });
        bar.finish_and_clear();
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner).transpose()?;
        Ok((found, played.into_inner()))
    }

    fn play(&self, number: u64) -> Result<Option<Find>, Failure> {
        let Self { args, base, calibration, .. } = self;
        let menu = Menu { kinds: args.kinds.clone(), faults_max: args.faults };
        let scenario = menu.draw(base, args.seed, number);
        let plan = Plan { scenario, seed: args.seed, calibration: (*calibration).clone() };
        if args.keep {
            self.write(number, &plan.scenario)?;
        }
        let played = match play(&plan, &AtomicU64::new(0)) {
            Err(error @ (SimulationError::Limit { .. } | SimulationError::Standstill { .. })) => {
                let place = self.write(number, &plan.scenario)?;
                return Err(Failure::not_carried_out(format!("{error}; the scenario is {}", place.display())));
            }
            played => played.map_err(failed)?,
        };
        Ok(Goal::of(&plan, &played).map(|goal| Find { number, scenario: plan.scenario, goal }))
    }

    /// An ordinary scenario, which needs nothing random.
    fn write(&self, number: u64, scenario: &Scenario) -> Result<PathBuf, Failure> {
        let place = self.folder.join(format!("{number:06}.toml"));
        let head = format!("# Drawn: schedule {number} of seed {}, on `{}`.\n\n", self.args.seed, scenario.name);
        fs::write(&place, head + &short_toml(scenario))
            .map_err(|reason| Failure::not_carried_out(format!("cannot write {}: {reason}", place.display())))?;
        Ok(place)
    }

    fn account(&self, find: &Find, played: u64) -> Result<String, Failure> {
        let Find { number, scenario, goal } = find;
        let place = self.write(*number, scenario)?;
        let calibration =
            self.args.calibration.iter().map(|path| format!(" --calibration {}", quoted(&path.to_string_lossy())));
        let calibration: String = calibration.collect();
        let rest = format!("{} --seed {}{calibration}", quoted(&place.to_string_lossy()), self.args.seed);
        let (name, seed) = (&scenario.name, self.args.seed);
        let mut text = format!("FOUND  {name} (sim, seed {seed}), schedule {number} after {played} runs: {goal}\n\n");
        for fault in &scenario.faults {
            let targets: Vec<_> = fault.targets.iter().map(|target| format!("server-{target}")).collect();
            let (at, kind) = (duration::text(fault.at), fault.kind.name());
            text += &format!("  - {kind} of {} at {at}\n", targets.join(", "));
        }
        text += &format!("\n  scenario  {}\n", place.display());
        Ok(text + &format!("  replay    cargo run -p sim -- {rest}\n  shrink    cargo run -p sim -- shrink {rest}\n"))
    }
}

fn lock<T>(found: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

/// It draws nothing where standard error is no terminal.
fn bar(lasts: Duration) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} s, {msg}").expect("the template is well-formed");
    ProgressBar::new(lasts.as_secs()).with_style(style)
}
