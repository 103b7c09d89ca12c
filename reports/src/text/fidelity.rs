//! The fidelity of a campaign as plain text, for `fidelity.txt` and the terminal.

use std::iter;

use kernel::{
    measure::{
        stages::STAGE_NAMES,
        text::{
            MISSING,
            quantity::{duration, percent, rate},
            shown,
            table::{Align, TextTable},
        },
    },
    run_folder::CalibrationInfo,
};

use super::{missing, optional_duration, optional_percent, sections, signed_duration};
use crate::fidelity::{
    BETWEEN, CampaignFacts, Cell, Fidelity, GoalBounds, Measure, MeasureSummary, MechanismSummary, OffCell, Onset,
    ScenarioFidelity, TAIL_CALLS_MIN, Verdict,
};

/// The sign of a cell whose phase leaves what was calibrated.
const BEYOND: &str = "*";

/// The meaning of the columns.
const LEGEND: &str = "\
  error       the difference of the medians of simulated and real runs; for statuses, the total variation
  goal        p50 10 %, p99 20 %, statuses 1 point, recovery 10 % or 100 ms: ✓; the strict goal, p50 3 %, p99 8 %, statuses 0.3
              points, recovery 3 % or 50 ms: ✓✓
  floor       the 95th percentile of the distances between two real runs
  sim/real    the median of the distances between a simulated run and a real one
  ratio       sim/real divided by floor: within the floor up to 1, close to it up to 2, otherwise apart; small: beyond the
              floor, by a difference that does not matter: p50 and Wasserstein-1 2 % of the p50, p90 3 %, p99 5 %, statuses
              0.5 points, times of faults 5 % or 100 ms, errors of goodput 0.02 and of p95 0.1, lags 0.1 s
  p           the p-value of an exact permutation test: the probability of this distance between equal worlds
  *           the phase leaves what the calibration has measured
";

/// Returns the report. It ends with a line break.
pub fn report(fidelity: &Fidelity) -> String {
    let mut sections = vec![heading(fidelity)];
    sections.extend(fidelity.scenarios.iter().map(scenario));
    sections.extend(fidelity.onsets.iter().map(onset));
    sections.push(LEGEND.to_owned());
    let notes = sections::notes(&fidelity.notes);
    sections.extend((!notes.is_empty()).then_some(notes));
    sections.join("\n")
}

fn heading(fidelity: &Fidelity) -> String {
    let sentences: Vec<_> = fidelity.scenarios.iter().map(sentence).collect();
    format!(
        "Simulated and real runs, compared with the distances between real runs\n\n{}\n\n{}{}{}{}",
        sentences.join("\n"),
        measures(fidelity),
        left_out(fidelity).map_or(String::new(), |sentence| format!("\n{sentence}\n")),
        tables(fidelity).iter().map(Section::text).collect::<String>(),
        fidelity.campaigns.iter().map(|campaign| facts(campaign, fidelity.campaigns.len() > 1)).collect::<String>(),
    )
}

/// Returns the facts of a campaign, with its name if there are `several`.
fn facts(campaign: &CampaignFacts, several: bool) -> String {
    let rows = fact_rows(campaign);
    let named = several.then(|| ("campaign", campaign.name.clone()));
    let lines = named.into_iter().chain(rows).map(|(name, value)| format!("  {name:<11}  {value}\n"));
    format!("\n{}", lines.collect::<String>())
}

