//! `sim verify`: checks that simulations are deterministic.
//!
//! Every run is simulated twice, in two processes that have as little in common as can be arranged (see [`side`]). The
//! processes send a running digest for each entry of the trace, as it happens. Where the digests first differ, the two
//! entries are reported.

mod pair;
pub(crate) mod side;

use std::{
    collections::BTreeMap,
    path::PathBuf,
    sync::{Mutex, mpsc},
    thread,
};

use clap::Args;
use kernel::{
    cli::{Exit, Failure, print, progress},
    experiment::sweep::Seeds,
    json::pretty,
    measure::text::table::{Align, TextTable},
    scenario::Scenario,
    sync::lock,
};
use serde_json::{Value, json};

use crate::cli::{
    options::{Conditions, Jobs},
    verify::pair::{Compared, Difference, Pair},
};

/// Most differences of one scenario that are printed in full.
const DIFFERENCES_SHOWN_MAX: usize = 3;

/// Options of `sim verify`.
#[derive(Debug, Args)]
pub(crate) struct VerifyArgs {
    /// The scenario files.
    #[arg(required = true)]
    scenarios: Vec<PathBuf>,

    /// The seeds: every one from FROM up to TO, which is left out.
    #[arg(long, value_name = "FROM..TO", default_value = "0..20")]
    seeds: Seeds,

    #[command(flatten)]
    conditions: Conditions,

    #[command(flatten)]
    jobs: Jobs,

    /// Prints the result as JSON.
    #[arg(long)]
    json: bool,

    /// Plants a leak that the comparison must find.
    #[cfg(feature = "canaries")]
    #[arg(long)]
    canary: Option<crate::canary::Canary>,
}

/// The pairs of one scenario that have been compared.
#[derive(Default)]
struct ComparedPairs {
    pairs: u64,
    /// Trace entries of all pairs that are the same.
    events: u64,
    /// The first difference of each pair that is not, by seed.
    differences: BTreeMap<u64, Difference>,
}

/// Simulates every scenario with every seed twice, and compares.
pub(crate) fn run(args: &VerifyArgs) -> Result<Exit, Failure> {
    let scenarios = args.scenarios.iter().map(|path| Scenario::load(path, &args.conditions.overrides));
    let scenarios = scenarios.collect::<Result<Vec<_>, _>>().map_err(Failure::wrong_input)?;
    let jobs = args.jobs.count()?;
    let pairs = (0..scenarios.len()).flat_map(|index| args.seeds.iter().map(move |seed| (index, seed)));
    let pairs = Mutex::new(pairs);
    let (done, incoming) = mpsc::sync_channel(jobs.get());
    let mut compared_pairs: Vec<ComparedPairs> = scenarios.iter().map(|_| ComparedPairs::default()).collect();
    thread::scope(|scope| {
        for _ in 0..jobs.get() {
            let done = done.clone();
            let pairs = &pairs;
            let scenarios = &scenarios;
            scope.spawn(move || {
                loop {
                    let next = lock(pairs).next();
                    let Some((index, seed)) = next else { return };
                    let pair = Pair { path: &args.scenarios[index], scenario: &scenarios[index], seed, args };
                    if done.send((index, seed, pair.compare())).is_err() {
                        return;
                    }
                }
            });
        }
        // The loop below ends when the last worker drops its sender.
        drop(done);
        let pairs_total = args.seeds.count() * scenarios.len() as u64;
        let bar = progress::bar(pairs_total, "{bar:40} {pos} of {len} pairs, {per_sec}, {eta} left");
        for (index, seed, compared) in incoming {
            bar.inc(1);
            let scenario_pairs = &mut compared_pairs[index];
            scenario_pairs.pairs += 1;
            match compared? {
                Compared::Same { events } => scenario_pairs.events += events,
                Compared::Different(difference) => {
                    scenario_pairs.differences.insert(seed, *difference);
                }
            }
        }
        bar.finish_and_clear();
        Ok(())
    })?;
    let text =
        if args.json { overview(&scenarios, &compared_pairs) } else { report(args, &scenarios, &compared_pairs) };
    print(&text);
    let same = compared_pairs.iter().all(|scenario_pairs| scenario_pairs.differences.is_empty());
    Ok(if same { Exit::Passed } else { Exit::Failed })
}

/// Returns the result for programs.
fn overview(scenarios: &[Scenario], compared_pairs: &[ComparedPairs]) -> String {
    let scenarios = scenarios.iter().zip(compared_pairs);
    let scenarios: Vec<Value> = scenarios
        .map(|(scenario, pairs)| {
            let differences = pairs.differences.iter();
            let differences: Vec<Value> =
                differences.map(|(seed, difference)| json!({ "seed": seed, "text": difference.to_string() })).collect();
            json!({ "scenario": scenario.name, "pairs": pairs.pairs, "events": pairs.events, "differences": differences })
        })
        .collect();
    let same = compared_pairs.iter().all(|pairs| pairs.differences.is_empty());
    pretty(&json!({ "same": same, "scenarios": scenarios }))
}

/// Describes the result: a table with a line for each scenario, then the differences.
fn report(args: &VerifyArgs, scenarios: &[Scenario], compared_pairs: &[ComparedPairs]) -> String {
    let different: usize = compared_pairs.iter().map(|scenario_pairs| scenario_pairs.differences.len()).sum();
    let pairs: u64 = compared_pairs.iter().map(|scenario_pairs| scenario_pairs.pairs).sum();
    let mut text = match different {
        0 => format!("SAME  {pairs} pairs of runs, each in two processes (seeds {}): no difference\n\n", args.seeds),
        _ => format!("DIFFERENT  {different} of {pairs} pairs of runs (seeds {})\n\n", args.seeds),
    };
    let columns =
        [("scenario", Align::Left), ("pairs", Align::Right), ("events", Align::Right), ("same", Align::Right)];
    let mut table = TextTable::new(&columns);
    for (scenario, scenario_pairs) in scenarios.iter().zip(compared_pairs) {
        let same = scenario_pairs.pairs - scenario_pairs.differences.len() as u64;
        table.row(vec![
            scenario.name.clone(),
            scenario_pairs.pairs.to_string(),
            scenario_pairs.events.to_string(),
            same.to_string(),
        ]);
    }
    text += &table.render();
    for (scenario, scenario_pairs) in scenarios.iter().zip(compared_pairs) {
        for (seed, difference) in scenario_pairs.differences.iter().take(DIFFERENCES_SHOWN_MAX) {
            text += &format!("\n  {} with seed {seed}: {difference}\n", scenario.name);
        }
    }
    text
}
