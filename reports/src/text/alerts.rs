//! The alerts of a run, or of many, as plain text.

use kernel::{
    measure::{
        seconds,
        text::{
            MISSING,
            quantity::{duration, moment, percent},
            table::{Align, TextTable},
        },
    },
    slo::{
        AlertReport, AlertTally,
        report::{FaultAlert, FaultOutcome, FaultTimes, Firing, SloAlerts},
        tally::RuleTally,
    },
    visible::Visible,
};

use crate::{
    alerts::{AlertAnalysis, KindFigures, ManyAlerts, Percentiles, RunAlerts},
    text::sections,
};

/// The servers that a cell names; further ones are counted.
const TARGETS_SHOWN: usize = 2;

/// The rows that a table of faults or of alerts shows; the JSON has all.
const ROWS_SHOWN: usize = 50;

/// Returns the report. It ends with a line break.
pub fn report(analysis: &AlertAnalysis) -> String {
    match analysis {
        AlertAnalysis::Run(run) => of_run(run),
        AlertAnalysis::Runs(many) => of_runs(many),
    }
}

fn of_run(run: &RunAlerts) -> String {
    let RunAlerts { title, report, notes, .. } = run;
    let (fired, without) = run.fired();
    let mut sections = vec![format!("ALERTS  {}: {fired} fired, {without} of them without a fault\n", title.visible())];
    for slo in &report.slos {
        sections.push(rules_of(slo));
        sections.push(faults_of(slo, report));
        sections.push(firings_of(slo));
    }
    sections.push(sections::notes(notes));
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}

fn rules_of(slo: &SloAlerts) -> String {
    format!("  {}: {}\n\n{}", slo.slo, objective(slo), rules_table(slo).render())
}

/// Returns the objective in words, and how much of its error budget is spent.
pub(crate) fn objective(slo: &SloAlerts) -> String {
    let share = slo.budget_spent.map_or_else(|| MISSING.to_owned(), percent);
    let SloAlerts { description, good, bad, .. } = slo;
    format!("{description}; {bad} of {} were bad, which spends {share} of the error budget", good + bad)
}

/// Returns a row for each rule.
pub(crate) fn rules_table(slo: &SloAlerts) -> TextTable {
    let mut table = TextTable::new(&[
        ("rule", Align::Left),
        ("severity", Align::Left),
        ("burn rate", Align::Right),
        ("windows", Align::Left),
        ("fired", Align::Right),
        ("without a fault", Align::Right),
        ("missed faults", Align::Right),
    ]);
    for alerts in &slo.rules {
        let missed = alerts.faults.iter().filter(|fault| fault.outcome == FaultOutcome::Missed).count();
        let severity: &str = alerts.rule.severity.into();
        table.row(vec![
            alerts.rule.rule.clone(),
            severity.to_owned(),
            alerts.rule.burn_rate.to_string(),
            format!("{} and {}", alerts.rule.long, alerts.rule.short),
            alerts.firings.len().to_string(),
            alerts.false_alarms().to_string(),
            missed.to_string(),
        ]);
    }
    table
}

fn faults_of(slo: &SloAlerts, report: &AlertReport) -> String {
    if report.faults.is_empty() {
        return String::new();
    }
    faults_table(slo, report).render() + &more(report.faults.len()) + &format!("  {LEGEND}\n")
}

/// Returns a row for each fault: by how much each rule was late, and how long after the fault it was resolved.
pub(crate) fn faults_table(slo: &SloAlerts, report: &AlertReport) -> TextTable {
    let mut columns = vec![
        ("fault", Align::Left),
        ("kind", Align::Left),
        ("target", Align::Left),
        ("at", Align::Right),
        ("lifted", Align::Right),
        ("bad", Align::Right),
    ];
    columns.extend(slo.rules.iter().map(|rule| (rule.rule.rule.as_str(), Align::Left)));
    let mut table = TextTable::new(&columns);
    for (at, fault) in report.faults.iter().enumerate().take(ROWS_SHOWN) {
        let FaultTimes { index, kind, targets, start_us, lifted_us, .. } = fault;
        let bad = slo.rules.first().map_or(0, |rule| rule.faults[at].bad);
        let mut cells = vec![
            format!("fault-{index}"),
            kind.clone(),
            named(targets),
            moment(*start_us),
            lifted_us.map_or_else(|| "never".to_owned(), moment),
            bad.to_string(),
        ];
        cells.extend(slo.rules.iter().map(|rule| outcome(&rule.faults[at])));
        table.row(cells);
    }
    table
}

/// Returns a line about the rows that a table of so many does not show.
fn more(rows: usize) -> String {
    not_shown(rows).map_or_else(String::new, |more| format!("  {more}\n"))
}

/// Returns how many of so many rows a table does not show; `None` if it shows all.
pub(crate) fn not_shown(rows: usize) -> Option<String> {
    let more = rows.saturating_sub(ROWS_SHOWN);
    (more > 0).then(|| format!("{more} more, which --json has"))
}

fn named(targets: &[String]) -> String {
    match targets.len().saturating_sub(TARGETS_SHOWN) {
        0 => targets.join(", "),
        more => format!("{}, {more} more", targets[..TARGETS_SHOWN].join(", ")),
    }
}

/// The legend below the table of faults.
pub(crate) const LEGEND: &str =
    "a rule is late by / resolved after the fault is lifted; - is a fault with errors within the budget";

