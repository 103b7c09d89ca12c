//! `sim hunt`: faults drawn from one seed after another, until a run fails.

use std::{
    fs,
    io::{self, Write},
    num::NonZeroUsize,
    path::{Path, PathBuf},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kernel::{
    cli::{Exit, Failure},
    scenario::{Scenario, duration, swarm},
};
use sim::{
    Plan,
    calibration::Calibration,
    reduction::{Goal, short_toml},
};

use crate::{
    failed,
    options::{Conditions, Jobs},
    replay::arguments,
};

/// Options of a hunt.
#[derive(Debug, Args)]
pub(crate) struct HuntArgs {
    /// The scenario file. What it draws from is its [nemesis], the default one if it has none
    scenario: PathBuf,

    /// How long to hunt
    #[arg(long = "for", value_name = "TIME", default_value = "1m", value_parser = time)]
    lasts: Duration,

    /// Runs at most
    #[arg(long, value_name = "N", default_value_t = u64::MAX, hide_default_value = true)]
    runs: u64,

    /// The seed of the first run; the next one has the next
    #[arg(long, value_name = "N", default_value_t = 0)]
    from_seed: u64,

    /// Looks for broken invariants only, which are bugs of this program, whatever the scenario expects
    #[arg(long)]
    invariants: bool,

    /// Has each seed draw policies, servers, load and network, too, in place of the scenario's. It looks for broken
    /// invariants only: what is expected of a scenario is expected of it as it stands
    #[arg(long)]
    policies: bool,

    #[command(flatten)]
    conditions: Conditions,

    /// Where to write what fails [default: runs/SCENARIO/hunt]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// Writes the scenario of every run, too
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    jobs: Jobs,
}

/// What is expected during faults has no meaning where those may be gone.
const NOTHING_EXPECTED: &str = "expect=[]";

fn time(text: &str) -> Result<Duration, String> {
    duration::parse(text).map_err(|error| error.to_string())
}

/// Draws and plays until a run fails or the time is over.
pub(crate) fn run(args: &HuntArgs) -> Result<Exit, Failure> {
    let calibration = args.conditions.calibration()?;
    let mut overrides = args.conditions.overrides.clone();
    if args.policies {
        overrides.push(NOTHING_EXPECTED.to_owned());
    }
    let mut base = Scenario::load(&args.scenario, &overrides).map_err(Failure::wrong_input)?;
    base.nemesis.get_or_insert_default();
    if args.invariants || args.policies {
        base.expectations.clear();
    } else if base.expectations.is_empty() {
        return Err(Failure::wrong_input("the scenario expects nothing; add an [[expect]], or give --invariants"));
    }
    let jobs = args.jobs.count()?;
    let folder = args.out.clone().unwrap_or_else(|| format!("runs/{}/hunt", base.name).into());
    let hunt = Hunt { args, base: &base, calibration: &calibration, folder: &folder };
    let (find, played) = hunt.go(jobs)?;
    let text = match &find {
        None => format!("NOTHING  {} (sim, from seed {}): no run of {played} fails\n", base.name, args.from_seed),
        Some(find) => hunt.account(find, played)?,
    };
    // Whoever reads may have read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(match find {
        None => Exit::Passed,
        Some(find) if find.goal.is_a_bug() => Exit::InvariantViolated,
        Some(_) => Exit::Failed,
    })
}

/// A run that fails.
struct Find {
    seed: u64,
    /// Drawn, as the command line has them.
    settings: Vec<String>,
    scenario: Scenario,
    goal: Goal,
}

struct Hunt<'a> {
    args: &'a HuntArgs,
    base: &'a Scenario,
    calibration: &'a Calibration,
    folder: &'a Path,
}

