//! The alert rules of objectives as a file for Prometheus.

use std::{fmt::Write as _, time::Duration};

use super::{
    burn::AlertRule,
    settings::{Slo, SloKind},
};
use crate::{
    export::{Family, bound_text, family::Unit},
    settings::duration,
    status::Outcome,
};

/// The metric of the recording rules, without the window with which it ends.
const ERRORS: &str = "rehearsal:slo_errors:ratio_rate";

/// Returns a duration as Prometheus writes it, which has whole milliseconds: `1h12m`, `5s`, `417ms`, `1s500ms`.
pub(super) fn time(duration: Duration) -> String {
    let mut ms = duration.as_millis();
    let mut text = String::new();
    for (unit, scale) in [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)] {
        if ms >= scale {
            // Writing to a string cannot fail.
            let _ = write!(text, "{}{unit}", ms / scale);
            ms %= scale;
        }
    }
    if text.is_empty() { "0s".to_owned() } else { text }
}

/// Returns the expression of the share of bad requests of an objective over a window.
pub fn error_ratio(slo: &Slo, window: Duration) -> String {
    let window = time(window);
    let ok = format!("status=\"{}\"", Outcome::OK.name());
    let kind = slo.request.as_ref().map(|request| format!("kind=\"{request}\""));
    let of_kind = |labels: String| kind.iter().fold(labels, |labels, kind| format!("{labels},{kind}"));
    match (slo.kind, slo.threshold) {
        (SloKind::Latency, Some(threshold)) => {
            let name = Family::RequestDuration.name();
            let bound = bound_text(Unit::Seconds, u64::try_from(threshold.as_micros()).unwrap_or(u64::MAX));
            let ok = of_kind(ok);
            format!(
                "1 - sum(rate({name}_bucket{{{ok},le=\"{bound}\"}}[{window}])) / sum(rate({name}_count{{{ok}}}[{window}]))"
            )
        }
        _ => {
            let name = Family::Requests.sample_name();
            let bad = of_kind(ok.replace('=', "!="));
            let all = kind.as_ref().map(|kind| format!("{{{kind}}}")).unwrap_or_default();
            format!("sum(rate({name}{{{bad}}}[{window}])) / sum(rate({name}{all}[{window}]))")
        }
    }
}

/// Returns the condition of a rule as one expression, without recording rules.
pub fn condition(slo: &Slo, rule: &AlertRule) -> String {
    condition_of(slo, rule, |window| format!("({})", error_ratio(slo, window)))
}

fn condition_of(slo: &Slo, rule: &AlertRule, ratio: impl Fn(Duration) -> String) -> String {
    let threshold = format!("{} * {}", rule.burn_rate, slo.error_budget());
    format!("{} > {threshold} and {} > {threshold}", ratio(rule.long), ratio(rule.short))
}

/// Returns the rules of objectives as a file for Prometheus: a group for each, with a recording rule for each window, and the alerts.
///
/// ```
/// use kernel::{scenario::Scenario, slo::prometheus::rules_file};
///
/// let text = "name = \"s\"\nduration = \"1s\"\nload = { rate = 5 }\n[[slo]]\nname = \"a\"\nobjective = 0.999\n";
/// let scenario = Scenario::parse("s.toml", text, &[])?;
/// let file = rules_file(&scenario.slos);
/// assert!(file.contains("expr: 'rehearsal:slo_errors:ratio_rate1h{slo=\"a\"} > 14.4 * 0.001 and "), "{file}");
/// # Ok::<(), kernel::scenario::ScenarioError>(())
/// ```
pub fn rules_file(slos: &[Slo]) -> String {
    let groups: Vec<String> = slos.iter().map(group).collect();
    format!("groups:\n{}", groups.concat())
}

/// Returns the group of an objective.
fn group(slo: &Slo) -> String {
    let Slo { name, hold, evaluation_interval, .. } = slo;
    let mut text = format!("  - name: slo-{name}\n    interval: {}\n    rules:\n", time(*evaluation_interval));
    let rules = slo.rules();
    let mut windows: Vec<Duration> = rules.iter().flat_map(|rule| [rule.short, rule.long]).collect();
    windows.sort_unstable();
    windows.dedup();
    let mut line = |indent: usize, line: String| text.push_str(&format!("{:indent$}{line}\n", ""));
    for window in windows {
        line(6, format!("- record: {ERRORS}{}", time(window)));
        line(8, format!("expr: '{}'", error_ratio(slo, window)));
        line(8, format!("labels: {{ slo: {name:?} }}"));
    }
    for rule in &rules {
        let recorded = |window| format!("{ERRORS}{}{{slo=\"{name}\"}}", time(window));
        line(6, format!("- alert: {}", rule.alert()));
        line(8, format!("expr: '{}'", condition_of(slo, rule, recorded)));
        line(8, format!("for: {}", time(*hold)));
        let severity: &str = rule.severity.into();
        line(8, format!("labels: {{ slo: {name:?}, rule: {}, severity: {severity} }}", rule.name));
        line(8, "annotations:".to_owned());
        line(10, format!("summary: '{}'", summary(slo, rule)));
        line(10, format!("description: '{}'", description(slo, rule)));
    }
    text
}

