//! The sections of the report of one run. A section without content is empty.

use kernel::visible::Visible;

use kernel::measure::{
    FaultSummary, Metrics,
    text::{
        quantity::{count, rate},
        shown,
        table::{Align, TextTable},
    },
};

use super::{INTERRUPTED, moment_s, optional_duration, optional_percent, signed_duration};
use crate::{
    analyse::RunAnalysis,
    fold::{KindTally, Latency},
};

/// Returns the question of the scenario.
pub(super) fn question(analysis: &RunAnalysis) -> String {
    analysis.question.as_ref().map(|question| format!("  {question}\n")).unwrap_or_default()
}

/// Returns the table under a heading.
fn headed(title: &str, table: &TextTable) -> String {
    format!("{title}\n\n{}", table.render())
}

/// Returns the table of latencies and other metrics by phase.
pub(super) fn latency(analysis: &RunAnalysis) -> String {
    let summary = &analysis.summary;
    let mut table = TextTable::new(&[
        ("phase", Align::Left),
        ("goodput", Align::Right),
        ("available", Align::Right),
        ("p50", Align::Right),
        ("p90", Align::Right),
        ("p99", Align::Right),
        ("p99.9", Align::Right),
        ("p50 sent", Align::Right),
        ("p99 sent", Align::Right),
        ("attempts/call", Align::Right),
        ("dropped", Align::Right),
        ("duplicates", Align::Right),
    ]);
    for phase in &summary.phases {
        table.row(latency_row(&phase.phase, &phase.metrics));
    }
    table.row(latency_row("whole run", &summary.overall));
    headed(
        "Metrics by phase; \"sent\" latencies count from the actual start of the call, others from the intended start",
        &table,
    )
}

fn latency_row(name: &str, metrics: &Metrics) -> Vec<String> {
    vec![
        name.to_owned(),
        shown(metrics.goodput, rate),
        optional_percent(metrics.availability),
        optional_duration(metrics.latency_p50),
        optional_duration(metrics.latency_p90),
        optional_duration(metrics.latency_p99),
        optional_duration(metrics.latency_p999),
        optional_duration(metrics.uncorrected_p50),
        optional_duration(metrics.uncorrected_p99),
        shown(metrics.attempts_per_call, count),
        metrics.dropped.to_string(),
        metrics.duplicates.to_string(),
    ]
}

/// Returns the table of the messages of replies that stream, by phase.
pub(super) fn streams(analysis: &RunAnalysis) -> String {
    let summary = &analysis.summary;
    if !summary.has_streams() {
        return String::new();
    }
    let columns: Vec<_> = STREAM_COLUMNS
        .iter()
        .enumerate()
        .map(|(place, name)| (*name, if place == 0 { Align::Left } else { Align::Right }))
        .collect();
    let mut table = TextTable::new(&columns);
    for phase in &summary.phases {
        table.row(stream_row(&phase.phase, &phase.metrics).to_vec());
    }
    table.row(stream_row("whole run", &summary.overall).to_vec());
    headed("Messages of replies that stream; the first one counts from the intended start of the call", &table)
}

/// The columns of the messages of streams.
pub(crate) const STREAM_COLUMNS: [&str; 8] =
    ["phase", "messages", "lost", "first p50", "first p95", "first max", "gap p95", "gap max"];

/// Returns the figures of the messages of streams, for [`STREAM_COLUMNS`].
pub(crate) fn stream_row(name: &str, metrics: &Metrics) -> [String; 8] {
    [
        name.to_owned(),
        metrics.messages.to_string(),
        metrics.messages_lost.to_string(),
        optional_duration(metrics.first_message_p50),
        optional_duration(metrics.first_message_p95),
        optional_duration(metrics.first_message_max),
        optional_duration(metrics.message_gap_p95),
        optional_duration(metrics.message_gap_max),
    ]
}