fn outcome(alert: &FaultAlert) -> String {
    let resolved = alert.after_lifted_us.map_or_else(|| "never".to_owned(), |us| signed(us as f64 / 1e6));
    match (alert.outcome, alert.delay_us) {
        (FaultOutcome::Fired, Some(delay)) => format!("{} / {resolved}", duration(seconds(delay))),
        (FaultOutcome::Fired | FaultOutcome::Firing, _) => format!("was firing / {resolved}"),
        (FaultOutcome::Missed, _) => "missed".to_owned(),
        (FaultOutcome::InBudget, _) => "-".to_owned(),
    }
}

fn signed(seconds: f64) -> String {
    if seconds < 0.0 { format!("-{}", duration(-seconds)) } else { duration(seconds) }
}

fn firings_of(slo: &SloAlerts) -> String {
    match slo.rules.iter().map(|rule| rule.firings.len()).sum() {
        0 => String::new(),
        count => firings_table(slo).render() + &more(count),
    }
}

/// Returns a row for each time that a rule fired, in order of time.
pub(crate) fn firings_table(slo: &SloAlerts) -> TextTable {
    let mut table = TextTable::new(&[
        ("fired", Align::Left),
        ("at", Align::Right),
        ("resolved", Align::Right),
        ("after", Align::Left),
    ]);
    let mut firings: Vec<(&str, &Firing)> = Vec::new();
    for rule in &slo.rules {
        firings.extend(rule.firings.iter().map(|firing| (rule.rule.rule.as_str(), firing)));
    }
    firings.sort_by_key(|(_, firing)| firing.fired_us);
    for (rule, firing) in firings.into_iter().take(ROWS_SHOWN) {
        table.row(vec![
            rule.to_owned(),
            moment(firing.fired_us),
            firing.resolved_us.map_or_else(|| "not by the end".to_owned(), moment),
            firing.fault.map_or_else(|| "no fault".to_owned(), |fault| format!("fault-{fault}")),
        ]);
    }
    table
}

fn of_runs(many: &ManyAlerts) -> String {
    let runs: u64 = many.variants.iter().map(|(_, tally)| tally.runs).sum();
    let mut sections = vec![format!("ALERTS  {}: {runs} runs\n", many.title.visible())];
    for (settings, tally) in &many.variants {
        if many.variants.len() > 1 {
            sections.push(format!("  {}\n", variant(settings, tally).visible()));
        }
        for rules in tally.rules.chunk_by(|a, b| a.slo == b.slo) {
            let name = rules.first().map_or("", |rule| rule.slo.as_str());
            sections.push(format!("  {name}\n\n{}", alarms(rules, tally).render()));
            let kinds = kinds(rules);
            sections.push(if kinds.rows().is_empty() { String::new() } else { kinds.render() });
        }
    }
    sections.extend(left_out(many).map(|line| format!("  {line}\n")));
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}

/// Returns the settings of a variant, and the number of its runs.
pub(crate) fn variant(settings: &[String], tally: &AlertTally) -> String {
    let name = if settings.is_empty() { "as written".to_owned() } else { settings.join(", ") };
    format!("{name}: {} runs", tally.runs)
}

/// Returns how many runs do not count; `None` if all do.
pub(crate) fn left_out(many: &ManyAlerts) -> Option<String> {
    (many.left_out > 0).then(|| format!("{} runs do not count: they were stopped, or are not trusted", many.left_out))
}

/// Returns a row for each rule of an objective.
pub(crate) fn alarms(rules: &[RuleTally], tally: &AlertTally) -> TextTable {
    let mut table = TextTable::new(&[
        ("rule", Align::Left),
        ("severity", Align::Left),
        ("fired", Align::Right),
        ("without a fault", Align::Right),
        ("runs with such", Align::Right),
    ]);
    for rule in rules {
        let severity: &str = rule.severity.into();
        table.row(vec![
            rule.rule.clone(),
            severity.to_owned(),
            rule.firings.to_string(),
            rule.false_alarms.to_string(),
            format!("{} of {}", rule.runs_with_false_alarms, tally.runs),
        ]);
    }
    table
}

/// Returns a row for each rule of an objective and each kind of faults.
pub(crate) fn kinds(rules: &[RuleTally]) -> TextTable {
    let mut table = TextTable::new(&[
        ("rule", Align::Left),
        ("fault", Align::Left),
        ("faults", Align::Right),
        ("over budget", Align::Right),
        ("fired", Align::Right),
        ("of these (95 %)", Align::Left),
        ("was firing", Align::Right),
        ("late by (5 % to 95 %)", Align::Left),
        ("resolved after it (5 % to 95 %)", Align::Left),
    ]);
    for rule in rules {
        for (kind, tally) in &rule.kinds {
            let figures = KindFigures::new(tally);
            let (low, high) = figures.detected_interval;
            let interval = figures.detected.map(|_| format!("{:.0} to {:.0} %", low * 100.0, high * 100.0));
            table.row(vec![
                rule.rule.clone(),
                kind.clone(),
                figures.faults.to_string(),
                (figures.faults - figures.in_budget).to_string(),
                figures.fired.to_string(),
                interval.unwrap_or_else(|| MISSING.to_owned()),
                figures.firing.to_string(),
                times(figures.delay_s),
                times(figures.after_lifted_s),
            ]);
        }
    }
    table
}

fn times(percentiles: Option<Percentiles>) -> String {
    let text = |Percentiles { p5, median, p95 }| format!("{} ({} to {})", signed(median), signed(p5), signed(p95));
    percentiles.map_or_else(|| MISSING.to_owned(), text)
}
