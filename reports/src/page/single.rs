//! The page of one run.

use kernel::measure::{
    CheckedExpectation, Metrics,
    text::{
        MISSING,
        quantity::{count, moment, quantity, rate},
        shown,
    },
};

use super::{document, escaped, notes, plots, table};
use crate::{
    analyse::Analysis,
    figure::Figure,
    text::{moment_s, optional_duration, optional_percent, recovery, signed_duration},
};

/// The page of a run with its plots. The same analysis gives the same bytes.
pub fn report(analysis: &Analysis, figures: &[Figure]) -> String {
    let body = [
        head(analysis),
        numbers(&analysis.summary.overall),
        expectations(&analysis.summary.expectations),
        plots(figures),
        phases(analysis),
        faults(analysis),
        detection(analysis),
        attempts(analysis),
        notes(&analysis.notes),
        origin(analysis),
    ];
    document(&analysis.title, &body.concat())
}

fn head(analysis: &Analysis) -> String {
    let summary = &analysis.summary;
    let (class, verdict) = match (summary.expectations.is_empty(), summary.pass) {
        (true, _) => ("none", "nothing expected"),
        (_, true) => ("pass", "PASS"),
        (_, false) => ("fail", "FAIL"),
    };
    let question = analysis.question.as_ref().map(|text| format!("<p>{}</p>\n", escaped(text))).unwrap_or_default();
    format!("<div class=\"verdict {class}\">{verdict}</div>\n<h1>{}</h1>\n{question}", escaped(&analysis.title))
}

fn numbers(overall: &Metrics) -> String {
    let numbers = [
        ("requests", overall.requests.to_string()),
        ("success rate", optional_percent(overall.success_rate)),
        ("availability", optional_percent(overall.availability)),
        ("goodput", shown(overall.goodput, rate)),
        ("latency p50", optional_duration(overall.latency_p50)),
        ("latency p99", optional_duration(overall.latency_p99)),
        ("attempts a call", shown(overall.attempts_per_call, count)),
        ("slowest recovery", optional_duration(overall.recovery_time)),
    ];
    let items = numbers.map(|(name, value)| format!("<div><dt>{name}</dt><dd>{}</dd></div>\n", escaped(&value)));
    format!("<dl class=\"numbers\">\n{}</dl>\n", items.concat())
}

fn expectations(expectations: &[CheckedExpectation]) -> String {
    if expectations.is_empty() {
        return String::new();
    }
    let row = |checked: &CheckedExpectation| {
        let metric = checked.metric.parse().ok();
        let bound = |value: Option<f64>| value.map(|value| quantity(metric, value)).unwrap_or_default();
        let during = checked.during.as_ref().map(|phase| format!(" during {phase}")).unwrap_or_default();
        let (class, mark) = if checked.pass { ("ok", "✓") } else { ("bad", "✗") };
        format!(
            "<tr><td class=\"{class}\">{mark} {}{}</td><td>{}</td><td>{}</td><td>{}</td></tr>\n",
            escaped(&checked.metric),
            escaped(&during),
            checked.actual.map_or_else(|| MISSING.to_owned(), |value| quantity(metric, value)),
            bound(checked.min),
            bound(checked.max),
        )
    };
    let rows: String = expectations.iter().map(row).collect();
    format!(
        "<div class=\"scroll\"><table>\n<thead><tr><th>expectation</th><th>actual</th><th>at least</th><th>at most</th>\
         </tr></thead>\n<tbody>\n{rows}</tbody>\n</table></div>\n"
    )
}

fn phases(analysis: &Analysis) -> String {
    let row = |name: &str, metrics: &Metrics| {
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
    };
    let phases = analysis.summary.phases.iter().map(|phase| row(&phase.phase, &phase.metrics));
    let rows: Vec<Vec<String>> = phases.chain([row("whole run", &analysis.summary.overall)]).collect();
    let headings = [
        "phase",
        "requests",
        "success",
        "goodput",
        "p50",
        "p95",
        "p99",
        "max",
        "p99 from sending",
        "attempts/call",
        "failovers",
        "dropped",
    ];
    format!("<h2>By phase</h2>\n{}", table(&headings, &rows))
}

