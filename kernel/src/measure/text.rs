//! The text that a run prints when it ends: the verdict, then the figures behind it.

use std::cmp::Reverse;

use self::{
    quantity::{count, duration, moment, percent, quantity, rate, trimmed},
    table::{Align, TextTable},
};
use super::{
    CheckedExpectation, FaultSummary, Lateness, LatenessFigures, Metrics, Summary, Verdict, WrongResult, seconds,
};
use crate::{measure::metric::Metric, visible::Visible};

pub mod quantity;
pub mod table;

/// Text of a figure that could not be computed.
pub const MISSING: &str = "n/a";
/// Text of a time that never came.
const NEVER: &str = "never";
/// Columns that a line may have.
const WIDTH: usize = 100;
/// Statuses that the second paragraph names; the others are counted together.
const STATUSES_MAX: usize = 4;
/// Width of the column with the targets of a fault, in characters.
const TARGETS_WIDTH_MAX: usize = 22;

impl Summary {
    /// Returns a short report in at most 100 columns, unless the scenario's name is very long. It ends with a line break.
    pub fn render(&self) -> String {
        self.render_as(self.verdict())
    }

    /// Does the same with a verdict that is worse than that by the rows.
    pub fn render_as(&self, verdict: Verdict) -> String {
        let paragraphs = [
            self.verdict_line(verdict),
            untrusted_reason(self),
            self.load() + &lateness(&self.lateness),
            wrong_results(self),
            expectations(self),
            self.phases_and_run(),
            faults(self),
            edges(self),
            changes(self),
        ];
        let paragraphs: Vec<String> = paragraphs.into_iter().filter(|text| !text.is_empty()).collect();
        paragraphs.join("\n")
    }

    fn verdict_line(&self, verdict: Verdict) -> String {
        let verdict = verdict.word();
        let parts = match &self.stopped {
            Some(_) => vec![format!("stopped at {}", trimmed(&duration(seconds(self.duration_us))))],
            None => [self.successes(), self.score()].into_iter().flatten().collect(),
        };
        let parts = parts.join(", ");
        let client = self.profile.as_ref().map(|profile| format!(", {profile}")).unwrap_or_default();
        let run = format!("{verdict}  {} ({}, seed {}{client}):", self.scenario, self.world, self.seed);
        let gap = if run.chars().count() + 1 + parts.chars().count() > WIDTH { "\n  " } else { " " };
        format!("{run}{gap}{parts}\n")
    }

    /// Returns how many requests succeeded, in words.
    fn successes(&self) -> Option<String> {
        match (self.overall.succeeded, self.overall.requests) {
            (_, 0) => Some("no request was offered".to_owned()),
            (0, 1) => Some("the request failed".to_owned()),
            (0, all) => Some(format!("all {all} requests failed")),
            _ => Some(format!("{} succeeded", shown(self.overall.success_rate, percent))),
        }
    }

    /// Returns how many expectations hold, in words; none if there are none.
    fn score(&self) -> Option<String> {
        let held = self.expectations.iter().filter(|checked| checked.pass).count();
        match self.expectations.len() {
            0 => None,
            1 if held == 1 => Some("the expectation holds".to_owned()),
            1 => Some("the expectation does not hold".to_owned()),
            all => Some(format!("{held} of {all} expectations hold")),
        }
    }

    fn load(&self) -> String {
        let overall = &self.overall;
        let over = trimmed(&duration(seconds(self.duration_us)));
        if overall.requests == 0 {
            return format!("  no request in {over}\n");
        }
        let requests = if overall.requests == 1 { "request" } else { "requests" };
        let counts = [
            (overall.hedges, "hedges"),
            (overall.rejected, "rejected"),
            (overall.ejections, "ejections"),
            (overall.store_failures, "failures of the store"),
        ];
        let counted = counts.iter().filter(|(count, _)| *count > 0);
        let more: String = counted.map(|(count, what)| format!(", {count} {what}")).collect();
        let failure = self.first_failure.as_ref().map(|why| format!("  the first attempt failed: {}\n", why.visible()));
        format!(
            "  {} {requests} in {over}: {}\n  availability {}, goodput {}, {} attempts per call{more}\n{}{}",
            overall.requests,
            self.outcomes(),
            shown(overall.availability, percent),
            shown(overall.goodput, rate),
            shown(overall.attempts_per_call, count),
            streams(overall),
            failure.unwrap_or_default(),
        )
    }

