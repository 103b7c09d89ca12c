//! The alerts of a run, of several, or of a sweep: when the rules of the scenario's objectives would have fired.

use std::path::{Path, PathBuf};

use kernel::{
    experiment::{
        sweep::{Spread, SweepRecord},
        threshold::wilson_interval,
    },
    measure::Summary,
    scenario::{Scenario, Slo},
    slo::{
        AlertReport, AlertTally, BurnRates,
        tally::{KindTally, RuleTally},
    },
    visible::Visible,
};
use serde::Serialize;
use serde_json::{Value, json};

use crate::{
    read::{self, Mapping},
    run::RecordedRun,
};

/// The alerts of what was named.
#[derive(Debug)]
pub enum AlertAnalysis {
    /// Those of one run.
    Run(Box<RunAlerts>),
    /// Those of many runs, by the settings of their variant.
    Runs(ManyAlerts),
}

/// The alerts of one run.
#[derive(Debug)]
pub struct RunAlerts {
    /// The name of the scenario, the world and the seed.
    pub title: String,
    /// The alerts.
    pub report: AlertReport,
    /// The burn rates of each rule of each objective, in the order of the report.
    pub burn_rates: Vec<Vec<BurnRates>>,
    /// The faults and the changes of the run.
    pub summary: Summary,
    /// Notes on missing data, each a sentence.
    pub notes: Vec<String>,
}

impl RunAlerts {
    /// Returns how often rules fired, and how often of these without a fault.
    pub fn fired(&self) -> (usize, u64) {
        let rules = self.report.slos.iter().flat_map(|slo| &slo.rules);
        rules.fold((0, 0), |sum, rule| (sum.0 + rule.firings.len(), sum.1 + rule.false_alarms()))
    }
}

/// The alerts of many runs.
#[derive(Debug)]
pub struct ManyAlerts {
    /// The name of the scenario, or those of several.
    pub title: String,
    /// The runs of each variant: its settings, and its alerts.
    pub variants: Vec<(Vec<String>, AlertTally)>,
    /// Number of runs that do not count, as they were stopped or are not trusted.
    pub left_out: u64,
}

/// Figures of a rule and the faults of a kind, over many runs. Times are in seconds.
#[derive(Debug, Serialize)]
pub struct KindFigures {
    /// Number of faults.
    pub faults: u64,
    /// Number of faults that the rule fired after.
    pub fired: u64,
    /// Number of faults at whose start it was firing.
    pub firing: u64,
    /// Number of faults with more errors than the error budget that it did not fire after.
    pub missed: u64,
    /// Number of faults that it did not fire after, and whose errors were within the error budget.
    pub in_budget: u64,
    /// The share of faults over the error budget that it fired after; null if there are none.
    pub detected: Option<f64>,
    /// Wilson's interval of 95 % for that share.
    pub detected_interval: (f64, f64),
    /// The times from the start of a fault until it fired; null if it did not.
    pub delay_s: Option<Percentiles>,
    /// The times from when a fault was lifted until it was resolved, negative if before; null if there are none.
    pub after_lifted_s: Option<Percentiles>,
}

/// Percentiles, nearest rank.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Percentiles {
    /// The 5th percentile.
    pub p5: f64,
    /// The median.
    pub median: f64,
    /// The 95th percentile.
    pub p95: f64,
}

impl Percentiles {
    fn of_us(times_us: impl Iterator<Item = f64>) -> Option<Self> {
        let spread = Spread::from_values(false, times_us.map(|time| (time / 1e6, 0)).collect())?;
        Some(Self { p5: spread.p5, median: spread.median, p95: spread.p95 })
    }
}

impl KindFigures {
    /// Computes the figures of a tally.
    pub fn new(tally: &KindTally) -> Self {
        let KindTally { fired, firing, missed, in_budget, .. } = *tally;
        let over = tally.judged();
        Self {
            faults: over + firing + in_budget,
            fired,
            firing,
            missed,
            in_budget,
            detected: (over > 0).then(|| fired as f64 / over as f64),
            detected_interval: wilson_interval(fired, over),
            delay_s: Percentiles::of_us(tally.delays_us.iter().map(|us| *us as f64)),
            after_lifted_s: Percentiles::of_us(tally.after_lifted_us.iter().map(|us| *us as f64)),
        }
    }
}

/// Reads the runs at `places` and evaluates their rules: one run, several runs of the same objectives, or one sweep. The objectives are
/// those of `instead`, if there is one, and otherwise those of each run's scenario.
///
/// # Errors
///
/// Returns an error in a sentence if a run cannot be read, or has no objectives.
pub fn analyse(places: &[PathBuf], instead: Option<&[Slo]>) -> Result<AlertAnalysis, String> {
    match places {
        [place] if SweepRecord::is_at(place) => of_sweep(place, instead).map(AlertAnalysis::Runs),
        [place] => of_run(place, instead).map(Box::new).map(AlertAnalysis::Run),
        _ => of_runs(places, instead).map(AlertAnalysis::Runs),
    }
}