fn faults(analysis: &Analysis) -> String {
    if analysis.faults.is_empty() {
        return String::new();
    }
    let row = |account: &crate::analyse::FaultAccount| {
        let fault = &account.fault;
        vec![
            format!("fault-{} {} {}", fault.index, fault.kind, fault.targets.join(", ")),
            moment(fault.start_us),
            fault.lifted_us.map_or("never".to_owned(), moment),
            fault.time_to_detect_s.map_or("never".to_owned(), |seconds| optional_duration(Some(seconds))),
            recovery(fault),
            account.goodput_lost.to_string(),
            account.goodput_behind_max.to_string(),
            optional_duration(account.before.p95_s),
            optional_duration(account.during.p95_s),
            optional_duration(account.after.p95_s),
        ]
    };
    let rows: Vec<Vec<String>> = analysis.faults.iter().map(row).collect();
    let headings = [
        "fault",
        "at",
        "lifted",
        "detected in",
        "recovered in",
        "successes lost",
        "behind at worst",
        "p95 before",
        "during",
        "after",
    ];
    format!("<h2>Faults</h2>\n{}", table(&headings, &rows))
}

fn detection(analysis: &Analysis) -> String {
    let title = "<h2>Seen in the request log alone</h2>\n";
    if analysis.episodes.is_empty() {
        return format!("{title}<p>Nothing unusual.</p>\n");
    }
    let row = |(index, episode): (usize, &crate::analyse::Episode)| {
        let belonging = analysis.sightings.iter().filter(|sighting| sighting.episode == Some(index));
        let (faults, errors): (Vec<String>, Vec<String>) = belonging
            .map(|sighting| (format!("fault-{}", sighting.fault), signed_duration(sighting.start_error_s)))
            .unzip();
        vec![
            format!("seen-{index}"),
            moment_s(episode.start_s),
            moment_s(episode.end_s),
            optional_percent(Some(episode.success_rate_min)),
            optional_duration(episode.latency_p95_max_s),
            if faults.is_empty() { "none that is known".into() } else { faults.join(", ") },
            errors.join(", "),
        ]
    };
    let rows: Vec<Vec<String>> = analysis.episodes.iter().enumerate().map(row).collect();
    let headings = ["episode", "from", "to", "success at worst", "p95 at worst", "fault", "start error"];
    format!("{title}{}", table(&headings, &rows))
}

fn attempts(analysis: &Analysis) -> String {
    if analysis.servers.is_empty() {
        return String::new();
    }
    let answered = |server: &str| analysis.summary.servers.get(server).copied().unwrap_or(0).to_string();
    let row = |tally: &crate::frame::ServerTally| {
        vec![tally.server.clone(), tally.status.clone(), tally.attempts.to_string(), answered(&tally.server)]
    };
    let rows: Vec<Vec<String>> = analysis.servers.iter().map(row).collect();
    format!(
        "<h2>Who answered what</h2>\n{}",
        table(&["server", "attempts that ended", "attempts", "final answers of the server"], &rows)
    )
}

fn origin(analysis: &Analysis) -> String {
    let mut text = String::new();
    if let Some(replay) = &analysis.replay {
        text.push_str(&format!("<h2>Play it again</h2>\n<pre>{}</pre>\n", escaped(replay)));
    }
    if let Some(info) = &analysis.info {
        let calibration =
            info.calibration.as_ref().map(|found| format!(", calibration {} ({})", found.name, found.sha256));
        let host =
            info.host.as_ref().map(|host| format!(", on {} with {} processors", host.operating_system, host.cores));
        let started = info.started.as_ref().map(|at| format!(", begun {at}"));
        text.push_str(&format!(
            "<p class=\"muted\">Written by version {}{}{}{}.</p>\n",
            escaped(&info.version),
            escaped(&calibration.unwrap_or_default()),
            escaped(&host.unwrap_or_default()),
            escaped(&started.unwrap_or_default()),
        ));
    }
    if let Some(scenario) = &analysis.scenario_text {
        text.push_str(&format!("<h2>The scenario, every default filled in</h2>\n<pre>{}</pre>\n", escaped(scenario)));
    }
    text
}