    /// Returns the statuses and their counts, the most frequent first.
    fn outcomes(&self) -> String {
        let mut statuses: Vec<(&String, &u64)> = self.statuses.iter().collect();
        statuses.sort_by_key(|(name, count)| (Reverse(**count), *name));
        let (named, rest) = statuses.split_at(statuses.len().min(STATUSES_MAX));
        let mut parts: Vec<String> = named.iter().map(|(name, count)| format!("{count} {name}")).collect();
        if !rest.is_empty() {
            parts.push(format!("{} others", rest.iter().map(|(_, count)| **count).sum::<u64>()));
        }
        parts.join(", ")
    }

    /// Returns what to know about the sums of phases; nothing if the only phase is the whole run.
    pub fn overlap_note(&self) -> &'static str {
        match self.faults.len() {
            0 => "",
            _ => "  a request counts in every phase that it overlaps, so phases may add up to more than the run\n",
        }
    }

    /// Returns the mark of an expectation: that it holds, that it does not, or that a run which was stopped cannot say.
    pub fn mark(&self, checked: &CheckedExpectation) -> char {
        match (&self.stopped, checked.pass) {
            (Some(_), _) => '?',
            (None, true) => '✓',
            (None, false) => '✗',
        }
    }

    fn phases_and_run(&self) -> String {
        let mut table = TextTable::new(&[
            ("phase", Align::Left),
            ("requests", Align::Right),
            ("success", Align::Right),
            ("p50", Align::Right),
            ("p95", Align::Right),
            ("p99", Align::Right),
            ("max", Align::Right),
            ("retries", Align::Right),
            ("failovers", Align::Right),
        ]);
        for phase in &self.phases {
            table.row(figures(&phase.phase, &phase.metrics));
        }
        table.row(figures("whole run", &self.overall));
        table.render() + self.overlap_note()
    }
}

/// Returns what services asked of each other, as a table; nothing if they made no calls.
fn edges(summary: &Summary) -> String {
    if summary.edges.is_empty() {
        return String::new();
    }
    let mut table = TextTable::new(&[
        ("edge", Align::Left),
        ("calls", Align::Right),
        ("success", Align::Right),
        ("p50", Align::Right),
        ("p99", Align::Right),
        ("attempts", Align::Right),
        ("per call", Align::Right),
        ("per request", Align::Right),
    ]);
    for edge in &summary.edges {
        table.row(vec![
            format!("{} -> {}", edge.from, edge.to),
            edge.calls.to_string(),
            shown(edge.success_rate, percent),
            shown(edge.latency_p50_s, duration),
            shown(edge.latency_p99_s, duration),
            edge.attempts.to_string(),
            shown(edge.attempts_per_call, count),
            shown(edge.amplification, count),
        ]);
    }
    table.render()
}

/// Returns why the run is not trusted, and what to do about it, in lines; nothing if it is trusted.
pub fn untrusted_reason(summary: &Summary) -> String {
    let Lateness { allowed_s, faults, sends } = &summary.lateness;
    let kinds = [(faults, "starts and ends of faults"), (sends, "sends")];
    let mut text = String::new();
    for (figures, what) in kinds.into_iter().filter(|(figures, _)| figures.too_late > 0) {
        let latest = figures.latest.as_deref().unwrap_or_default();
        let late = shown(figures.max_s, duration);
        let LatenessFigures { too_late, count, .. } = figures;
        text += &format!("  too late: {too_late} of {count} {what}, {latest} by {late}\n");
    }
    if summary.trusted {
        return text;
    }
    let allowed = trimmed(&shown(*allowed_s, duration));
    // A simulation is late only where its calibration says so, and would be again.
    let remedy = if summary.world == "sim" {
        "Calibrate a machine whose timers are on time"
    } else {
        "Run it again while the machine is less busy"
    };
    let enough = enough(&summary.lateness);
    text + &format!(
        "  At most {allowed} is allowed ([run] max_lateness), so this is not the run that the scenario describes.\n  \
         {remedy}, or allow more: --set run.max_lateness={enough}\n"
    )
}

