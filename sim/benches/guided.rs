//! Compares guided search with search at random, on rare bugs: `cargo bench -p sim --features canaries --bench guided`.
//!
//! Each of twenty bugs shows only while two or three things hold at once, at one place in the code. Both searches draw short runs of one
//! scenario, of 2 to 4 ms each, until an invariant is violated, [`RUNS_MAX`] at most, and are repeated with other seeds. Each bug is planted in
//! a process of its own, which is this program again.

use std::{
    convert::Infallible,
    env,
    num::NonZeroUsize,
    path::Path,
    process::{Command, Stdio},
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
};

use clap::{Parser, ValueEnum};
use kernel::{
    bug::{Bug, Need, plant},
    coverage::{Moment, moments},
    entropy::Entropy,
    scenario::Scenario,
};
use rand::RngExt;
use sim::{
    Plan,
    guided::{GuidedSearch, Proposal, Recipe},
    reduction::Goal,
};

/// The most runs of one search.
const RUNS_MAX: u64 = 2_000;

/// The seeds of one search.
const SEEDS: u64 = 1_000_000;

/// The first seed of searches for which the search is tuned; those that are compared have lower ones.
const TUNING_SEED: u64 = 500 * SEEDS;

/// Resamples of an interval.
const RESAMPLES: usize = 4_000;

#[derive(Parser)]
struct Options {
    /// Searches of each kind for each bug.
    #[arg(long, default_value_t = 50)]
    searches: u64,

    /// Searches for the bugs whose name contains this only.
    #[arg(long, default_value = "")]
    bug: String,

    /// Counts which of the first N seeds find each bug, and searches for nothing.
    #[arg(long, value_name = "N")]
    count: Option<u64>,

    /// Does the guided searches alone, as searches at random do not change with them.
    #[arg(long)]
    guided_only: bool,

    /// Searches for every second bug only, the first included, with other seeds: what the search may be tuned on.
    #[arg(long)]
    tuning: bool,

    /// Number of threads [default: as many as there are cores].
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Searches for the bug of this index, in this process.
    #[arg(long, hide = true)]
    index: Option<usize>,

    /// Cargo passes it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A bug that shows while all that it needs holds, in a scenario.
struct Rare {
    scenario: &'static str,
    bug: Bug,
    needs: &'static [Need],
}

const fn rare(scenario: &'static str, bug: Bug, needs: &'static [Need]) -> Rare {
    Rare { scenario, bug, needs }
}

/// The bugs: of 74 candidates those that 1 to 18 of 2,000 runs at random found, which were all that were counted before any guided search.
const BUGS: &[Rare] = &[
    rare("breakers", Bug::AttemptTooMany, &[Need::HalfOpenBreaker, Need::Frozen]),
    rare("breakers", Bug::ShortBackoff, &[Need::TwoOpenBreakers, Need::JustRestarted, Need::Lossy]),
    rare("breakers", Bug::ManyProbes, &[Need::TwoOpenBreakers, Need::Delayed]),
    rare("breakers", Bug::ManyProbes, &[Need::Lossy]),
    rare("breakers", Bug::HastyBreaker, &[Need::Cut, Need::Unhealthy, Need::Down]),
    rare("breakers", Bug::HastyBreaker, &[Need::Frozen, Need::HalfOpenBreaker]),
    rare("breakers", Bug::LeakyBreaker, &[Need::TwoOpenBreakers, Need::Disconnected, Need::Failing]),
    rare("breakers", Bug::UncountedFailover, &[Need::TwoBackoffs, Need::HalfOpenBreaker, Need::Cut]),
    rare("breakers", Bug::WrongAnswer, &[Need::TwoUnhealthy, Need::JustRestarted]),
    rare("breakers", Bug::WrongServer, &[Need::HalfOpenBreaker, Need::Unhealthy]),
    rare("ejections", Bug::EarlyHedge, &[Need::Ejected, Need::Down]),
    rare("ejections", Bug::EarlyHedge, &[Need::TwoEjected, Need::Frozen, Need::Delayed]),
    rare("ejections", Bug::BlindBalancer, &[Need::Hedged, Need::JustRestarted]),
    rare("ejections", Bug::BlindBalancer, &[Need::TwoEjected, Need::Unhealthy, Need::Down]),
    rare("ejections", Bug::TwiceDone, &[Need::TwoEjected, Need::JustThawed, Need::Lossy]),
    rare("ejections", Bug::TwiceDone, &[Need::TwoEjected, Need::JustRestarted]),
    rare("cache", Bug::OldAnswers, &[Need::HalfOpenBreaker]),
    rare("cache", Bug::OldAnswers, &[Need::Stale, Need::JustRestarted]),
    rare("budgets", Bug::DeafThrottle, &[Need::TwoEjected, Need::Lossy]),
    rare("budgets", Bug::BlindBalancer, &[Need::Throttled, Need::JustRestarted]),
];

impl Rare {
    fn name(&self) -> String {
        let needs: Vec<String> = self.needs.iter().map(|need| name(*need)).collect();
        format!("{}: {} if {}", self.scenario, name(self.bug), needs.join(", "))
    }

