//! The page of one run.

use kernel::measure::{
    self, CheckedExpectation, Metrics, Summary,
    text::{
        MISSING,
        quantity::{count, moment, quantity, rate},
        shown,
        table::{Align, TextTable},
        untrusted_reason,
    },
};
use kernel::visible::Visible;
use maud::{Markup, html};

use super::{Verdict, aligned, document, head, markup_table, notes, numbers, plots, scenario, table};
use crate::{
    analyse::{Episode, FaultEvents, FaultImpact, RunAnalysis, Sighting},
    figure::Figure,
    text::{
        KIND_COLUMNS, STREAM_COLUMNS, kind_row, moment_s, optional_duration, optional_percent, recovery,
        signed_duration, stream_row,
    },
    timeline,
};

/// Returns the page of a run with its plots. The same analysis gives the same bytes.
pub fn report(analysis: &RunAnalysis, figures: &[Figure]) -> String {
    let body = html! {
        (head(verdict(analysis), &analysis.title, analysis.question.as_deref()))
        (untrusted(&analysis.summary))
        (numbers(&overview(&analysis.summary)))
        (expectations(&analysis.summary))
        (plots(figures))
        (phases(analysis))
        (faults(analysis))
        (fault_events(analysis))
        (changes(analysis))
        (detection(analysis))
        (attempts(analysis))
        (kinds(analysis))
        (notes(&analysis.notes))
        (origin(analysis))
    };
    document(&analysis.title, &body)
}

fn verdict(analysis: &RunAnalysis) -> Verdict {
    if analysis.state.is_some() {
        return measure::Verdict::Interrupted.into();
    }
    analysis.summary.verdict().into()
}

/// Returns why the run is not trusted; nothing if it is.
fn untrusted(summary: &Summary) -> Markup {
    html! {
        @for line in untrusted_reason(summary).lines() { p class="bad" { (line.trim()) } }
    }
}

