//! `sim tip`: where runs tip, along a setting, and along another one.

mod folder;

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    ops::ControlFlow,
    path::PathBuf,
    sync::atomic::AtomicBool,
    thread,
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kernel::{
    cli::{Exit, Failure, quoted},
    many::{RunRow, Seeds, Shard},
    measure::text::table::{Align, Table},
    scenario::Scenario,
};
use serde::Serialize;
use sim::{
    boundary::{Ballot, Range, Rule, Side, Tips, decisions, search},
    calibration::Calibration,
    sweep::{Pool, Sweep, Variant},
};

use crate::{calibrated, failed};
use folder::{Identity, TipFolder};

/// Options of the search for a boundary.
#[derive(Debug, Args)]
pub(crate) struct TipArgs {
    /// The scenario file
    scenario: PathBuf,

    /// The setting to change, and between which values; times have a unit, and whole numbers stay whole
    #[arg(long, value_name = "KEY=LOW..HIGH")]
    along: Range,

    /// Another setting: the boundary is looked for with each of several values of it
    #[arg(long, value_name = "KEY=LOW..HIGH")]
    and: Option<Range>,

    /// Values of the other setting, its ends included
    #[arg(long, value_name = "N", default_value_t = 7, requires = "and", value_parser = clap::value_parser!(u64).range(2..=1_000))]
    values: u64,

    /// Asks whether runs recover from every fault, whatever the scenario expects
    #[arg(long)]
    recovery: bool,

    /// How sure to be that every value is on its side, where runs go one way three times of four
    #[arg(long, value_name = "SHARE", default_value_t = 0.95, value_parser = confidence)]
    confidence: f64,

    /// Runs of one value at most; where they leave it open, the majority has it
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000))]
    runs: u64,

    /// The seed of the first run of each value; the next one has the next
    #[arg(long, value_name = "N", default_value_t = 0)]
    from_seed: u64,

    /// Overrides a setting of the scenario, such as client.retry.max_attempts=1; may be repeated
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,

    /// The host's times; the built-in ones unless given
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,

    /// Runs at a time [default: one a core]
    #[arg(long, value_name = "N")]
    jobs: Option<NonZeroUsize>,

    /// Where to write what was found [default: runs/SCENARIO/tip-KEY]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn confidence(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.5..1.0).contains(share));
    share.ok_or_else(|| "how sure to be is a share from 0.5 to below 1, such as 0.95".to_owned())
}

/// What came of one value: a line of `points.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Point {
    /// In seconds if it is a time, as all values are.
    along: f64,
    and: Option<f64>,
    /// Each a `key=value` as `--set` takes it.
    settings: Vec<String>,
    runs: u64,
    passes: u64,
    side: Side,
    /// Whether that is as sure as it is to be; otherwise it is what most runs say.
    decided: bool,
    /// The first on that side.
    #[serde(skip)]
    seed: u64,
}

/// What came of the range, with one value of the other setting: a line of `boundary.jsonl`.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Crossing {
    and: Option<f64>,
    /// The two neighbours that differ; null if all of the range is on one side.
    low: Option<f64>,
    high: Option<f64>,
    /// Of `low`, or of all.
    side: Side,
}

/// Looks for the boundary, prints and writes what was found.
pub(crate) fn run(args: &TipArgs) -> Result<Exit, Failure> {
    let base = Scenario::load(&args.scenario, &args.overrides).map_err(Failure::wrong_input)?;
    let nothing = if args.recovery {
        let faults = base.faults.is_empty() && base.nemesis.is_none();
        faults.then_some("the scenario has no fault to recover from; add a [[fault]], or leave out --recovery")
    } else {
        base.expectations.is_empty().then_some("the scenario expects nothing; add an [[expect]], or give --recovery")
    };
    if let Some(nothing) = nothing {
        return Err(Failure::wrong_input(nothing));
    }
    if args.and.as_ref().is_some_and(|and| and.key == args.along.key) {
        let key = &args.along.key;
        return Err(Failure::wrong_input(format!("`{key}` is behind both --along and --and; leave one out")));
    }
    let others = others(args);
    let rule = Rule::new(args.confidence, decisions(&args.along) * others.len() as u64, args.runs);
    let ranges: Vec<&Range> = [&args.along].into_iter().chain(&args.and).collect();
    let folder = TipFolder::prepare(args.out.clone(), &base.name, &ranges).map_err(Failure::wrong_input)?;
    let jobs = args.jobs.map_or_else(thread::available_parallelism, Ok).map_err(Failure::not_carried_out)?;
    let mut survey = Survey {
        args,
        rule,
        jobs,
        calibration: calibrated(args.calibration.as_deref())?,
        bar: bar(),
        points: Vec::new(),
    };
    let mut crossings = Vec::new();
    for and in others {
        crossings.push(survey.cross(and)?);
    }
    survey.bar.finish_and_clear();
    if crossings.iter().all(|crossing| crossing.low.is_none()) {
        return Err(Failure::wrong_input(survey.nowhere(&crossings)));
    }
    let judged = if args.recovery { "recovery" } else { "expectations" };
    let (version, scenario) = (env!("CARGO_PKG_VERSION"), &*base.name);
    let (along, and, confidence) = (&args.along, args.and.as_ref(), args.confidence);
    let identity = Identity { version, scenario, judged, along, and, confidence, rule };
    folder.write(&identity, &base, &survey.points, &crossings).map_err(Failure::not_carried_out)?;
    let text = format!("{}\n  folder  {}\n", survey.account(&base.name, &crossings), folder.place().display());
    // Whoever reads may have read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(Exit::Passed)
}