/// Returns the facts of a campaign, each with its name.
pub(crate) fn fact_rows(campaign: &CampaignFacts) -> [(&'static str, String); 4] {
    let manifest = &campaign.manifest;
    let load = manifest.host.load_average.map_or(MISSING.to_owned(), |load| format!("{load:?}"));
    let calibration = manifest.calibration.as_ref();
    let of_calibration =
        |fact: fn(&CalibrationInfo) -> &String| calibration.map_or(MISSING.to_owned(), |of| fact(of).clone());
    [
        ("host", format!("{}, load averages {load}", manifest.machine())),
        ("started", format!("{}, a {} build of version {}", manifest.started, manifest.profile, manifest.version)),
        ("calibration", of_calibration(|calibration| &calibration.name)),
        ("sha256", of_calibration(|calibration| &calibration.sha256)),
    ]
}

/// The headings of the summary by measure.
pub(crate) const SUMMARY_HEADINGS: [&str; 9] = [
    "measure",
    "cells",
    "within floor",
    "within twice",
    "apart",
    "goal",
    "strict goal",
    "median error",
    "largest error",
];

/// Returns the table of the cells by measure.
fn measures(fidelity: &Fidelity) -> String {
    let columns =
        SUMMARY_HEADINGS.map(|heading| (heading, if heading == "measure" { Align::Left } else { Align::Right }));
    let mut table = TextTable::new(&columns);
    summary_rows(fidelity).into_iter().for_each(|row| table.row(row));
    table.render()
}

/// Returns the rows of the summary: one for each measure, and one for all of them.
pub(crate) fn summary_rows(fidelity: &Fidelity) -> Vec<Vec<String>> {
    fidelity.by_measure().iter().chain([&fidelity.tally()]).map(summary_row).collect()
}

fn summary_row(summary: &MeasureSummary) -> Vec<String> {
    let bounds = summary.measure.and_then(GoalBounds::for_measure);
    let goal = |place: usize, reached: usize| match (summary.goals, bounds) {
        (0, _) => String::new(),
        (goals, None) => part(reached, goals),
        (goals, Some(bounds)) => format!("{} in {}", part(reached, goals), bound(summary.measure, bounds, place)),
    };
    let error = |error: Option<f64>| match (summary.measure, error) {
        (Some(measure), Some(error)) => self::error(measure, error),
        _ => String::new(),
    };
    vec![
        summary.measure.map_or("all measures", Measure::name).to_owned(),
        summary.cells.to_string(),
        part(summary.within, summary.cells),
        part(summary.close, summary.cells),
        part(summary.apart, summary.cells),
        goal(0, summary.reached),
        goal(1, summary.beyond),
        error(summary.median_error).trim_start_matches('+').to_owned(),
        error(summary.largest_error),
    ]
}

/// The sentence above the table of stages.
const STAGES: &str = "The stages of requests with one attempt: the median in real runs, and how far that of simulated runs is from it. If all are \
                      longer in most scenarios, the machine became slower after it was calibrated.";

/// The sentence above the table of correlations.
const CLUSTERING: &str = "What slow times have in common: rank correlations of the stages of a request, and of the latencies of a request and the \
                          next one; medians over the runs. If those of simulated runs are smaller, their tails are too thin.";

/// The sentence above the table of mechanisms.
const MECHANISMS: &str =
    "The same real runs, compared with simulated ones that leave one mechanism of the calibration out:";

/// The sentence above the table of what is left.
const OFF: &str = "What is left: the cells that miss their goal or are apart, with the difference that remains without each \
                   mechanism. The last column has the mechanism without which it is least, if that is at most half of it: the \
                   simulation has too much of it. Where there is none, the simulation lacks something, or no single \
                   mechanism decides.";

/// A table below its sentence.
pub(crate) struct Section<'a> {
    pub(crate) sentence: &'static str,
    pub(crate) headings: Vec<&'a str>,
    pub(crate) rows: Vec<Vec<String>>,
    /// Number of the first columns, which have text; the others have figures.
    texts: usize,
}

impl Section<'_> {
    fn text(&self) -> String {
        let sides = iter::repeat_n(Align::Left, self.texts).chain(iter::repeat(Align::Right));
        let columns: Vec<_> = self.headings.iter().copied().zip(sides).collect();
        let mut table = TextTable::new(&columns);
        self.rows.iter().for_each(|row| table.row(row.clone()));
        format!("\n{}\n\n{}", self.sentence, table.render())
    }
}

/// Returns what the report has between its summary and its facts, without the tables that have no rows.
pub(crate) fn tables(fidelity: &Fidelity) -> Vec<Section<'_>> {
    let all = [
        Section { sentence: STAGES, headings: stage_headings(), rows: stage_rows(fidelity), texts: 1 },
        Section { sentence: CLUSTERING, headings: clustering_headings(), rows: clustering_rows(fidelity), texts: 1 },
        Section {
            sentence: MECHANISMS,
            headings: MECHANISM_HEADINGS.to_vec(),
            rows: mechanism_rows(fidelity),
            texts: 1,
        },
        Section { sentence: OFF, headings: off_headings(fidelity), rows: off_rows(fidelity), texts: 3 },
    ];
    all.into_iter().filter(|section| !section.rows.is_empty()).collect()
}

/// The headings of the table of stages.
fn stage_headings() -> Vec<&'static str> {
    ["scenario"].into_iter().chain(STAGE_NAMES.into_iter().flat_map(|name| [name, "sim"])).collect()
}

/// Returns the rows of the table of stages: one for each scenario that has them.
fn stage_rows(fidelity: &Fidelity) -> Vec<Vec<String>> {
    let known = fidelity.scenarios.iter().filter(|scenario| !scenario.stages.is_empty());
    let rows = known.map(|scenario| {
        let cells = scenario.stages.iter().flat_map(|stage| {
            let error = stage.error().map_or_else(missing, |error| format!("{:+.1} %", error * 100.0));
            [duration(stage.real), error]
        });
        [scenario.label.clone()].into_iter().chain(cells).collect()
    });
    rows.collect()
}

/// Returns the headings of the table of correlations.
fn clustering_headings() -> Vec<&'static str> {
    ["scenario"].into_iter().chain(BETWEEN.into_iter().flat_map(|between| [between, "sim"])).collect()
}