/// Returns the table of the impact of each fault.
pub(super) fn faults(analysis: &RunAnalysis) -> String {
    if analysis.faults.is_empty() {
        return String::new();
    }
    let mut table = TextTable::new(&[
        ("fault", Align::Left),
        ("kind", Align::Left),
        ("target", Align::Left),
        ("detected in", Align::Right),
        ("recovered in", Align::Right),
        ("lost", Align::Right),
        ("max backlog", Align::Right),
        ("retries", Align::Right),
        ("failovers", Align::Right),
        ("attempts/call", Align::Right),
    ]);
    for impact in &analysis.faults {
        table.row(vec![
            format!("fault-{}", impact.fault.index),
            impact.fault.kind.clone(),
            impact.fault.targets.join(", "),
            impact.fault.time_to_detect_s.map_or("never".to_owned(), |seconds| optional_duration(Some(seconds))),
            recovery(&impact.fault),
            impact.goodput_lost.to_string(),
            impact.goodput_behind_max.to_string(),
            impact.retries.to_string(),
            impact.failovers.to_string(),
            shown(impact.attempts_per_call, count),
        ]);
    }
    headed("Impact of each fault: requests lost, and the greatest backlog of successes", &table)
}

/// Returns the recovery time of a fault, or `never`.
pub(crate) fn recovery(fault: &FaultSummary) -> String {
    match (fault.recovery_time_s, fault.recovered) {
        (None, Some(false)) => "never".to_owned(),
        (seconds, _) => optional_duration(seconds),
    }
}

/// Returns the table of latencies before, during and after each fault.
pub(super) fn requests_around_faults(analysis: &RunAnalysis) -> String {
    if analysis.faults.is_empty() {
        return String::new();
    }
    let mut table = TextTable::new(&[
        ("fault", Align::Left),
        ("", Align::Left),
        ("requests", Align::Right),
        ("p50", Align::Right),
        ("p95", Align::Right),
        ("p99", Align::Right),
        ("max", Align::Right),
    ]);
    for impact in &analysis.faults {
        let name = format!("fault-{}", impact.fault.index);
        let stretches = [("before", &impact.before), ("during", &impact.during), ("after", &impact.after)];
        for (index, (stretch, latency)) in stretches.into_iter().enumerate() {
            let name = if index == 0 { name.clone() } else { String::new() };
            let mut cells = vec![name, stretch.to_owned()];
            cells.extend(latency_cells(latency));
            table.row(cells);
        }
    }
    headed("Latency before, during and after each fault", &table)
}

fn latency_cells(latency: &Latency) -> [String; 5] {
    [
        latency.requests.to_string(),
        optional_duration(latency.p50_s),
        optional_duration(latency.p95_s),
        optional_duration(latency.p99_s),
        optional_duration(latency.max_s),
    ]
}

/// Returns the episodes that the request log shows by itself, beside the faults that were injected.
pub(super) fn detection(analysis: &RunAnalysis) -> String {
    let found = match analysis.episodes.len() {
        0 => "nothing unusual".to_owned(),
        1 => "1 episode".to_owned(),
        count => format!("{count} episodes"),
    };
    let mut text = format!("Detected from the request log alone: {found}\n");
    if !analysis.episodes.is_empty() {
        text.push_str(&format!("\n{}", episodes(analysis).render()));
    }
    if !analysis.faults.is_empty() {
        text.push_str(&format!("\n{}", sightings(analysis).render()));
    }
    text
}

fn episodes(analysis: &RunAnalysis) -> TextTable {
    let mut table = TextTable::new(&[
        ("episode", Align::Left),
        ("from", Align::Right),
        ("to", Align::Right),
        ("min success", Align::Right),
        ("usual", Align::Right),
        ("max p95", Align::Right),
        ("usual", Align::Right),
        ("fault", Align::Left),
    ]);
    for (index, episode) in analysis.episodes.iter().enumerate() {
        let of_episode = analysis.sightings.iter().filter(|sighting| sighting.episode == Some(index));
        let faults: Vec<String> = of_episode.map(|sighting| format!("fault-{}", sighting.fault)).collect();
        table.row(vec![
            format!("episode-{index}"),
            moment_s(episode.start_s),
            moment_s(episode.end_s),
            optional_percent(episode.success_rate_min),
            optional_percent(Some(episode.usual_success_rate)),
            optional_duration(episode.latency_p95_max_s),
            optional_duration(Some(episode.usual_latency_p95_s)),
            if faults.is_empty() { episode.without_fault().to_owned() } else { faults.join(", ") },
        ]);
    }
    table
}