/// Returns a `max_lateness` under which the run would have been trusted, in whole seconds.
fn enough(lateness: &Lateness) -> String {
    format!("{:.0}s", lateness.max_s().unwrap_or_default().ceil())
}

/// Returns by how much faults and sends were late; nothing if all were on time, as in a simulation they are.
fn lateness(lateness: &Lateness) -> String {
    let late: Vec<String> = [("faults", &lateness.faults), ("sends", &lateness.sends)]
        .into_iter()
        .filter(|(_, figures)| figures.latest.is_some())
        .map(|(what, figures)| format!("{what} up to {}", shown(figures.max_s, duration)))
        .collect();
    if late.is_empty() { String::new() } else { format!("  late: {}\n", late.join(", ")) }
}

/// Returns the figures of replies that stream, as a line; nothing without any.
fn streams(metrics: &Metrics) -> String {
    let Metrics { messages, messages_lost: lost, .. } = *metrics;
    if messages == 0 && lost == 0 {
        return String::new();
    }
    let lost = if lost > 0 { format!(", {lost} lost") } else { String::new() };
    let parts =
        metrics.part_share.map(|share| format!(", partial answers have {} of theirs", trimmed(&percent(share))));
    let lost = lost + &parts.unwrap_or_default();
    let first = [metrics.first_message_p50, metrics.first_message_p95].map(|time| shown(time, duration));
    let gaps = [metrics.message_gap_p95, metrics.message_gap_max].map(|time| shown(time, duration));
    format!(
        "  {messages} messages in streams{lost}: the first after {} (p95 {}), gaps p95 {}, max {}\n",
        trimmed(&first[0]),
        trimmed(&first[1]),
        trimmed(&gaps[0]),
        trimmed(&gaps[1]),
    )
}

/// Returns the first of the wrong results, in lines; nothing if there are none.
fn wrong_results(summary: &Summary) -> String {
    let count = summary.overall.wrong_results;
    let mut text = String::new();
    for (number, WrongResult { at_us, request, what }) in summary.wrong_results.iter().enumerate() {
        let head = match number {
            0 if count == 1 => "1 wrong result, ".to_owned(),
            0 => format!("{count} wrong results, "),
            _ => String::new(),
        };
        text += &format!("  {head}request {request} at {}: {}\n", moment(*at_us), what.visible());
    }
    match count.saturating_sub(summary.wrong_results.len() as u64) {
        0 => text,
        more => text + &format!("  and {more} more\n"),
    }
}

fn figures(name: &str, metrics: &Metrics) -> Vec<String> {
    vec![
        name.to_owned(),
        metrics.requests.to_string(),
        shown(metrics.success_rate, percent),
        shown(metrics.latency_p50, duration),
        shown(metrics.latency_p95, duration),
        shown(metrics.latency_p99, duration),
        shown(metrics.latency_max, duration),
        metrics.retries.to_string(),
        metrics.failovers.to_string(),
    ]
}

fn expectations(summary: &Summary) -> String {
    if summary.expectations.is_empty() {
        return String::new();
    }
    let columns = [("expectation", Align::Left), ("actual", Align::Right), ("wanted", Align::Left), ("", Align::Left)];
    let mut table = TextTable::new(&columns);
    for checked in &summary.expectations {
        table.row(judged(summary, checked));
    }
    table.render()
}

fn judged(summary: &Summary, checked: &CheckedExpectation) -> Vec<String> {
    let mark = summary.mark(checked);
    let reason = checked.text.as_ref().map(|text| format!("({text})")).unwrap_or_default();
    vec![format!("{mark} {}", expectation(checked)), actual(checked), wanted(checked), reason]
}