/// Returns the rows of the table of correlations: one for each scenario that has them.
fn clustering_rows(fidelity: &Fidelity) -> Vec<Vec<String>> {
    let known = fidelity.scenarios.iter().filter(|scenario| !scenario.clustering.is_empty());
    let rows = known.map(|scenario| {
        let cells = scenario.clustering.iter().flat_map(|of| [of.real, of.sim].map(|value| format!("{value:+.2}")));
        [scenario.label.clone()].into_iter().chain(cells).collect()
    });
    rows.collect()
}

/// The headings of the table of mechanisms.
const MECHANISM_HEADINGS: [&str; 8] =
    ["left out", "scenarios", "p50 goal", "median error", "p99 goal", "median error", "within floor", "within twice"];

/// Returns the rows of the table of mechanisms: one with all of them, and one without each; nothing if none was left out.
fn mechanism_rows(fidelity: &Fidelity) -> Vec<Vec<String>> {
    fidelity.by_mechanism().iter().map(mechanism_row).collect()
}

fn mechanism_row(summary: &MechanismSummary) -> Vec<String> {
    let MechanismSummary { mechanism, scenarios, p50, p99, all } = summary;
    vec![
        mechanism.clone().unwrap_or_else(|| "nothing".to_owned()),
        scenarios.to_string(),
        part(p50.reached, p50.goals),
        median_error(p50),
        part(p99.reached, p99.goals),
        median_error(p99),
        part(all.within, all.cells),
        part(all.close, all.cells),
    ]
}

fn median_error(summary: &MeasureSummary) -> String {
    let error = summary.median_error.zip(summary.measure).map(|(value, measure)| error(measure, value));
    error.map_or_else(missing, |error| error.trim_start_matches('+').to_owned())
}

/// Returns the headings of the table of what is left.
fn off_headings(fidelity: &Fidelity) -> Vec<&str> {
    let fixed = ["scenario", "phase", "measure", "with all"];
    fixed.into_iter().chain(fidelity.mechanisms()).chain(["too much of"]).collect()
}

/// Returns the rows of the table of what is left.
fn off_rows(fidelity: &Fidelity) -> Vec<Vec<String>> {
    fidelity.off_cells().iter().map(off_row).collect()
}

fn off_row(off: &OffCell<'_>) -> Vec<String> {
    let cell = off.cell;
    let shown = |difference: Option<f64>| match (difference, cell.error) {
        (None, _) => missing(),
        (Some(difference), Some(_)) => error(cell.measure, difference),
        (Some(difference), None) => distance(cell, difference),
    };
    let names = [off.scenario, &cell.phase, cell.measure.name()].map(str::to_owned);
    let differences = [cell.difference()].into_iter().chain(off.without.iter().copied()).map(shown);
    names.into_iter().chain(differences).chain([off.excess.clone().unwrap_or_default()]).collect()
}

/// Returns a bound of a goal, such as `10 % or 100 ms`.
fn bound(measure: Option<Measure>, bounds: GoalBounds, place: usize) -> String {
    let hundredths = bounds.share[place] * 100.0;
    let unit = match measure {
        Some(Measure::Mix) if hundredths == 1.0 => "point",
        Some(Measure::Mix) => "points",
        _ => "%",
    };
    let seconds = bounds.seconds.map_or(String::new(), |seconds| format!(" or {:.0} ms", seconds[place] * 1e3));
    format!("{hundredths} {unit}{seconds}")
}

/// Returns a sentence about the cells that are left out; `None` if there are none.
pub(crate) fn left_out(fidelity: &Fidelity) -> Option<String> {
    let sparse = fidelity.sparse();
    (sparse > 0)
        .then(|| format!("The p99 of phases with fewer than {TAIL_CALLS_MIN} calls a run is left out: {sparse} cells."))
}

/// The most cells that a sentence names.
const NAMED_MAX: usize = 3;

/// Returns a sentence about a scenario: how many of its measures are as in reality, and which are not by how much.
pub(crate) fn sentence(scenario: &ScenarioFidelity) -> String {
    let judged: Vec<_> = scenario.cells.iter().filter_map(|cell| Some((cell, cell.verdict?))).collect();
    let of = |wanted| judged.iter().filter(|(_, verdict)| *verdict == wanted).count();
    let mut parts = vec![format!(
        "{} of {} measures are as close to real runs as those are to each other",
        of(Verdict::Within),
        judged.len()
    )];
    let more = [
        (of(Verdict::Small), "further off by less than matters"),
        (of(Verdict::Close), "at most twice as far off"),
        (of(Verdict::Apart), "further off"),
    ];
    parts.extend(more.iter().filter(|(count, _)| *count > 0).map(|(count, what)| format!("{count} {what}")));
    let mut apart: Vec<_> =
        judged.iter().filter(|(_, verdict)| *verdict == Verdict::Apart).map(|(cell, _)| *cell).collect();
    apart.sort_by(|a, b| b.ratio.unwrap_or(0.0).total_cmp(&a.ratio.unwrap_or(0.0)));
    let named: Vec<_> = apart.iter().take(NAMED_MAX).map(|cell| named(cell)).collect();
    let which = if named.is_empty() { String::new() } else { format!(", most of all {}", named.join(", ")) };
    format!("{}: {}{which}.", scenario.label, parts.join(", "))
}