fn sightings(analysis: &RunAnalysis) -> TextTable {
    let mut table = TextTable::new(&[
        ("fault", Align::Left),
        ("actual start", Align::Right),
        ("detected as", Align::Left),
        ("start error", Align::Right),
        ("end error", Align::Right),
    ]);
    for (impact, sighting) in analysis.faults.iter().zip(&analysis.sightings) {
        let unseen = match impact.fault.recovery_time_s {
            Some(0.0) => "not detected: requests were not affected",
            _ => "not detected",
        };
        table.row(vec![
            format!("fault-{}", impact.fault.index),
            moment_s(impact.fault.start_us as f64 / 1e6),
            sighting.episode.map_or(unseen.to_owned(), |episode| format!("episode-{episode}")),
            signed_duration(sighting.start_error_s),
            signed_duration(sighting.end_error_s),
        ]);
    }
    table
}

/// Returns the table of outcomes, and of the servers that gave final answers.
pub(super) fn answers(analysis: &RunAnalysis) -> String {
    let summary = &analysis.summary;
    if summary.overall.requests == 0 {
        return String::new();
    }
    let mut table = TextTable::new(&[("outcome", Align::Left), ("requests", Align::Right), ("share", Align::Right)]);
    let statuses = summary.statuses.iter().map(|(status, requests)| (status.clone(), *requests));
    let servers = summary.servers.iter().map(|(server, requests)| (format!("answered by {server}"), *requests));
    for (outcome, requests) in statuses.chain(servers) {
        let share = requests as f64 / summary.overall.requests as f64;
        table.row(vec![outcome, requests.to_string(), optional_percent(Some(share))]);
    }
    headed("Outcomes of requests, and final responses by server", &table)
}

/// Returns the table of attempts by server and status.
pub(super) fn attempts(analysis: &RunAnalysis) -> String {
    if analysis.servers.is_empty() {
        return String::new();
    }
    let columns = [("server", Align::Left), ("status", Align::Left), ("attempts", Align::Right)];
    let mut table = TextTable::new(&columns);
    for tally in &analysis.servers {
        table.row(vec![tally.server.clone(), tally.status.clone(), tally.attempts.to_string()]);
    }
    headed("Statuses of attempts by server", &table)
}

/// Returns the table of the kinds of requests, if the load has kinds.
pub(super) fn kinds(analysis: &RunAnalysis) -> String {
    if analysis.kinds.is_empty() {
        return String::new();
    }
    let columns = KIND_COLUMNS.map(|column| (column, if column == "kind" { Align::Left } else { Align::Right }));
    let mut table = TextTable::new(&columns);
    analysis.kinds.iter().for_each(|tally| table.row(kind_row(tally)));
    headed("Requests by kind", &table)
}

/// The columns of the table of kinds.
pub(crate) const KIND_COLUMNS: [&str; 7] = ["kind", "requests", "success", "p50", "p95", "p99", "max"];

/// Returns the cells of a kind.
pub(crate) fn kind_row(tally: &KindTally) -> Vec<String> {
    let Latency { requests, p50_s, p95_s, p99_s, max_s } = tally.latency;
    let success = tally.succeeded as f64 / requests as f64;
    let counts = [tally.kind.clone(), requests.to_string(), optional_percent(Some(success))];
    counts.into_iter().chain([p50_s, p95_s, p99_s, max_s].map(optional_duration)).collect()
}

/// Returns the summary. Of a run that is not complete its first word says so instead of whether expectations hold.
pub(super) fn summary(analysis: &RunAnalysis) -> String {
    let text = analysis.summary.render();
    match text.split_once("  ").filter(|_| analysis.state.is_some()) {
        Some((_, rest)) => format!("{INTERRUPTED}  {rest}"),
        None => text,
    }
}

/// The most characters of a note.
const NOTE_MAX: usize = 2_000;

/// Returns a line for each note.
pub(super) fn notes(notes: &[String]) -> String {
    notes.iter().map(|note| format!("  note: {}\n", note.visible_within(NOTE_MAX))).collect()
}

/// Returns the folder of the run, its calibration and host, and the command that repeats it.
pub(super) fn origin(analysis: &RunAnalysis) -> String {
    let mut text = format!("  run     {}\n", analysis.place.visible());
    if let Some(calibration) = analysis.info.as_ref().and_then(|info| info.calibration.as_ref()) {
        text.push_str(&format!("  times   calibration {}, sha256 {}\n", calibration.name, calibration.sha256));
    }
    if let Some(host) = analysis.info.as_ref().and_then(|info| info.host.as_ref()) {
        text.push_str(&format!("  host    {}, {} processors\n", host.operating_system, host.cores));
    }
    if let Some(replay) = &analysis.replay {
        text.push_str(&format!("  replay  {replay}\n"));
    }
    text
}