/// Returns what an expectation is about: its metric and its phase.
pub(crate) fn expectation(checked: &CheckedExpectation) -> String {
    let during = checked.during.as_ref().map(|phase| format!(" during {phase}")).unwrap_or_default();
    format!("{}{during}", checked.metric)
}

/// Returns the metric of an expectation. Where rounding makes it look like the bound that it misses, a `<` or `>` shows
/// the difference.
pub(crate) fn actual(checked: &CheckedExpectation) -> String {
    let Some(actual) = checked.actual else { return MISSING.to_owned() };
    let text = quantity(metric(checked), actual);
    if checked.min.is_some_and(|min| actual < min && quantity(metric(checked), min) == text) {
        format!("<{text}")
    } else if checked.max.is_some_and(|max| actual > max && quantity(metric(checked), max) == text) {
        format!(">{text}")
    } else {
        text
    }
}

/// Returns the bounds of an expectation.
pub(crate) fn wanted(checked: &CheckedExpectation) -> String {
    let metric = metric(checked);
    match (checked.min, checked.max) {
        (Some(min), Some(max)) => format!("{} to {}", bound(metric, min), bound(metric, max)),
        (Some(min), None) => format!("at least {}", bound(metric, min)),
        (None, Some(max)) => format!("at most {}", bound(metric, max)),
        (None, None) => "anything".to_owned(),
    }
}

fn bound(metric: Option<Metric>, value: f64) -> String {
    trimmed(&quantity(metric, value))
}

/// Returns the metric of an expectation; none if a newer version wrote a metric that this one does not know.
fn metric(checked: &CheckedExpectation) -> Option<Metric> {
    checked.metric.parse().ok()
}

/// The most changes of settings that are listed.
const CHANGES_SHOWN: usize = 20;

fn changes(summary: &Summary) -> String {
    if summary.changes.is_empty() {
        return String::new();
    }
    let mut table = TextTable::new(&[("at", Align::Right), ("change", Align::Left)]);
    for change in summary.changes.iter().take(CHANGES_SHOWN) {
        table.row(vec![moment(change.at_us), change.change.visible().to_string()]);
    }
    let left_out = summary.changes.len().saturating_sub(CHANGES_SHOWN);
    if left_out > 0 {
        table.row(vec![String::new(), format!("and {left_out} more")]);
    }
    table.render()
}

fn faults(summary: &Summary) -> String {
    if summary.faults.is_empty() {
        return String::new();
    }
    let mut table = TextTable::new(&[
        ("fault", Align::Left),
        ("kind", Align::Left),
        ("target", Align::Left),
        ("at", Align::Right),
        ("lifted", Align::Right),
        ("detected in", Align::Right),
        ("recovered in", Align::Right),
    ]);
    // What had not come when a run was stopped may have come later.
    let never = if summary.stopped.is_some() { MISSING } else { NEVER };
    for fault in &summary.faults {
        table.row(fault_figures(fault, never));
    }
    table.render()
}

fn fault_figures(fault: &FaultSummary, never: &str) -> Vec<String> {
    let unrecovered = if fault.recovered == Some(false) { never } else { MISSING };
    vec![
        format!("fault-{}", fault.index),
        fault.kind.clone(),
        targets(&fault.targets),
        moment(fault.start_us),
        fault.lifted_us.map_or_else(|| never.to_owned(), moment),
        fault.time_to_detect_s.map_or_else(|| never.to_owned(), duration),
        fault.recovery_time_s.map_or_else(|| unrecovered.to_owned(), duration),
    ]
}

fn targets(names: &[String]) -> String {
    let all = names.join(", ");
    match names {
        [first, rest @ ..] if all.len() > TARGETS_WIDTH_MAX && !rest.is_empty() => {
            format!("{first} and {} more", rest.len())
        }
        _ => all,
    }
}

