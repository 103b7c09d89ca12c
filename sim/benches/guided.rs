//! Compares guided search with search at random, on rare bugs: `cargo bench -p sim --features canaries --bench guided`.
//!
//! Each bug shows only while two or three things hold at once, at one place in the code. Both searches draw short runs of one scenario until an
//! invariant is violated, [`RUNS_MAX`] at most, and are repeated with other seeds. Options: `--searches N` (50 unless given), `--bug NAME`
//! for one bug, and `--random N`, which counts the runs of N that find each bug, and searches for nothing.

use std::{
    env,
    path::Path,
    process::Command,
    sync::Mutex,
    sync::atomic::{AtomicU64, Ordering::Relaxed},
    thread,
};

use clap::ValueEnum;
use kernel::{
    bug::{Bug, Need, plant},
    coverage::moments,
    scenario::Scenario,
};
use sim::{
    Plan,
    guided::{BATCH, GuidedSearch, Recipe},
    reduction::Goal,
};

/// The most runs of one search.
const RUNS_MAX: u64 = 2_000;

/// The seeds of one search.
const SEEDS: u64 = 1_000_000;

/// A bug that shows while all that it needs holds, in a scenario.
struct Rare {
    scenario: &'static str,
    bug: Bug,
    needs: &'static [Need],
}

const fn rare(scenario: &'static str, bug: Bug, needs: &'static [Need]) -> Rare {
    Rare { scenario, bug, needs }
}

/// The bugs. They were chosen by how often runs at random find them, before any guided search was tried.
const BUGS: &[Rare] = &[
    rare("breakers", Bug::AttemptTooMany, &[Need::HalfOpenBreaker, Need::Frozen]),
    rare("breakers", Bug::ShortBackoff, &[Need::TwoOpenBreakers, Need::JustRestarted, Need::Frozen]),
    rare("breakers", Bug::ShortBackoff, &[Need::TwoOpenBreakers, Need::JustRestarted, Need::Lossy]),
    rare("breakers", Bug::ShortBackoff, &[Need::HalfOpenBreaker, Need::TwoUnhealthy, Need::Down]),
    rare("breakers", Bug::ShortBackoff, &[Need::HalfOpenBreaker, Need::Failing, Need::Frozen]),
    rare("breakers", Bug::ManyProbes, &[Need::TwoOpenBreakers, Need::Delayed]),
    rare("breakers", Bug::ManyProbes, &[Need::TwoOpenBreakers, Need::TwoUnhealthy]),
    rare("breakers", Bug::ManyProbes, &[Need::Lossy]),
    rare("breakers", Bug::HastyBreaker, &[Need::Cut, Need::Unhealthy, Need::Down]),
    rare("breakers", Bug::HastyBreaker, &[Need::Frozen, Need::HalfOpenBreaker]),
    rare("breakers", Bug::LeakyBreaker, &[Need::TwoOpenBreakers, Need::Disconnected, Need::Failing]),
    rare("breakers", Bug::LeakyBreaker, &[Need::TwoOpenBreakers, Need::HalfOpenBreaker]),
    rare("breakers", Bug::UncountedFailover, &[Need::TwoBackoffs, Need::HalfOpenBreaker, Need::Cut]),
    rare("breakers", Bug::UncountedFailover, &[Need::TwoBackoffs, Need::JustRestarted]),
    rare("breakers", Bug::TwiceDone, &[Need::JustThawed, Need::HalfOpenBreaker, Need::Down]),
    rare("breakers", Bug::TwiceDone, &[Need::JustThawed, Need::HalfOpenBreaker, Need::Unhealthy]),
    rare("breakers", Bug::WrongAnswer, &[Need::TwoUnhealthy, Need::JustRestarted]),
    rare("breakers", Bug::WrongServer, &[Need::HalfOpenBreaker, Need::Unhealthy]),
    rare("ejections", Bug::EarlyHedge, &[Need::Ejected, Need::Down]),
    rare("ejections", Bug::EarlyHedge, &[Need::TwoEjected, Need::Unhealthy]),
    rare("ejections", Bug::EarlyHedge, &[Need::TwoEjected, Need::Frozen, Need::Delayed]),
    rare("ejections", Bug::BlindBalancer, &[Need::Hedged, Need::JustRestarted]),
    rare("ejections", Bug::BlindBalancer, &[Need::TwoEjected, Need::Unhealthy, Need::Down]),
    rare("ejections", Bug::BlindBalancer, &[Need::TwoEjected, Need::JustThawed]),
    rare("ejections", Bug::ShortEjection, &[Need::Hedged, Need::TwoUnhealthy]),
    rare("ejections", Bug::ShortEjection, &[Need::JustRestarted]),
    rare("ejections", Bug::ShortEjection, &[Need::TwoEjected, Need::Lossy]),
    rare("ejections", Bug::TwiceDone, &[Need::TwoEjected, Need::JustThawed, Need::Lossy]),
    rare("ejections", Bug::TwiceDone, &[Need::TwoEjected, Need::JustRestarted]),
    rare("cache", Bug::OldAnswers, &[Need::HalfOpenBreaker]),
    rare("cache", Bug::OldAnswers, &[Need::Stale, Need::JustRestarted]),
    rare("cache", Bug::HastyBreaker, &[Need::Stale, Need::TwoUnhealthy]),
    rare("cache", Bug::HastyBreaker, &[Need::JustRestarted, Need::Unhealthy]),
    rare("cache", Bug::ManyProbes, &[Need::Stale, Need::TwoUnhealthy]),
    rare("cache", Bug::ManyProbes, &[Need::Frozen, Need::Lossy]),
    rare("cache", Bug::TwiceDone, &[Need::HalfOpenBreaker, Need::Stale, Need::TwoUnhealthy]),
    rare("budgets", Bug::DeafThrottle, &[Need::Refused, Need::Ejected]),
    rare("budgets", Bug::DeafThrottle, &[Need::TwoEjected, Need::Lossy]),
    rare("budgets", Bug::DeafThrottle, &[Need::Refused, Need::Unhealthy]),
    rare("budgets", Bug::BlindBalancer, &[Need::Throttled, Need::JustRestarted]),
    rare("budgets", Bug::ShortEjection, &[Need::Throttled, Need::TwoUnhealthy]),
    rare("budgets", Bug::ShortEjection, &[Need::Refused]),
    rare("budgets", Bug::TwiceDone, &[Need::Refused, Need::Ejected, Need::Unhealthy]),
    rare("budgets", Bug::TwiceDone, &[Need::Refused, Need::TwoEjected]),
    rare("budgets", Bug::UncountedFailover, &[Need::Refused, Need::Unhealthy]),
];