/// Returns the annotation `summary` of an alert.
pub fn summary(slo: &Slo, rule: &AlertRule) -> String {
    format!(
        "{}: errors spend the error budget at more than {} times the rate that it allows.",
        slo.name, rule.burn_rate
    )
}

/// Returns the annotation `description` of an alert.
pub fn description(slo: &Slo, rule: &AlertRule) -> String {
    format!(
        "The objective: {}, over {}. More than {} % of requests were bad both in the last {} and in the last {}.",
        slo.description(),
        time(slo.window),
        percent(rule.burn_rate * slo.error_budget()),
        time(rule.long),
        time(rule.short),
    )
}

/// Returns a share in percent, to seven decimals.
fn percent(share: f64) -> f64 {
    (share * 1e9).round() / 1e7
}

impl Slo {
    /// Returns the objective in words: `99.5 % of requests are OK`.
    pub fn description(&self) -> String {
        let share = percent(self.objective);
        let kind = self.request.as_ref().map(|request| format!(" of the kind {request}")).unwrap_or_default();
        match self.threshold {
            None => format!("{share} % of requests{kind} are OK"),
            Some(threshold) => format!("{share} % of OK requests{kind} take up to {}", duration::text(threshold)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_the_units_of_prometheus() {
        for (ms, text) in [(0, "0s"), (417, "417ms"), (1_500, "1s500ms"), (4_320_000, "1h12m"), (259_200_000, "3d")] {
            assert_eq!(time(Duration::from_millis(ms)), text);
        }
    }

    #[test]
    fn a_latency_is_counted_by_a_bucket_and_a_budget_has_the_digits_of_its_objective() {
        let slo = Slo {
            kind: SloKind::Latency,
            threshold: Some(Duration::from_secs(1)),
            objective: 0.9999,
            ..Slo::example()
        };
        assert_eq!(
            error_ratio(&slo, Duration::from_secs(60)),
            "1 - sum(rate(rehearsal_request_duration_seconds_bucket{status=\"OK\",le=\"1.0\"}[1m])) / \
             sum(rate(rehearsal_request_duration_seconds_count{status=\"OK\"}[1m]))"
        );
        assert!(condition(&slo, &slo.rules()[0]).contains("> 14.4 * 0.0001 and"));
        assert_eq!(slo.description(), "99.99 % of OK requests take up to 1s");
    }

    #[test]
    fn an_objective_of_a_kind_of_requests_reads_the_series_of_that_kind_alone() {
        let slo = Slo { request: Some("thumbnail".to_owned()), ..Slo::example() };
        let minute = Duration::from_secs(60);
        assert_eq!(
            error_ratio(&slo, minute),
            "sum(rate(rehearsal_requests_total{status!=\"OK\",kind=\"thumbnail\"}[1m])) / \
             sum(rate(rehearsal_requests_total{kind=\"thumbnail\"}[1m]))"
        );
        assert_eq!(slo.description(), "99.5 % of requests of the kind thumbnail are OK");
        let slo = Slo { kind: SloKind::Latency, threshold: Some(Duration::from_millis(250)), ..slo };
        assert_eq!(
            error_ratio(&slo, minute),
            "1 - sum(rate(rehearsal_request_duration_seconds_bucket{status=\"OK\",kind=\"thumbnail\",le=\"0.25\"}[1m])) / \
             sum(rate(rehearsal_request_duration_seconds_count{status=\"OK\",kind=\"thumbnail\"}[1m]))"
        );
        assert_eq!(slo.description(), "99.5 % of OK requests of the kind thumbnail take up to 250ms");
    }

    #[test]
    fn a_group_records_each_window_once() {
        let file = rules_file(&[Slo::example()]);
        for window in ["5s", "30s", "1m", "6m", "1h12m"] {
            assert_eq!(file.matches(&format!("- record: {ERRORS}{window}\n")).count(), 1, "{file}");
        }
        assert_eq!(file.matches("- alert:").count(), 3);
    }
}
