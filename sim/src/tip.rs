//! `sim tip`: where runs tip, along a setting, and along another one.

use std::{
    io::{self, Write},
    num::NonZeroUsize,
    ops::ControlFlow,
    path::PathBuf,
    sync::atomic::AtomicBool,
    time::Duration,
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kernel::{
    cli::{Exit, Failure},
    experiment::{
        sweep::{Origin, RunRow, Seeds, Shard},
        threshold::{
            Ballot, Crossing, Identity, Judged, Ladder, Point, Range, RangeError, Rule, Side, Sides, Tip, TipError,
            decisions, search,
        },
    },
    scenario::Scenario,
};
use sim::{
    calibration::Calibration,
    sweep::{Pool, Sweep, Variant},
};

use crate::{
    failed,
    options::{Conditions, Jobs, WORLD, calibration_info},
};

/// Options of the search for boundaries.
#[derive(Debug, Args)]
pub(crate) struct TipArgs {
    /// The scenario file
    scenario: PathBuf,

    /// The setting to change, and between which values; times have a unit, and whole numbers stay whole
    #[arg(long, value_name = "KEY=LOW..HIGH")]
    along: Range,

    /// Another setting: boundaries are looked for with each of several values of it
    #[arg(long, value_name = "KEY=LOW..HIGH")]
    and: Option<Range>,

    /// Values of the other setting, its ends included
    #[arg(long, value_name = "N", default_value_t = 7, requires = "and", value_parser = clap::value_parser!(u64).range(2..=1_000))]
    values: u64,

    /// Spaces the values of this setting by their ratio instead of their difference; may be repeated
    #[arg(long, value_name = "KEY")]
    log: Vec<String>,

    /// Values along the range that are asked first, its ends included; between two that differ a boundary is looked for
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u64).range(2..=1_000))]
    samples: u64,

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

    #[command(flatten)]
    conditions: Conditions,

    #[command(flatten)]
    jobs: Jobs,

    /// Where to write what was found [default: runs/SCENARIO/tip-KEY]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

fn confidence(text: &str) -> Result<f64, String> {
    let share = text.parse().ok().filter(|share| (0.5..1.0).contains(share));
    share.ok_or_else(|| "how sure to be is a share from 0.5 to below 1, such as 0.95".to_owned())
}

/// Looks for boundaries, prints and writes what was found.
pub(crate) fn run(args: &TipArgs) -> Result<Exit, Failure> {
    let base = Scenario::load(&args.scenario, &args.conditions.overrides).map_err(Failure::wrong_input)?;
    let judged = judged(args, &base)?;
    let (along, and) = ranges(args)?;
    let place = args.out.clone().unwrap_or_else(|| Identity::default_place(&base.name, &along, and.as_ref()));
    Tip::prepare(&place).map_err(Failure::wrong_input)?;

    // Whole numbers may be fewer than are asked for.
    let others: Vec<Option<f64>> =
        and.as_ref().map_or_else(|| vec![None], |and| and.spaced(args.values).into_iter().map(Some).collect());
    let values = decisions(&along.samples(args.samples)).saturating_mul(others.len() as u64);
    let calibration = args.conditions.calibration()?;
    let identity = Identity {
        world: WORLD.to_owned(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        scenario: base.name.clone(),
        judged,
        along,
        and,
        samples: args.samples,
        confidence: args.confidence,
        rule: Rule::new(args.confidence, values, args.runs),
        from_seed: args.from_seed,
        calibration: calibration_info(&calibration),
        origin: Origin {
            scenario: args.scenario.display().to_string(),
            overrides: args.conditions.overrides.clone(),
            calibration: args.conditions.times.as_ref().map(|path| path.display().to_string()),
        },
    };
    let ladder = identity.along.ladder();
    let jobs = args.jobs.count()?;
    let mut survey = Survey { args, identity: &identity, ladder, jobs, calibration, bar: bar(), points: Vec::new() };
    let mut crossings = Vec::new();
    for and in others {
        crossings.extend(survey.cross(and)?);
    }
    survey.bar.finish_and_clear();
    if crossings.iter().all(|crossing| crossing.between().is_none()) {
        return Err(Failure::wrong_input(nowhere(&identity, &crossings)));
    }
    let points = survey.points;
    let tip = Tip { identity, scenario: base.to_toml(), points, crossings };
    tip.write(&place).map_err(|error| match error {
        TipError::Occupied { .. } => Failure::wrong_input(error),
        error => Failure::run_failed(error),
    })?;
    let text = format!("{}\n  folder  {}\n", tip.render(), place.display());
    // Whoever reads may have read enough.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(Exit::Passed)
}

fn judged(args: &TipArgs, base: &Scenario) -> Result<Judged, Failure> {
    if !args.recovery {
        let nothing = "the scenario expects nothing; add an [[expect]], or give --recovery";
        return if base.expectations.is_empty() {
            Err(Failure::wrong_input(nothing))
        } else {
            Ok(Judged::Expectations)
        };
    }
    if base.faults.is_empty() && base.nemesis.is_none() {
        let nothing = "the scenario has no fault to recover from; add a [[fault]], or leave out --recovery";
        return Err(Failure::wrong_input(nothing));
    }
    Ok(Judged::Recovery)
}

/// Along which settings, their values spaced as they are to be.
fn ranges(args: &TipArgs) -> Result<(Range, Option<Range>), Failure> {
    let key = &args.along.key;
    if args.and.as_ref().is_some_and(|and| and.key == *key) {
        return Err(Failure::wrong_input(format!("`{key}` is behind both --along and --and; leave one out")));
    }
    let known = |key: &String| *key == args.along.key || args.and.as_ref().is_some_and(|and| and.key == *key);
    if let Some(stranger) = args.log.iter().find(|key| !known(key)) {
        let message = format!("--log {stranger} is of neither --along nor --and; write `--log {key}`, or leave it out");
        return Err(Failure::wrong_input(message));
    }
    let spaced = |range: &Range| -> Result<Range, RangeError> {
        if args.log.contains(&range.key) { range.clone().logarithmic() } else { Ok(range.clone()) }
    };
    let and = args.and.as_ref().map(spaced).transpose().map_err(Failure::wrong_input)?;
    Ok((spaced(&args.along).map_err(Failure::wrong_input)?, and))
}

/// A search under way.
struct Survey<'a> {
    args: &'a TipArgs,
    identity: &'a Identity,
    /// The values along the range.
    ladder: Ladder,
    jobs: NonZeroUsize,
    calibration: Calibration,
    bar: ProgressBar,
    points: Vec<Point>,
}