impl Hunt<'_> {
    /// The first find by its seed, and how many runs there were: all before it have been played, on however many threads.
    fn go(&self, jobs: NonZeroUsize) -> Result<(Option<Find>, u64), Failure> {
        let (next, played) = (AtomicU64::new(0), AtomicU64::new(0));
        let found: Mutex<Option<Result<Find, Failure>>> = Mutex::default();
        let bar = bar(self.args.lasts);
        let work = || {
            while bar.elapsed() < self.args.lasts && lock(&found).is_none() {
                let number = next.fetch_add(1, Relaxed);
                let seed = self.args.from_seed.checked_add(number);
                let Some(seed) = seed.filter(|_| number < self.args.runs) else { return };
                let outcome = self.play(seed).transpose();
                bar.set_message((played.fetch_add(1, Relaxed) + 1).to_string());
                bar.set_position(bar.elapsed().as_secs());
                let Some(outcome) = outcome else { continue };
                let mut found = lock(&found);
                let is_first = match (&outcome, &*found) {
                    (Ok(new), Some(Ok(old))) => new.seed < old.seed,
                    (_, known) => known.is_none(),
                };
                if is_first {
                    *found = Some(outcome);
                }
            }
        };
        thread::scope(|scope| (0..jobs.get()).for_each(|_| drop(scope.spawn(work))));
        bar.finish_and_clear();
        let found = found.into_inner().unwrap_or_else(PoisonError::into_inner).transpose()?;
        Ok((found, played.into_inner()))
    }

    fn play(&self, seed: u64) -> Result<Option<Find>, Failure> {
        let (settings, scenario) = self.draw(seed)?;
        let plan = Plan { scenario, seed, calibration: self.calibration.clone() };
        if self.args.keep {
            self.write(seed, &plan.scenario)?;
        }
        let goal = Goal::find(&plan).map_err(failed)?;
        Ok(goal.map(|goal| Find { seed, settings, scenario: plan.scenario, goal }))
    }

    /// What this seed plays, and the settings that it draws for that.
    fn draw(&self, seed: u64) -> Result<(Vec<String>, Scenario), Failure> {
        if !self.args.policies {
            return Ok((Vec::new(), self.base.explicit(seed)));
        }
        let settings = swarm::settings(self.base, seed);
        // The command line has the last word. What it has may go with what a file has, and not with what is drawn.
        let mut all = [&settings[..], &self.args.conditions.overrides].concat();
        all.push(NOTHING_EXPECTED.to_owned());
        let mut scenario = Scenario::load(&self.args.scenario, &all).map_err(Failure::wrong_input)?;
        scenario.nemesis.get_or_insert_default();
        Ok((settings, scenario.explicit(seed)))
    }

    /// An ordinary scenario, which leaves nothing to be drawn.
    fn write(&self, seed: u64, scenario: &Scenario) -> Result<PathBuf, Failure> {
        let place = self.folder.join(format!("seed{seed}.toml"));
        let what = if self.args.policies { "settings and faults" } else { "faults" };
        let head = format!("# `{}` with the {what} that seed {seed} draws.\n\n", scenario.name);
        let write = || {
            fs::create_dir_all(self.folder)?;
            fs::write(&place, head + &short_toml(scenario))
        };
        write().map_err(|reason: io::Error| {
            let place = place.display();
            let remedy = format!("choose another folder with --out, and go on with --from-seed {seed}");
            Failure::run_failed(format!("cannot write {place}: {reason}; {remedy}"))
        })?;
        Ok(place)
    }

    fn account(&self, find: &Find, played: u64) -> Result<String, Failure> {
        let Find { seed, settings, scenario, goal } = find;
        let place = self.write(*seed, scenario)?;
        let again = arguments(&place, *seed, self.args.conditions.times.as_deref());
        let mut text = format!("FOUND  {} (sim, seed {seed}) after {played} runs: {goal}\n\n", scenario.name);
        settings.iter().for_each(|setting| text += &format!("  {setting}\n"));
        scenario.faults.iter().for_each(|fault| text += &format!("  {fault}\n"));
        text += &format!("\n  scenario  {}\n", place.display());
        Ok(text + &format!("  replay    cargo run -p sim -- {again}\n  shrink    cargo run -p sim -- shrink {again}\n"))
    }
}

fn lock<T>(found: &Mutex<T>) -> MutexGuard<'_, T> {
    found.lock().unwrap_or_else(PoisonError::into_inner)
}

/// It draws nothing where standard error is no terminal.
fn bar(lasts: Duration) -> ProgressBar {
    let style =
        ProgressStyle::with_template("{bar:40} {pos} of {len} s, {msg} runs").expect("the template is well-formed");
    ProgressBar::new(lasts.as_secs()).with_style(style)
}