impl Rare {
    fn name(&self) -> String {
        let needs: Vec<String> = self.needs.iter().map(|need| of(*need)).collect();
        format!("{}/{}+{}", self.scenario, of(self.bug), needs.join("+"))
    }

    fn load(&self) -> Scenario {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("benches/guided/{}.toml", self.scenario));
        Scenario::load(&file, &[]).expect("a valid scenario")
    }
}

fn of(value: impl ValueEnum) -> String {
    value.to_possible_value().expect("all have a name").get_name().to_owned()
}

/// Plays a recipe. Returns whether it violates an invariant, and what it reached.
fn play(base: &Scenario, recipe: &Recipe, learns: bool) -> (bool, Vec<kernel::coverage::Moment>) {
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
    let mut search = GuidedSearch::new(from_seed);
    let mut runs = 0;
    while runs < RUNS_MAX {
        let batch: Vec<_> = (0..BATCH).map(|_| search.propose()).collect();
        for proposal in &batch {
            runs += 1;
            let (found, learned) = play(base, &proposal.recipe, true);
            if found {
                return runs;
            }
            search.learn(proposal, &learned);
        }
    }
    RUNS_MAX + 1
}

fn option(name: &str) -> Option<String> {
    let mut arguments = env::args().skip_while(|argument| argument != name);
    arguments.next()?;
    arguments.next()
}

/// Computes `of` each number on all cores, and returns the results in order.
fn on_all_cores(count: u64, of: impl Fn(u64) -> u64 + Sync) -> Vec<u64> {
    let next = AtomicU64::new(0);
    let done = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..thread::available_parallelism().map_or(1, usize::from) {
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

/// Searches for one bug, which is planted in this process.
fn search_one(rare: &Rare, searches: u64) {
    plant(rare.bug, rare.needs.to_vec());
    let base = rare.load();
    if let Some(runs) = option("--random") {
        let found = on_all_cores(runs.parse().expect("a number"), |seed| {
            u64::from(play(&base, &Recipe { seed, branches: Vec::new() }, false).0)
        });
        println!("{:70} {:5} of {}", rare.name(), found.iter().sum::<u64>(), found.len());
        return;
    }
    let random = on_all_cores(searches, |number| at_random(&base, number * SEEDS));
    let guided = on_all_cores(searches, |number| guided(&base, number * SEEDS));
    println!("{}", row(&rare.name(), &random, &guided));
}

/// Geometric mean.
fn mean(runs: &[u64]) -> f64 {
    (runs.iter().map(|runs| (*runs as f64).ln()).sum::<f64>() / runs.len() as f64).exp()
}

fn row(name: &str, random: &[u64], guided: &[u64]) -> String {
    let capped = |runs: &[u64]| runs.iter().filter(|runs| **runs > RUNS_MAX).count();
    let arithmetic = |runs: &[u64]| runs.iter().sum::<u64>() as f64 / runs.len() as f64;
    format!(
        "{name:70} {:7.0} {:3} {:7.0} {:3} {:6.2} {:6.2}",
        arithmetic(random),
        capped(random),
        arithmetic(guided),
        capped(guided),
        arithmetic(random) / arithmetic(guided),
        mean(random) / mean(guided),
    )
}

fn main() {
    // Criterion's and cargo's own arguments are of no meaning here.
    let searches = option("--searches").map_or(50, |count| count.parse().expect("a number"));
    if let Some(index) = option("--index") {
        return search_one(&BUGS[index.parse::<usize>().expect("a number")], searches);
    }
    for (index, rare) in BUGS.iter().enumerate() {
        if option("--bug").is_some_and(|name| !rare.name().contains(&name)) {
            continue;
        }
        let program = env::current_exe().expect("there is one");
        let mut command = Command::new(program);
        command.args(["--index", &index.to_string(), "--searches", &searches.to_string()]);
        if let Some(runs) = option("--random") {
            command.args(["--random", &runs]);
        }
        assert!(command.status().expect("it starts").success());
    }
}