impl Survey<'_> {
    /// Every boundary with this value of the other setting, or that there is none.
    fn cross(&mut self, and: Option<f64>) -> Result<Vec<Crossing>, Failure> {
        let (ladder, samples) = (self.ladder.clone(), self.identity.along.samples(self.identity.samples));
        let Sides { first, tips } = search(&samples, |step| self.ask(ladder.value(step), and))?;
        if tips.is_empty() {
            return Ok(vec![Crossing { and, low: None, high: None, side: first }]);
        }
        let sides = [first, !first].into_iter().cycle();
        let crossing = |(step, side): (u64, Side)| {
            let (low, high) = (Some(ladder.value(step)), Some(ladder.value(step + 1)));
            Crossing { and, low, high, side }
        };
        Ok(tips.into_iter().zip(sides).map(crossing).collect())
    }

    /// Plays one seed after another until one side leads, or there were enough.
    fn ask(&mut self, along: f64, and: Option<f64>) -> Result<Side, Failure> {
        let Self { args, identity, .. } = *self;
        let rule = identity.rule;
        let mut settings = vec![identity.along.setting(along)];
        settings.extend(identity.and.iter().zip(and).map(|(range, value)| range.setting(value)));
        let overrides: Vec<_> = args.conditions.overrides.iter().chain(&settings).cloned().collect();
        let scenario = Scenario::load(&args.scenario, &overrides).map_err(Failure::wrong_input)?;
        let mut ballot = Ballot::default();
        let mut outcomes = Vec::new();
        self.bar.set_message(settings.join(" "));
        while ballot.missing(rule) > 0 {
            let start = args.from_seed.saturating_add(ballot.runs);
            let seeds = Seeds { start, end: start.saturating_add(ballot.missing(rule)) };
            let variant = Variant { settings: settings.clone(), scenario: scenario.clone() };
            for row in self.play(variant, seeds)? {
                let passes = match identity.judged {
                    Judged::Recovery => row.overall.recovery_time.is_some(),
                    Judged::Expectations => row.pass,
                };
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
        Pool { sweep: &sweep, jobs: self.jobs, stop: &stop }.run(sweep.tasks(), |_, outcome| {
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
                wrong = Some(Failure { exit: Exit::InvariantViolated, message });
                return ControlFlow::Break(());
            }
            rows.push(row);
            ControlFlow::Continue(())
        });
        rows.sort_by_key(|row| row.seed);
        wrong.map_or(Ok(rows), Err)
    }
}

/// That all of the range is on one side, as far as it was asked.
fn nowhere(identity: &Identity, crossings: &[Crossing]) -> String {
    let along = &identity.along;
    let (key, low, high) = (&along.key, along.text(along.low), along.text(along.high));
    let asked = along.samples(identity.samples).len();
    let all = |side| crossings.iter().all(|crossing| crossing.side == side);
    let how = match identity.judged.what() {
        what if all(Side::Holds) => format!("{what} holds at all"),
        what if all(Side::Fails) => format!("{what} fails at all"),
        what => format!("{what} holds at all or fails at all with each value of the other setting"),
    };
    let closer = if identity.unseen().is_some() { ", or look closer with --samples" } else { "" };
    format!(
        "there is no boundary with `{key}` between {low} and {high}: of {asked} values asked, {how}; widen the range{closer}"
    )
}

/// It draws nothing where standard error is no terminal.
fn bar() -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {pos} runs, {msg}").expect("the template is well-formed");
    let bar = ProgressBar::new_spinner().with_style(style);
    bar.enable_steady_tick(Duration::from_millis(100));
    bar
}
