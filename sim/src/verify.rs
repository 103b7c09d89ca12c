//! `sim verify`: proof of determinism.
//!
//! Every run is played twice, in two processes that have as little in common as can be arranged (see [`side`]), and
//! everything that happens in them is compared: each event of the trace by a running digest, as it happens, and what the
//! two did where that first differs.

mod pair;
pub(crate) mod side;

use std::{
    collections::BTreeMap,
    io::{self, Write},
    path::PathBuf,
    sync::{Mutex, PoisonError, mpsc},
    thread,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kernel::{
    cli::{Exit, Failure},
    experiment::sweep::Seeds,
    measure::text::table::{Align, Table},
    scenario::Scenario,
};

use crate::{
    options::{Conditions, Jobs},
    verify::pair::{Compared, Difference, Pair},
};

/// Differences that are told in full, of each scenario.
const TOLD_MAX: usize = 3;

/// Options of the proof.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The scenario files
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,

    /// Every seed from the first to before the second
    #[arg(long, value_name = "FROM..TO", default_value = "0..20")]
    seeds: Seeds,

    #[command(flatten)]
    conditions: Conditions,

    #[command(flatten)]
    jobs: Jobs,

    /// Plants a leak, which is to be caught
    #[cfg(feature = "canaries")]
    #[arg(long)]
    canary: Option<sim::canary::Canary>,
}

/// What came of a scenario's pairs.
#[derive(Default)]
struct Tally {
    pairs: u64,
    events: u64,
    differences: BTreeMap<u64, Difference>,
}

/// Plays every scenario with every seed twice.
pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, Failure> {
    let scenarios = args.scenarios.iter().map(|path| Scenario::load(path, &args.conditions.overrides));
    let scenarios = scenarios.collect::<Result<Vec<_>, _>>().map_err(Failure::wrong_input)?;
    let jobs = args.jobs.count()?;
    let pairs = (0..scenarios.len()).flat_map(|index| args.seeds.iter().map(move |seed| (index, seed)));
    let pairs = Mutex::new(pairs);
    let (done, incoming) = mpsc::sync_channel(jobs.get());
    let mut tallies: Vec<Tally> = scenarios.iter().map(|_| Tally::default()).collect();
    thread::scope(|scope| {
        for _ in 0..jobs.get() {
            let (done, pairs, scenarios) = (done.clone(), &pairs, &scenarios);
            scope.spawn(move || {
                loop {
                    let next = pairs.lock().unwrap_or_else(PoisonError::into_inner).next();
                    let Some((index, seed)) = next else { return };
                    let pair = Pair { path: &args.scenarios[index], scenario: &scenarios[index], seed, args };
                    if done.send((index, seed, pair.compare())).is_err() {
                        return;
                    }
                }
            });
        }
        drop(done);
        let bar = bar(args.seeds.count() * scenarios.len() as u64);
        for (index, seed, compared) in incoming {
            bar.inc(1);
            let tally = &mut tallies[index];
            tally.pairs += 1;
            match compared? {
                Compared::Same { events } => tally.events += events,
                Compared::Different(difference) => drop(tally.differences.insert(seed, *difference)),
            }
        }
        bar.finish_and_clear();
        Ok(())
    })?;
    // Whoever reads may have read enough.
    let _ = io::stdout().write_all(account(args, &scenarios, &tallies).as_bytes());
    let same = tallies.iter().all(|tally| tally.differences.is_empty());
    Ok(if same { Exit::Passed } else { Exit::Failed })
}

/// It draws nothing where standard error is no terminal.
fn bar(pairs: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} pairs, {per_sec}, {eta} left")
        .expect("the template is well-formed");
    ProgressBar::new(pairs).with_style(style)
}

fn account(args: &VerifyArgs, scenarios: &[Scenario], tallies: &[Tally]) -> String {
    let different: usize = tallies.iter().map(|tally| tally.differences.len()).sum();
    let pairs: u64 = tallies.iter().map(|tally| tally.pairs).sum();
    let mut text = match different {
        0 => format!("SAME  {pairs} pairs of runs, each in two processes (seeds {}): no difference\n\n", args.seeds),
        _ => format!("DIFFERENT  {different} of {pairs} pairs of runs (seeds {})\n\n", args.seeds),
    };
    let columns =
        [("scenario", Align::Left), ("pairs", Align::Right), ("events", Align::Right), ("same", Align::Right)];
    let mut table = Table::new(&columns);
    for (scenario, tally) in scenarios.iter().zip(tallies) {
        let same = tally.pairs - tally.differences.len() as u64;
        let (pairs, events) = (tally.pairs.to_string(), tally.events.to_string());
        table.row(vec![scenario.name.clone(), pairs, events, same.to_string()]);
    }
    text += &table.render();
    for (scenario, tally) in scenarios.iter().zip(tallies) {
        for (seed, difference) in tally.differences.iter().take(TOLD_MAX) {
            text += &format!("\n  {} with seed {seed}: {difference}\n", scenario.name);
        }
    }
    text
}