/// Returns the name of a cell with its error, such as `latency_p99 of fault-0 (-48.0 %)`.
fn named(cell: &Cell) -> String {
    let off = match (cell.error, cell.sim_real) {
        (Some(error), _) => self::error(cell.measure, error),
        (None, Some(across)) => distance(cell, across.median),
        (None, None) => MISSING.to_owned(),
    };
    format!("{} of {} ({off})", cell.measure.name(), cell.phase)
}

/// Returns a count with its share of the whole, such as `3 (75.0 %)`.
fn part(part: usize, whole: usize) -> String {
    match whole {
        0 => part.to_string(),
        whole => format!("{part} ({:.1} %)", part as f64 * 100.0 / whole as f64),
    }
}

fn scenario(scenario: &ScenarioFidelity) -> String {
    let [real, sim] = scenario.runs;
    let busy = optional_percent(scenario.utilisation);
    let mut table = TextTable::new(&[
        ("phase", Align::Left),
        ("measure", Align::Left),
        ("real", Align::Right),
        ("sim", Align::Right),
        ("error", Align::Right),
        ("goal", Align::Left),
        ("floor", Align::Right),
        ("sim/real", Align::Right),
        ("ratio", Align::Right),
        ("p", Align::Right),
        ("", Align::Left),
    ]);
    let mut phase = "";
    for cell in &scenario.cells {
        let name = if cell.phase == phase { "" } else { cell.phase.as_str() };
        phase = &cell.phase;
        table.row([vec![name.to_owned()], row(cell)].concat());
    }
    format!("{}: {real} real runs, {sim} simulated; workers busy {busy}\n\n{}", scenario.label, table.render())
}

/// Returns the row of a cell, without its phase.
pub(crate) fn row(cell: &Cell) -> Vec<String> {
    vec![
        cell.measure.name().to_owned(),
        optional_duration(cell.real.map(|values| values.median)),
        optional_duration(cell.sim.map(|values| values.median)),
        cell.error.map_or_else(missing, |error| self::error(cell.measure, error)),
        cell.goal.map_or(String::new(), |goal| goal.sign().to_owned()),
        cell.real_real.map_or_else(missing, |distances| distance(cell, distances.p95)),
        cell.sim_real.map_or_else(missing, |distances| distance(cell, distances.median)),
        shown(cell.ratio, ratio),
        shown(cell.p, |p| format!("{p:.3}")),
        verdict(cell),
    ]
}

/// Returns the verdict, with a sign if the phase leaves what was calibrated.
fn verdict(cell: &Cell) -> String {
    let name = cell.verdict.map_or("", Verdict::name);
    let sign = if cell.is_beyond { BEYOND } else { "" };
    [name, sign].into_iter().filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

fn distance(cell: &Cell, distance: f64) -> String {
    if cell.measure.is_seconds() { duration(distance) } else { format!("{distance:.4}") }
}

fn error(measure: Measure, error: f64) -> String {
    match measure {
        measure if measure.is_seconds() => signed_duration(Some(error)),
        Measure::Mix => percent(error),
        _ => format!("{:+.1} %", error * 100.0),
    }
}

pub(crate) fn ratio(ratio: f64) -> String {
    match ratio {
        endless if endless.is_infinite() => "∞".to_owned(),
        large if large >= 100.0 => format!("{large:.0}"),
        small => format!("{small:.2}"),
    }
}

fn onset(onset: &Onset) -> String {
    let mut table =
        TextTable::new(&[("offered", Align::Right), ("real success", Align::Right), ("sim success", Align::Right)]);
    for point in &onset.points {
        table.row(vec![rate(point.rate), percent(point.real), percent(point.sim)]);
    }
    let error = onset.error().map_or(MISSING.to_owned(), |error| format!("{:+.1} %", error * 100.0));
    format!(
        "{}: goodput falls behind the load at {} in reality, {} in the simulation, error {error}\n\n{}",
        onset.scenario,
        onset_rate(onset.real),
        onset_rate(onset.sim),
        table.render()
    )
}

fn onset_rate(onset: Option<f64>) -> String {
    onset.map_or_else(|| "outside the tested rates".to_owned(), rate)
}