/// Returns the value as `show` writes it; if there is none, that it could not be computed.
pub fn shown(value: Option<f64>, show: fn(f64) -> String) -> String {
    value.map_or_else(|| MISSING.to_owned(), show)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::measure::expectation::{Expectation, Phase};
    use crate::measure::sample::{
        Sample, crash_then_freeze, dropped, example_expectations, expect, failed, fault_start, ok,
    };

    const S: u64 = 1_000_000;

    #[test]
    fn a_crash_then_a_freeze_reads_well() {
        insta::assert_snapshot!(crash_then_freeze().summary(&example_expectations()).render());
    }

    #[test]
    fn a_failed_run_says_what_failed_and_why() {
        // A request a second, of which the last four fail under a fault that is never lifted.
        let rows = (0..10).map(|second| if second < 6 { ok(second * S, 920) } else { failed(second * S, 9 * S) });
        let targets = ["server-0", "server-1", "server-2"];
        let events = targets.map(|target| fault_start(0, "partition", target, 6 * S));
        let recovery = Expectation { during: Some(Phase::Fault(0)), ..expect(Metric::RecoveryTime, None, Some(5.0)) };
        let after = Expectation { during: Some(Phase::After), ..expect(Metric::LatencyP99, None, Some(0.25)) };
        let between = expect(Metric::Goodput, Some(0.5), Some(1.5));
        let sample = Sample::of_seconds(10).requests(rows.chain([dropped(9 * S)])).events(events);
        insta::assert_snapshot!(sample.summary(&[recovery, after, between]).render());
    }

    #[test]
    fn an_empty_run_has_no_figures() {
        insta::assert_snapshot!(Sample::of_seconds(1).summary(&[]).render());
    }

    #[test]
    fn a_near_miss_does_not_read_like_the_bound() {
        // 97,999 of 100,000 is 97.999 %, which rounds to the 98 % that it misses; the latency is 1 ms and the bound 1 us
        // less.
        let rows = (0..100_000).map(|at| if at < 97_999 { ok(at, 1_000) } else { failed(at, 1_000) });
        let expectations = [
            expect(Metric::SuccessRate, Some(0.98), None),
            expect(Metric::LatencyMax, None, Some(0.000_999)),
            expect(Metric::LatencyMax, None, Some(0.001)),
            expect(Metric::SuccessRate, Some(0.979_99), None),
        ];
        let summary = Sample::of_seconds(1).requests(rows).summary(&expectations);
        let shown: Vec<String> = summary.expectations.iter().map(actual).collect();
        assert_eq!(shown, ["<98.00 %", ">1.00 ms", "1.00 ms", "98.00 %"]);
    }

    #[test]
    fn many_targets_are_counted() {
        let names = |count: usize| (0..count).map(|index| format!("server-{index}")).collect::<Vec<_>>();
        assert_eq!(targets(&names(1)), "server-0");
        assert_eq!(targets(&names(2)), "server-0, server-1");
        assert_eq!(targets(&names(12)), "server-0 and 11 more");
        let wide = |width: usize| targets(&["a".repeat(width - ", b".len()), "b".to_owned()]);
        assert!(wide(TARGETS_WIDTH_MAX).ends_with("a, b"));
        assert!(wide(TARGETS_WIDTH_MAX + 1).ends_with("a and 1 more"));
    }

    #[test]
    fn one_expectation_is_not_counted() {
        let sample = Sample::of_seconds(1).requests([ok(0, 1)]);
        let first_line = |expectations: &[Expectation]| {
            let report = sample.summary(expectations).render();
            report.lines().next().map(|line| line.rsplit(": ").next().unwrap_or(line).to_owned())
        };
        let good = expect(Metric::SuccessRate, Some(1.0), None);
        let bad = expect(Metric::Retries, Some(1.0), None);
        assert_eq!(first_line(&[]).as_deref(), Some("100 % succeeded"));
        assert_eq!(first_line(std::slice::from_ref(&good)).as_deref(), Some("100 % succeeded, the expectation holds"));
        assert_eq!(
            first_line(std::slice::from_ref(&bad)).as_deref(),
            Some("100 % succeeded, the expectation does not hold")
        );
        assert_eq!(first_line(&[good, bad]).as_deref(), Some("100 % succeeded, 1 of 2 expectations hold"));
    }
}