fn of_run(place: &Path, instead: Option<&[Slo]>) -> Result<RunAlerts, String> {
    if SweepRecord::is_at(place) {
        return Err(format!("{} is a sweep; name it alone", place.visible()));
    }
    let run = read::run(place, &Mapping::default()).map_err(|error| error.to_string())?;
    let of_scenario = run.scenario.as_ref().map(|scenario| scenario.slos.as_slice());
    let slos = instead.or(of_scenario).filter(|slos| !slos.is_empty()).ok_or_else(|| no_objectives(&run))?;
    if let Some((_, message)) = slos.iter().find_map(|slo| slo.too_many_instants(run.duration)) {
        return Err(format!("{}: {message}; make it longer", place.visible()));
    }
    let summary = run.summary();
    let (report, burn_rates) = AlertReport::with_burn_rates(slos, &run.rows, &summary);
    let mut notes = run.notes.clone();
    for (slo, alerts) in slos.iter().zip(&report.slos) {
        if let Some(kind) = slo.request.as_ref().filter(|_| alerts.good + alerts.bad == 0) {
            notes.push(format!("no request of the kind {kind} has ended, which the objective {} counts", slo.name));
        }
    }
    if !summary.trusted {
        notes.push("the run is UNTRUSTED: a fault or a send was later than the scenario allows".to_owned());
    }
    Ok(RunAlerts { title: run.title(), report, burn_rates, summary, notes })
}

fn no_objectives(run: &RecordedRun) -> String {
    let place = run.place.visible();
    match &run.scenario {
        Some(scenario) => {
            format!(
                "the scenario {} of {place} has no [[slo]]; name a scenario that has some by --slos FILE",
                scenario.name
            )
        }
        None => format!("{place} has no scenario with objectives; name a scenario that has some by --slos FILE"),
    }
}

fn of_runs(places: &[PathBuf], instead: Option<&[Slo]>) -> Result<ManyAlerts, String> {
    let mut tally = AlertTally::default();
    let mut titles: Vec<String> = Vec::new();
    for place in places {
        let run = of_run(place, instead)?;
        tally.merge(&AlertTally::of_run(&run.report));
        let title = run.title.split(", seed ").next().unwrap_or_default().to_owned();
        if !titles.contains(&title) {
            titles.push(title);
        }
    }
    Ok(ManyAlerts { title: titles.join("; "), variants: vec![(Vec::new(), tally)], left_out: 0 })
}

fn of_sweep(place: &Path, instead: Option<&[Slo]>) -> Result<ManyAlerts, String> {
    let sweep = SweepRecord::read(place).map_err(|error| error.to_string())?;
    if instead.is_some() {
        let place = place.visible();
        return Err(format!(
            "{place} is a sweep, which keeps no requests: --slos is of runs; play it with the objectives"
        ));
    }
    let scenario = Scenario::parse("scenario.toml", &sweep.scenario, &[]);
    if scenario.is_ok_and(|scenario| scenario.slos.is_empty()) {
        return Err(format!(
            "the scenario {} has no [[slo]]; add some, and play the runs again",
            sweep.identity.scenario
        ));
    }
    let counted: Vec<_> = sweep.rows.iter().filter(|row| row.counts() && row.alerts.is_some()).collect();
    if counted.is_empty() {
        return Err(format!("no run of {} has alerts; play the runs again with --force", place.visible()));
    }
    let left_out = (sweep.rows.len() - counted.len()) as u64;
    let variants = sweep.identity.variants.iter().enumerate().map(|(index, settings)| {
        let mut tally = AlertTally::default();
        let rows = counted.iter().filter(|row| row.variant == index);
        rows.filter_map(|row| row.alerts.as_ref()).for_each(|alerts| tally.merge(alerts));
        (settings.clone(), tally)
    });
    let title = format!("{}, {}, seeds {}", sweep.identity.scenario, sweep.identity.world, sweep.identity.seeds);
    Ok(ManyAlerts { title, variants: variants.collect(), left_out })
}

impl AlertAnalysis {
    /// Returns what the alerts are of: a run, or several.
    pub fn title(&self) -> &str {
        match self {
            Self::Run(run) => &run.title,
            Self::Runs(many) => &many.title,
        }
    }

    /// Returns the report for programs.
    pub fn json(&self) -> Value {
        match self {
            Self::Run(run) => {
                let mut document = json!(run.report);
                document["run"] = run.title.as_str().into();
                document["notes"] = json!(run.notes);
                document
            }
            Self::Runs(many) => {
                let variants = many.variants.iter().map(|(settings, tally)| {
                    let rules: Vec<Value> = tally.rules.iter().map(rule_json).collect();
                    json!({ "settings": settings, "runs": tally.runs, "faults": tally.faults, "rules": rules })
                });
                json!({ "runs": many.title, "left_out": many.left_out, "variants": variants.collect::<Vec<_>>() })
            }
        }
    }
}

fn rule_json(rule: &RuleTally) -> Value {
    let kinds = rule.kinds.iter().map(|(kind, tally)| (kind.clone(), json!(KindFigures::new(tally))));
    json!({
        "slo": rule.slo,
        "rule": rule.rule,
        "severity": rule.severity,
        "firings": rule.firings,
        "false_alarms": rule.false_alarms,
        "runs_with_false_alarms": rule.runs_with_false_alarms,
        "kinds": kinds.collect::<serde_json::Map<_, _>>(),
    })
}