    fn load(&self) -> Scenario {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/guided/{}.toml", self.scenario));
        Scenario::load(&file, &[]).expect("a valid scenario")
    }
}

fn name(value: impl ValueEnum) -> String {
    value.to_possible_value().expect("all have a name").get_name().to_owned()
}

/// Plays a recipe. Returns whether it violates an invariant, and what a guided search learns from it.
fn play(base: &Scenario, recipe: &Recipe, learns: bool) -> (bool, Vec<Moment>) {
    let mut plan = Plan::new(base.explicit_with(recipe.seed, &recipe.branches), recipe.seed);
    plan.branches.clone_from(&recipe.branches);
    let (goal, run) = Goal::find_and_run(&plan).expect("valid input");
    let learned = run.filter(|_| learns).map(|run| moments(&plan.scenario, plan.seed, &run.records));
    (goal.is_some_and(|goal| goal.is_a_bug()), learned.unwrap_or_default())
}

/// Returns the number of runs that a search at random takes; one more than the most if it finds nothing.
fn at_random(base: &Scenario, from_seed: u64) -> u64 {
    let mut recipes = (0..RUNS_MAX).map(|number| Recipe { seed: from_seed + number, branches: Vec::new() });
    recipes.position(|recipe| play(base, &recipe, false).0).map_or(RUNS_MAX + 1, |place| place as u64 + 1)
}

/// Returns the same of a guided search.
fn guided(base: &Scenario, from_seed: u64) -> u64 {
    let mut runs = 0;
    let end = |proposal: Proposal| {
        runs += 1;
        let (found, moments) = play(base, &proposal.recipe, true);
        Ok::<_, Infallible>((found.then_some(()), moments))
    };
    // Runs are played when it is their turn, so that none behind a find is.
    let Ok(found) = GuidedSearch::new(base, from_seed).search(|runs| RUNS_MAX - runs, |_, batch| batch.to_vec(), end);
    found.map_or(RUNS_MAX + 1, |()| runs)
}

/// Computes `of` each number on this number of threads, on all cores by default, and returns the results in order.
fn on_threads(jobs: Option<NonZeroUsize>, count: u64, of: impl Fn(u64) -> u64 + Sync) -> Vec<u64> {
    let next = AtomicU64::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        let all = || thread::available_parallelism().map_or(1, usize::from);
        for _ in 0..jobs.map_or_else(all, usize::from) {
            scope.spawn(|| {
                loop {
                    let number = next.fetch_add(1, Relaxed);
                    if number >= count {
                        return;
                    }
                    let result = of(number);
                    done.lock().expect("no thread panics").push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().expect("no thread panics");
    done.sort_unstable();
    done.into_iter().map(|(_, result)| result).collect()
}

/// Searches for a bug, which is planted in this process, and prints a line of results for each kind of search.
fn search_for(rare: &Rare, options: &Options) {
    plant(rare.bug, rare.needs.to_vec());
    let base = rare.load();
    let print = |runs: Vec<u64>| println!("{}", runs.iter().map(u64::to_string).collect::<Vec<_>>().join(" "));
    if let Some(count) = options.count {
        return print(on_threads(options.jobs, count, |seed| {
            u64::from(play(&base, &Recipe { seed, branches: Vec::new() }, false).0)
        }));
    }
    let from_seed = if options.tuning { TUNING_SEED } else { 0 };
    let searches = |search: fn(&Scenario, u64) -> u64| {
        on_threads(options.jobs, options.searches, |number| search(&base, from_seed + number * SEEDS))
    };
    if !options.guided_only {
        print(searches(at_random));
    }
    print(searches(guided));
}

/// Has a process of its own search for the bug of this index. Returns its lines of results.
fn results(index: usize, options: &Options) -> Vec<Vec<u64>> {
    let mut command = Command::new(env::current_exe().expect("this program has a file"));
    command.args(["--index", &index.to_string(), "--searches", &options.searches.to_string()]);
    command.args(options.count.iter().flat_map(|count| ["--count".to_owned(), count.to_string()]));
    command.args(options.guided_only.then_some("--guided-only"));
    command.args(options.tuning.then_some("--tuning"));
    command.args(options.jobs.iter().flat_map(|jobs| ["--jobs".to_owned(), jobs.to_string()]));
    let ended = command.stderr(Stdio::inherit()).output().expect("it starts");
    assert!(ended.status.success(), "the searches for bug {index} end with {}", ended.status);
    let lines = String::from_utf8(ended.stdout).expect("it prints numbers");
    let numbers = |line: &str| line.split(' ').map(|number| number.parse().expect("it prints numbers")).collect();
    lines.lines().map(numbers).collect()
}

fn mean(runs: &[u64]) -> f64 {
    runs.iter().sum::<u64>() as f64 / runs.len() as f64
}

/// Returns how many times as many runs the search at random takes, with a 95 % interval by the percentiles of a bootstrap.
fn ratio(random: &[u64], guided: &[u64]) -> (f64, [f64; 2]) {
    let mut rng = Entropy::new(1).stream("resamples");
    let mut resampled = |runs: &[u64]| {
        let sum: u64 = runs.iter().map(|_| runs[rng.random_range(0..runs.len() as u64) as usize]).sum();
        sum as f64
    };
    let mut ratios: Vec<f64> = (0..RESAMPLES).map(|_| resampled(random) / resampled(guided)).collect();
    ratios.sort_by(f64::total_cmp);
    (mean(random) / mean(guided), [ratios[RESAMPLES / 40], ratios[RESAMPLES - 1 - RESAMPLES / 40]])
}

fn main() {
    let options = Options::parse();
    if let Some(index) = options.index {
        return search_for(&BUGS[index], &options);
    }
    println!(
        "Runs until a bug is found, {RUNS_MAX} at most; in brackets the searches of {} that found nothing.\n",
        options.searches
    );
    println!("{:66} {:>11} {:>11} {:>6}  {:>12}", "bug", "at random", "guided", "ratio", "95 % of it");
    let capped = |runs: &[u64]| runs.iter().filter(|runs| **runs > RUNS_MAX).count();
    let cell = |runs: &[u64]| format!("{:.0} ({})", mean(runs), capped(runs));
    let mut logarithms = Vec::new();
    let is_chosen =
        |index: usize, rare: &Rare| rare.name().contains(&options.bug) && !(options.tuning && index % 2 == 1);
    for (index, rare) in BUGS.iter().enumerate().filter(|(index, rare)| is_chosen(*index, rare)) {
        match &results(index, &options)[..] {
            [random, guided] => {
                let (ratio, [low, high]) = ratio(random, guided);
                logarithms.push(ratio.ln());
                let interval = format!("{low:.2} to {high:.2}");
                println!("{:66} {:>11} {:>11} {ratio:>6.2}  {interval:>12}", rare.name(), cell(random), cell(guided));
            }
            [guided] if options.guided_only => println!("{:66} {:>11} {:>11}", rare.name(), "", cell(guided)),
            lines => println!("{:66} {} of {}", rare.name(), lines[0].iter().sum::<u64>(), lines[0].len()),
        }
    }
    if !logarithms.is_empty() {
        let mean = (logarithms.iter().sum::<f64>() / logarithms.len() as f64).exp();
        println!("\nGeometric mean of the ratios: {mean:.2}");
    }
}
