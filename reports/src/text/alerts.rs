//! The alerts of a run, or of many, as plain text.

use kernel::{
    measure::text::{
        MISSING,
        quantity::{duration, moment, percent},
        table::{Align, TextTable},
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

fn seconds(us: u64) -> f64 {
    us as f64 / 1e6
}

fn of_run(run: &RunAlerts) -> String {
    let RunAlerts { title, report, notes } = run;
    let rules = report.slos.iter().flat_map(|slo| &slo.rules);
    let (fired, without): (usize, u64) =
        rules.fold((0, 0), |sum, rule| (sum.0 + rule.firings.len(), sum.1 + rule.false_alarms()));
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
    let share = slo.budget_spent.map_or_else(|| MISSING.to_owned(), percent);
    let mut text = format!(
        "  {}: {}; {} of {} were bad, which spends {share} of the error budget\n\n",
        slo.slo,
        slo.description,
        slo.bad,
        slo.good + slo.bad,
    );
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
    text.push_str(&table.render());
    text
}

/// Returns a row for each fault: by how much each rule was late, and how long after the fault it was resolved.
fn faults_of(slo: &SloAlerts, report: &AlertReport) -> String {
    if report.faults.is_empty() {
        return String::new();
    }
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
    table.render() + &more(report.faults.len()) + LEGEND
}

/// Returns a line about the rows that a table of so many does not show.
fn more(rows: usize) -> String {
    match rows.saturating_sub(ROWS_SHOWN) {
        0 => String::new(),
        more => format!("  {more} more, which --json has\n"),
    }
}

fn named(targets: &[String]) -> String {
    match targets.len().saturating_sub(TARGETS_SHOWN) {
        0 => targets.join(", "),
        more => format!("{}, {more} more", targets[..TARGETS_SHOWN].join(", ")),
    }
}

/// The legend below the table of faults.
const LEGEND: &str =
    "  a rule is late by / resolved after the fault is lifted; - is a fault with errors within the budget\n";

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
    if firings.is_empty() {
        return String::new();
    }
    firings.sort_by_key(|(_, firing)| firing.fired_us);
    let count = firings.len();
    for (rule, firing) in firings.into_iter().take(ROWS_SHOWN) {
        table.row(vec![
            rule.to_owned(),
            moment(firing.fired_us),
            firing.resolved_us.map_or_else(|| "not by the end".to_owned(), moment),
            firing.fault.map_or_else(|| "no fault".to_owned(), |fault| format!("fault-{fault}")),
        ]);
    }
    table.render() + &more(count)
}

fn of_runs(many: &ManyAlerts) -> String {
    let runs: u64 = many.variants.iter().map(|(_, tally)| tally.runs).sum();
    let mut sections = vec![format!("ALERTS  {}: {runs} runs\n", many.title.visible())];
    for (settings, tally) in &many.variants {
        if many.variants.len() > 1 {
            let name = if settings.is_empty() { "as written".to_owned() } else { settings.join(", ") };
            sections.push(format!("  {}: {} runs\n", name.visible(), tally.runs));
        }
        for rules in tally.rules.chunk_by(|a, b| a.slo == b.slo) {
            sections.push(alarms(rules, tally));
            sections.push(kinds(rules));
        }
    }
    if many.left_out > 0 {
        sections.push(format!("  {} runs do not count: they were stopped, or are not trusted\n", many.left_out));
    }
    sections.retain(|section| !section.is_empty());
    sections.join("\n")
}

/// Returns a row for each rule of an objective.
fn alarms(rules: &[RuleTally], tally: &AlertTally) -> String {
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
    let name = rules.first().map_or("", |rule| rule.slo.as_str());
    format!("  {name}\n\n{}", table.render())
}

/// Returns a row for each rule of an objective and each kind of faults.
fn kinds(rules: &[RuleTally]) -> String {
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
    if table.rows().is_empty() { String::new() } else { table.render() }
}

fn times(percentiles: Option<Percentiles>) -> String {
    let text = |Percentiles { p5, median, p95 }| format!("{} ({} to {})", signed(median), signed(p5), signed(p95));
    percentiles.map_or_else(|| MISSING.to_owned(), text)
}