fn overview(summary: &Summary) -> [(&'static str, String); 9] {
    let overall = &summary.overall;
    [
        ("requests", overall.requests.to_string()),
        ("success rate", optional_percent(overall.success_rate)),
        ("availability", optional_percent(overall.availability)),
        ("goodput", shown(overall.goodput, rate)),
        ("latency p50", optional_duration(overall.latency_p50)),
        ("latency p99", optional_duration(overall.latency_p99)),
        ("attempts per call", shown(overall.attempts_per_call, count)),
        ("slowest recovery", optional_duration(overall.recovery_time)),
        ("greatest lateness", optional_duration(summary.lateness.max_s())),
    ]
}

fn expectations(summary: &Summary) -> Markup {
    html! {
        @if !summary.expectations.is_empty() {
            div class="scroll" {
                table {
                    thead {
                        tr { th { "expectation" } th { "actual" } th { "at least" } th { "at most" } }
                    }
                    tbody {
                        @for checked in &summary.expectations { (expectation(summary, checked)) }
                    }
                }
            }
        }
    }
}

fn expectation(summary: &Summary, checked: &CheckedExpectation) -> Markup {
    html! {
        tr {
            td data-label="expectation" class=(if checked.pass { "ok" } else if summary.stopped.is_some() { "" } else { "bad" }) {
                (summary.mark(checked)) " " (checked.metric)
                @if let Some(phase) = &checked.during { " during " (phase) }
            }
            td data-label="actual" { (expected(checked, checked.actual).unwrap_or_else(|| MISSING.to_owned())) }
            td data-label="at least" { (expected(checked, checked.min).unwrap_or_default()) }
            td data-label="at most" { (expected(checked, checked.max).unwrap_or_default()) }
        }
    }
}

/// Returns a value or a bound of an expectation with the unit of its metric.
fn expected(checked: &CheckedExpectation, value: Option<f64>) -> Option<String> {
    value.map(|value| quantity(checked.metric.parse().ok(), value))
}

fn phases(analysis: &RunAnalysis) -> Markup {
    let phases = analysis.summary.phases.iter().map(|phase| phase_row(&phase.phase, &phase.metrics));
    let rows: Vec<Vec<String>> = phases.chain([phase_row("whole run", &analysis.summary.overall)]).collect();
    let headings = [
        "phase",
        "requests",
        "success",
        "goodput",
        "p50",
        "p95",
        "p99",
        "max",
        "p99 from actual start",
        "attempts per call",
        "failovers",
        "dropped",
    ];
    html! {
        h2 { "By phase" }
        (table(&headings, &rows))
        (streams(&analysis.summary))
    }
}

/// Returns the messages of replies that stream, by phase; nothing without any.
fn streams(summary: &Summary) -> Markup {
    if !summary.has_streams() {
        return html! {};
    }
    let phases = summary.phases.iter().map(|phase| (phase.phase.as_str(), &phase.metrics));
    let rows =
        phases.chain([("whole run", &summary.overall)]).map(|(name, metrics)| stream_row(name, metrics).to_vec());
    html! {
        h2 { "Messages of streams" }
        (table(&STREAM_COLUMNS, &rows.collect::<Vec<_>>()))
    }
}

fn phase_row(name: &str, metrics: &Metrics) -> Vec<String> {
    vec![
        name.to_owned(),
        metrics.requests.to_string(),
        optional_percent(metrics.success_rate),
        shown(metrics.goodput, rate),
        optional_duration(metrics.latency_p50),
        optional_duration(metrics.latency_p95),
        optional_duration(metrics.latency_p99),
        optional_duration(metrics.latency_max),
        optional_duration(metrics.uncorrected_p99),
        shown(metrics.attempts_per_call, count),
        metrics.failovers.to_string(),
        metrics.dropped.to_string(),
    ]
}

fn faults(analysis: &RunAnalysis) -> Markup {
    let mut rows: Vec<Vec<Markup>> = Vec::with_capacity(analysis.faults.len());
    for impact in &analysis.faults {
        let mut cells: Vec<Markup> = fault_row(impact).into_iter().map(|cell| html! { (cell) }).collect();
        cells[0] = html! { a href=(format!("#events-{}", impact.fault.index)) { (cells[0]) } };
        rows.push(cells);
    }
    let headings = [
        "fault",
        "at",
        "lifted",
        "detected in",
        "recovered in",
        "requests lost",
        "max backlog",
        "p95 before",
        "during",
        "after",
    ];
    html! {
        @if !rows.is_empty() {
            h2 { "Faults" }
            (markup_table(&headings, &rows))
        }
    }
}

/// Returns the changes of settings.
fn changes(analysis: &RunAnalysis) -> Markup {
    let rows: Vec<Vec<Markup>> = analysis
        .summary
        .changes
        .iter()
        .map(|change| vec![html! { (moment(change.at_us)) }, html! { (change.change) }])
        .collect();
    html! {
        @if !rows.is_empty() {
            h2 { "Changes of settings" }
            (markup_table(&["at", "change"], &rows))
        }
    }
}

/// Returns the events of each fault, under a name that its row in the table of faults links to.
fn fault_events(analysis: &RunAnalysis) -> Markup {
    html! {
        @if !analysis.fault_events.is_empty() {
            h2 { "Events of each fault" }
            p class="muted" {
                "The fault itself, and what servers, health checks, breakers and ejections did in its phase. Times are seconds \
                 since the start of the run, then since the start of the fault."
            }
        }
        @for (events, impact) in analysis.fault_events.iter().zip(&analysis.faults) {
            h3 id=(format!("events-{}", events.fault)) { (fault_name(impact)) }
            (aligned(&event_table(events, impact)))
            @if events.left_out > 0 { p class="muted" { (events.left_out) " more events are in events.jsonl." } }
        }
    }
}

fn event_table(events: &FaultEvents, impact: &FaultImpact) -> TextTable {
    let mut table = TextTable::new(&[
        ("at", Align::Left),
        ("since the fault", Align::Right),
        ("source", Align::Left),
        ("event", Align::Left),
    ]);
    for row in &events.rows {
        let since_s = (row.at_us as f64 - impact.fault.start_us as f64) / 1e6;
        table.row(vec![
            moment(row.at_us),
            signed_duration(Some(since_s)),
            row.source.visible().to_string(),
            timeline::event(row),
        ]);
    }
    table
}

fn fault_name(impact: &FaultImpact) -> String {
    let fault = &impact.fault;
    format!("fault-{} {} {}", fault.index, fault.kind, fault.targets.join(", "))
}

fn fault_row(impact: &FaultImpact) -> Vec<String> {
    let fault = &impact.fault;
    vec![
        fault_name(impact),
        moment(fault.start_us),
        fault.lifted_us.map_or("never".to_owned(), moment),
        fault.time_to_detect_s.map_or("never".to_owned(), |seconds| optional_duration(Some(seconds))),
        recovery(fault),
        impact.goodput_lost.to_string(),
        impact.goodput_behind_max.to_string(),
        optional_duration(impact.before.p95_s),
        optional_duration(impact.during.p95_s),
        optional_duration(impact.after.p95_s),
    ]
}

fn detection(analysis: &RunAnalysis) -> Markup {
    let episodes = analysis.episodes.iter().enumerate();
    let rows: Vec<Vec<String>> =
        episodes.map(|(index, episode)| episode_row(index, episode, &analysis.sightings)).collect();
    let headings = ["episode", "from", "to", "min success", "max p95", "fault", "start error"];
    html! {
        h2 { "Detected from the request log alone" }
        @if rows.is_empty() {
            p { "Nothing unusual." }
        } @else {
            (table(&headings, &rows))
        }
    }
}

fn episode_row(index: usize, episode: &Episode, sightings: &[Sighting]) -> Vec<String> {
    let matching = sightings.iter().filter(|sighting| sighting.episode == Some(index));
    let (faults, errors): (Vec<String>, Vec<String>) =
        matching.map(|sighting| (format!("fault-{}", sighting.fault), signed_duration(sighting.start_error_s))).unzip();
    vec![
        format!("episode-{index}"),
        moment_s(episode.start_s),
        moment_s(episode.end_s),
        optional_percent(episode.success_rate_min),
        optional_duration(episode.latency_p95_max_s),
        if faults.is_empty() { episode.without_fault().to_owned() } else { faults.join(", ") },
        errors.join(", "),
    ]
}

fn attempts(analysis: &RunAnalysis) -> Markup {
    let answers = &analysis.summary.servers;
    let rows = analysis.servers.iter().map(|tally| {
        let answered = answers.get(&tally.server).copied().unwrap_or(0).to_string();
        vec![tally.server.clone(), tally.status.clone(), tally.attempts.to_string(), answered]
    });
    let rows: Vec<Vec<String>> = rows.collect();
    html! {
        @if !rows.is_empty() {
            h2 { "Responses by server" }
            (table(&["server", "status", "attempts", "final responses"], &rows))
        }
    }
}

fn kinds(analysis: &RunAnalysis) -> Markup {
    let rows: Vec<Vec<String>> = analysis.kinds.iter().map(kind_row).collect();
    html! {
        @if !rows.is_empty() {
            h2 { "Requests by kind" }
            (table(&KIND_COLUMNS, &rows))
        }
    }
}

fn origin(analysis: &RunAnalysis) -> Markup {
    html! {
        @if let Some(replay) = &analysis.replay {
            h2 { "Repeat this run" }
            pre { (replay) }
        }
        @if let Some(info) = &analysis.info {
            p class="muted" {
                "Written by version " (info.version)
                @if let Some(found) = &info.calibration { ", calibration " (found.name) " (" (found.sha256) ")" }
                @if let Some(host) = &info.host { ", on " (host.operating_system) " with " (host.cores) " processors" }
                @if let Some(at) = &info.started { ", started " (at) }
                "."
            }
        }
        @if let Some(text) = &analysis.scenario_text { (scenario(text)) }
    }
}