/// The values of the other setting; none if there is no other.
fn others(args: &TipArgs) -> Vec<Option<f64>> {
    let Some(and) = &args.and else { return vec![None] };
    let mut values: Vec<f64> = (0..args.values).map(|step| and.value(step, args.values - 1)).collect();
    // Whole numbers may be fewer than are asked for.
    values.dedup();
    values.into_iter().map(Some).collect()
}

/// A search under way.
struct Survey<'a> {
    args: &'a TipArgs,
    rule: Rule,
    jobs: NonZeroUsize,
    calibration: Calibration,
    bar: ProgressBar,
    points: Vec<Point>,
}

impl Survey<'_> {
    fn cross(&mut self, and: Option<f64>) -> Result<Crossing, Failure> {
        let along = self.args.along.clone();
        let tips = search(&along, |value| self.ask(value, and))?;
        Ok(match tips {
            Tips::Between { low, high, side } => Crossing { and, low: Some(low), high: Some(high), side },
            Tips::Nowhere(side) => Crossing { and, low: None, high: None, side },
        })
    }

    /// Plays one seed after another until one side leads, or there were enough.
    fn ask(&mut self, along: f64, and: Option<f64>) -> Result<Side, Failure> {
        let Self { args, rule, .. } = *self;
        let mut settings = vec![args.along.setting(along)];
        settings.extend(args.and.iter().zip(and).map(|(range, value)| range.setting(value)));
        let overrides: Vec<_> = args.overrides.iter().chain(&settings).cloned().collect();
        let scenario = Scenario::load(&args.scenario, &overrides).map_err(Failure::wrong_input)?;
        let mut ballot = Ballot::default();
        let mut outcomes = Vec::new();
        self.bar.set_message(settings.join(" "));
        while ballot.missing(rule) > 0 {
            let start = args.from_seed.saturating_add(ballot.runs);
            let seeds = Seeds { start, end: start.saturating_add(ballot.missing(rule)) };
            let variant = Variant { settings: settings.clone(), scenario: scenario.clone() };
            for row in self.play(variant, seeds)? {
                let passes = if args.recovery { row.overall.recovery_time.is_some() } else { row.pass };
                ballot.add(passes, rule);
                outcomes.push((row.seed, passes));
            }
        }
        let (side, decided) = (ballot.side(), ballot.is_decided(rule));
        let of_side = outcomes.iter().find(|(_, passes)| *passes == (side == Side::Holds));
        let seed = of_side.map_or(args.from_seed, |(seed, _)| *seed);
        let Ballot { runs, passes } = ballot;
        self.points.push(Point { along, and, settings, runs, passes, side, decided, seed });
        Ok(side)
    }

    /// The rows of these seeds, in their order.
    fn play(&self, variant: Variant, seeds: Seeds) -> Result<Vec<RunRow>, Failure> {
        let calibration = self.calibration.clone();
        let sweep = Sweep { variants: vec![variant], seeds, shard: Shard::WHOLE, calibration };
        let (mut rows, mut wrong) = (Vec::new(), None);
        let stop = AtomicBool::new(false);
        Pool { sweep: &sweep, jobs: self.jobs, stop: &stop }.play(sweep.tasks(), |_, outcome| {
            self.bar.inc(1);
            let row = match outcome {
                Ok(row) => row,
                Err(error) => {
                    wrong = Some(failed(error));
                    return ControlFlow::Break(());
                }
            };
            if let Some(broken) = &row.broken {
                let settings = sweep.variants[0].settings.join(" ");
                let message = format!("an invariant is broken, with seed {} and {settings}: {broken}", row.seed);
                wrong = Some(Failure { exit: Exit::InvariantBroken, message });
                return ControlFlow::Break(());
            }
            rows.push(row);
            ControlFlow::Continue(())
        });
        rows.sort_by_key(|row| row.seed);
        wrong.map_or(Ok(rows), Err)
    }

    fn nowhere(&self, crossings: &[Crossing]) -> String {
        let Range { key, low, high, .. } = &self.args.along;
        let (low, high) = (self.args.along.text(*low), self.args.along.text(*high));
        let all = |side| crossings.iter().all(|crossing| crossing.side == side);
        let how = match self.what() {
            what if all(Side::Holds) => format!("{what} holds at both"),
            what if all(Side::Fails) => format!("{what} fails at both"),
            what => format!("{what} holds at both or fails at both with each value"),
        };
        format!("there is no boundary with `{key}` between {low} and {high}: {how}; widen the range")
    }

    fn what(&self) -> &'static str {
        if self.args.recovery { "recovery" } else { "what the scenario expects" }
    }

    fn account(&self, name: &str, crossings: &[Crossing]) -> String {
        let Self { args, rule, points, .. } = self;
        let along = &args.along;
        let mut text = match crossings {
            [Crossing { low: Some(low), high: Some(high), side, .. }] => {
                let (key, low, high) = (&along.key, along.text(*low), along.text(*high));
                let other = if *side == Side::Holds { Side::Fails } else { Side::Holds };
                let (what, side, other) = (self.what(), side.name(), other.name());
                format!("TIPS  {name} (sim): {what} {side} with {key}={low} and {other} with {high}\n\n")
            }
            _ => format!("TIPS  {name} (sim): where {} holds and fails along {}\n\n", self.what(), along.key),
        };
        text += &if args.and.is_some() { self.crossings(crossings) } else { self.values() };
        let (runs, open) = (points.iter().map(|point| point.runs).sum::<u64>(), self.open());
        let (lead, sure) = (rule.lead, args.confidence * 100.0);
        text += &format!("\n  {runs} runs of {} values, each until one side led by {lead}: ", points.len());
        text += &format!("{sure} % sure of all where runs go one way 3 times of 4\n");
        if open > 0 {
            let values = if open == 1 { "value was" } else { "values were" };
            text += &format!("  {open} {values} still open after {} runs, and went to the majority\n", rule.runs_max);
        }
        text + &self.replays(crossings)
    }

    /// Values that no side leads in by enough.
    fn open(&self) -> usize {
        self.points.iter().filter(|point| !point.decided).count()
    }

    /// A line a value.
    fn values(&self) -> String {
        let along = &self.args.along;
        let columns = [(&*along.key, Align::Right), ("runs", Align::Right), ("well", Align::Right), ("", Align::Left)];
        let mut table = Table::new(&columns);
        let mut points: Vec<_> = self.points.iter().collect();
        points.sort_by(|left, right| left.along.total_cmp(&right.along));
        for Point { along: value, runs, passes, side, decided, .. } in points {
            let side = if *decided { side.name().to_owned() } else { format!("{}, open", side.name()) };
            table.row(vec![along.text(*value), runs.to_string(), passes.to_string(), side]);
        }
        table.render()
    }

    /// A line a value of the other setting.
    fn crossings(&self, crossings: &[Crossing]) -> String {
        let (along, Some(and)) = (&self.args.along, &self.args.and) else { return String::new() };
        let columns = [(&*and.key, Align::Right), (&*along.key, Align::Left)];
        let mut table = Table::new(&columns);
        for Crossing { and: value, low, high, side } in crossings {
            let at = match low.zip(*high) {
                Some((low, high)) => {
                    let other = if *side == Side::Holds { Side::Fails } else { Side::Holds };
                    format!("{} with {}, {} with {}", side.name(), along.text(low), other.name(), along.text(high))
                }
                None => format!("{} with all", side.name()),
            };
            table.row(vec![value.map(|value| and.text(value)).unwrap_or_default(), at]);
        }
        table.render()
    }

    /// Commands that play a run on each side of the boundary, of the first one found.
    fn replays(&self, crossings: &[Crossing]) -> String {
        let Some(crossing) = crossings.iter().find(|crossing| crossing.low.is_some()) else { return String::new() };
        let of = |value: Option<f64>| {
            self.points.iter().find(|point| Some(point.along) == value && point.and == crossing.and)
        };
        let mut text = "\n".to_owned();
        for point in [of(crossing.low), of(crossing.high)].into_iter().flatten() {
            let calibration = self
                .args
                .calibration
                .iter()
                .flat_map(|path| ["--calibration".to_owned(), quoted(&path.to_string_lossy())]);
            let settings = self.args.overrides.iter().chain(&point.settings);
            let settings = settings.flat_map(|setting| ["--set".to_owned(), quoted(setting)]);
            let more: Vec<_> = calibration.chain(settings).collect();
            let file = quoted(&self.args.scenario.to_string_lossy());
            let (side, seed, more) = (point.side.name(), point.seed, more.join(" "));
            text += &format!("  {side}   cargo run -p sim -- {file} --seed {seed} {more}\n");
        }
        text
    }
}

/// It draws nothing where standard error is no terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {pos} runs, {msg}").expect("the template is well-formed");
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
