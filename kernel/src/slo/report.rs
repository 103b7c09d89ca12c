//! The alerts of a run: when they fired, after which fault, how late, and which were false.

use serde::{Deserialize, Serialize};

use super::{
    burn::{AlertRule, Severity},
    firing::{Spell, spells},
    history::BurnRates,
    scraped::Scraped,
    settings::Slo,
};
use crate::{
    measure::{FaultSummary, Summary},
    record::Rows,
};

/// Microseconds in a millisecond.
const US_PER_MS: u64 = 1_000;

/// The alerts of a run. Times named `_us` are microseconds since the run began.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AlertReport {
    /// The time at which the run ended.
    pub end_us: u64,
    /// The faults of the run, by index.
    pub faults: Vec<FaultTimes>,
    /// The objectives, in the order of the scenario.
    pub slos: Vec<SloAlerts>,
}

/// A fault, and the time for which it may be the reason of an alert.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FaultTimes {
    /// Its index in the scenario, from 0.
    pub index: usize,
    /// Its kind, such as `crash`.
    pub kind: String,
    /// The servers that it began on.
    pub targets: Vec<String>,
    /// The time at which it began.
    pub start_us: u64,
    /// The time at which it was lifted; null if the run ended first.
    pub lifted_us: Option<u64>,
    /// The end of its phase: it is lifted, and the client has recovered, or the run has ended.
    pub over_us: u64,
}

/// The alerts of an objective.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct SloAlerts {
    /// The name of the objective.
    pub slo: String,
    /// The objective in words, such as `99.5 % of requests are OK`.
    pub description: String,
    /// Number of requests that are good.
    pub good: u64,
    /// Number of requests that are bad.
    pub bad: u64,
    /// The share of the error budget of its window that the run has spent, if load goes on at the same rate; null without requests.
    pub budget_spent: Option<f64>,
    /// Its rules, the fastest first.
    pub rules: Vec<RuleAlerts>,
}

/// The alerts of a rule.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleAlerts {
    /// The rule.
    #[serde(flatten)]
    pub rule: RuleText,
    /// The times during which it fires, in order.
    pub firings: Vec<Firing>,
    /// Each fault, and what the rule made of it.
    pub faults: Vec<FaultAlert>,
}

/// A rule in the words of Prometheus.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RuleText {
    /// `fast`, `slow` or `steady`.
    pub rule: String,
    /// How urgent it is.
    pub severity: Severity,
    /// The multiple of the error budget.
    pub burn_rate: f64,
    /// The long window, such as `1m`.
    pub long: String,
    /// The short window, such as `5s`.
    pub short: String,
}

/// A time during which an alert fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Firing {
    /// The time from which on its condition holds.
    pub pending_us: u64,
    /// The time at which it fires.
    pub fired_us: u64,
    /// The time at which it is resolved; null if the run ended first.
    pub resolved_us: Option<u64>,
    /// The index of the fault that it is after: of those that may be its reason the last one to begin, if possible one whose errors are over
    /// the error budget. Null for a false alarm.
    pub fault: Option<usize>,
}

/// The alert of a rule about a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FaultAlert {
    /// The index of the fault.
    pub fault: usize,
    /// The reaction of the alert.
    pub outcome: FaultOutcome,
    /// Number of bad requests in the phase of the fault.
    pub bad: u64,
    /// Time from the start of the fault until the alert fires; null unless it does.
    pub delay_us: Option<u64>,
    /// Time from when the fault was lifted until the alert is resolved, negative if it was resolved before; null if one of the two did not
    /// happen.
    pub after_lifted_us: Option<i64>,
}

/// The reaction of an alert to a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum FaultOutcome {
    /// It fired.
    Fired,
    /// It was firing when the fault began, and the share of bad requests in the phase of the fault was over the error budget.
    Firing,
    /// It did not fire, and the share of bad requests in the phase of the fault was over the error budget.
    Missed,
    /// It did not fire because of it, and that share was within the error budget.
    InBudget,
}

impl AlertReport {
    /// Evaluates the rules of `slos` over a run, whose `summary` has its faults. It reads the requests once.
    pub fn of_run(slos: &[Slo], rows: &dyn Rows, summary: &Summary) -> Self {
        Self::of_scraped(slos, &scraped(slos, rows, summary), summary)
    }

    /// Evaluates the rules as [`of_run`](Self::of_run) does, and returns the burn rates of each rule of each objective, too.
    pub fn with_burn_rates(slos: &[Slo], rows: &dyn Rows, summary: &Summary) -> (Self, Vec<Vec<BurnRates>>) {
        let scraped = scraped(slos, rows, summary);
        let rates = slos.iter().zip(&scraped).map(|(slo, scraped)| {
            let rules = slo.rules();
            rules.iter().map(|rule| BurnRates::new(scraped, slo, rule)).collect()
        });
        (Self::of_scraped(slos, &scraped, summary), rates.collect())
    }

    fn of_scraped(slos: &[Slo], scraped: &[Scraped], summary: &Summary) -> Self {
        let faults: Vec<FaultTimes> = summary.faults.iter().map(|fault| FaultTimes::new(fault, summary)).collect();
        let alerts = slos.iter().zip(scraped).map(|(slo, scraped)| SloAlerts::new(slo, scraped, &faults));
        let slos = alerts.collect();
        Self { end_us: summary.end_us, faults, slos }
    }
}

/// Returns the counters of each objective over a run.
fn scraped(slos: &[Slo], rows: &dyn Rows, summary: &Summary) -> Vec<Scraped> {
    let mut scraped: Vec<Scraped> = slos.iter().map(Scraped::new).collect();
    rows.each_request(&mut |row| scraped.iter_mut().zip(slos).for_each(|(scraped, slo)| scraped.add(slo, row)));
    scraped.into_iter().map(|scraped| scraped.finish(summary.end_us.max(summary.duration_us))).collect()
}

impl FaultTimes {
    fn new(fault: &FaultSummary, summary: &Summary) -> Self {
        let FaultSummary { index, kind, targets, start_us, lifted_us, .. } = fault.clone();
        let phase = summary.phases.iter().find(|phase| phase.phase == format!("fault-{index}"));
        let over_us = phase.map(|phase| phase.end_us).or(lifted_us).unwrap_or(summary.end_us).max(start_us);
        Self { index, kind, targets, start_us, lifted_us, over_us }
    }

    /// Returns the last time at which an alert of `rule` may begin because of it: its short window is free of the fault's errors
    /// from then on, and they have been scraped and evaluated.
    fn last_us(&self, slo: &Slo, rule: &AlertRule) -> u64 {
        let late = rule.short + slo.scrape_interval + slo.evaluation_interval + slo.hold;
        self.over_us.saturating_add(u64::try_from(late.as_micros()).unwrap_or(u64::MAX))
    }
}

impl SloAlerts {
    fn new(slo: &Slo, scraped: &Scraped, faults: &[FaultTimes]) -> Self {
        let end_us = scraped.end_ms() * US_PER_MS;
        let (good, bad) = scraped.counts(0, end_us);
        let all = (good + bad) as f64 * slo.window.as_micros() as f64 / end_us as f64;
        let budget_spent = (good + bad > 0).then(|| bad as f64 / (all * slo.error_budget()));
        let rules = slo.rules().iter().map(|rule| RuleAlerts::new(slo, scraped, rule, faults)).collect();
        Self { slo: slo.name.clone(), description: slo.description(), good, bad, budget_spent, rules }
    }
}

impl RuleAlerts {
    fn new(slo: &Slo, scraped: &Scraped, rule: &AlertRule, faults: &[FaultTimes]) -> Self {
        let harms: Vec<Harm> = faults.iter().map(|fault| Harm::new(slo, scraped, fault)).collect();
        let firing = |spell: Spell| {
            let fired_us = spell.fired_ms * US_PER_MS;
            let may_be =
                |(fault, _): &(&FaultTimes, _)| fault.start_us <= fired_us && fired_us <= fault.last_us(slo, rule);
            // Of several that begin at once, the first one in the scenario.
            let reasons = faults.iter().zip(&harms).rev().filter(may_be);
            let reason = reasons.max_by_key(|(fault, harm)| (harm.is_over_budget, fault.start_us));
            Firing {
                pending_us: spell.pending_ms * US_PER_MS,
                fired_us,
                resolved_us: spell.resolved_ms.map(|at| at * US_PER_MS),
                fault: reason.map(|(fault, _)| fault.index),
            }
        };
        let firings: Vec<Firing> = spells(scraped, slo, rule).into_iter().map(firing).collect();
        let faults = faults.iter().zip(&harms).map(|(fault, harm)| FaultAlert::new(fault, harm, &firings)).collect();
        Self { rule: RuleText::new(rule), firings, faults }
    }

    /// Returns the number of times that it fired without a fault as its reason.
    pub fn false_alarms(&self) -> u64 {
        self.firings.iter().filter(|firing| firing.fault.is_none()).count() as u64
    }
}

impl RuleText {
    fn new(rule: &AlertRule) -> Self {
        let [long, short] = [rule.long, rule.short].map(super::prometheus::time);
        Self { rule: rule.name.to_owned(), severity: rule.severity, burn_rate: rule.burn_rate, long, short }
    }
}

/// The bad requests in the phase of a fault.
struct Harm {
    bad: u64,
    /// True if their share is over the error budget.
    is_over_budget: bool,
}

impl Harm {
    fn new(slo: &Slo, scraped: &Scraped, fault: &FaultTimes) -> Self {
        let (good, bad) = scraped.counts(fault.start_us, fault.over_us);
        Self { bad, is_over_budget: bad as f64 > slo.error_budget() * (good + bad) as f64 }
    }
}

impl FaultAlert {
    fn new(fault: &FaultTimes, harm: &Harm, firings: &[Firing]) -> Self {
        let Harm { bad, is_over_budget } = *harm;
        // Of faults at one time, an alert has one as its reason, and is there for all that do harm.
        let is_there = |firing: &&Firing| {
            let is_after_start = firing.resolved_us.is_none_or(|resolved_us| resolved_us > fault.start_us);
            firing.fault == Some(fault.index) || is_over_budget && firing.fired_us <= fault.over_us && is_after_start
        };
        let Some(firing) = firings.iter().find(is_there) else {
            let outcome = if is_over_budget { FaultOutcome::Missed } else { FaultOutcome::InBudget };
            return Self { fault: fault.index, outcome, bad, delay_us: None, after_lifted_us: None };
        };
        let delay_us = firing.fired_us.checked_sub(fault.start_us);
        let outcome = if delay_us.is_some() { FaultOutcome::Fired } else { FaultOutcome::Firing };
        let times = firing.resolved_us.zip(fault.lifted_us);
        let after_lifted_us = times.map(|(resolved_us, lifted_us)| resolved_us.cast_signed() - lifted_us.cast_signed());
        Self { fault: fault.index, outcome, bad, delay_us, after_lifted_us }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        measure::{RunLabel, RunRows},
        record::{Event, EventRow, Records, RequestRow},
        scenario::Scenario,
    };

    const SCENARIO: &str = r#"
name = "outage"
duration = "200s"
load = { rate = 10 }
[[fault]]
at = "100s"
kind = "errors"
rate = 1.0
status = "UNAVAILABLE"
target = "server-0"
duration = "10s"
[[slo]]
name = "availability"
objective = 0.995
window = "12h"
[[slo]]
name = "latency"
objective = 0.99
kind = "latency"
threshold = "250ms"
window = "12h"
"#;

    fn request(id: u64, status: &str, latency_us: u64) -> RequestRow {
        let intended_us = id * 100_000;
        let row = serde_json::json!({
            "id": id, "intended_us": intended_us, "sent_us": intended_us, "done_us": intended_us + latency_us, "latency_us": latency_us,
            "status": status, "server": "server-0", "attempts": 1, "failovers": 0, "size": "8x8",
        });
        serde_json::from_value(row).unwrap()
    }

    fn event(at_us: u64, event: Event) -> EventRow {
        EventRow {
            at_us,
            source: "nemesis".into(),
            event,
            target: Some("server-0".into()),
            cause: Some("errors".into()),
            fault: Some(0),
            request: None,
            call: None,
            attempt: None,
            duration_us: None,
        }
    }

    /// Returns the alerts of a run with 10 requests a second, of which those in these times, in seconds, have this status and latency.
    fn alerts(bad: &[(std::ops::Range<u64>, &str, u64)]) -> AlertReport {
        let requests = (0..2_000).map(|id| {
            let found = bad.iter().find(|(times, ..)| times.contains(&(id / 10)));
            found.map_or_else(|| request(id, "OK", 1_000), |(_, status, latency)| request(id, status, *latency))
        });
        of_requests(SCENARIO, requests.collect()).0
    }

    fn of_requests(scenario: &str, requests: Vec<RequestRow>) -> (AlertReport, Vec<Vec<BurnRates>>) {
        let scenario = Scenario::parse("outage.toml", scenario, &[]).unwrap();
        let events = vec![event(100_000_000, Event::FaultStart), event(110_000_000, Event::FaultEnd)];
        let records = Records { requests, events, ..Records::default() };
        let label = RunLabel { scenario: "outage", seed: 1, world: "sim", profile: None };
        let rows = RunRows::new(2, scenario.duration, &records);
        let summary = Summary::compute(label, &rows, &scenario.script());
        let (report, rates) = AlertReport::with_burn_rates(&scenario.slos, &records, &summary);
        assert_eq!(AlertReport::of_run(&scenario.slos, &records, &summary), report);
        (report, rates)
    }

    #[test]
    fn an_objective_of_a_kind_counts_the_requests_of_that_kind_alone_and_its_rates_cross_the_threshold_where_it_fires()
    {
        let kinds = "[[load.request]]\nname = \"small\"\n[[load.request]]\nname = \"large\"\n";
        let head = SCENARIO
            .split("[[slo]]")
            .next()
            .unwrap()
            .replace("load = { rate = 10 }", &format!("[load]\nrate = 10\n{kinds}"));
        let slo = |name: &str| {
            format!("[[slo]]\nname = \"{name}\"\nobjective = 0.995\nwindow = \"12h\"\nrequest = \"{name}\"\n")
        };
        let requests = (0..2_000).map(|id| {
            let is_small = id % 2 == 0;
            let status = if is_small && (1_000..1_100).contains(&id) { "UNAVAILABLE" } else { "OK" };
            RequestRow { kind: Some(if is_small { "small" } else { "large" }.into()), ..request(id, status, 1_000) }
        });
        let (report, rates) = of_requests(&(head + &slo("small") + &slo("large")), requests.collect());
        let [small, large] = &report.slos[..] else { panic!() };
        assert_eq!(((small.good, small.bad), (large.good, large.bad)), ((950, 50), (1_000, 0)));
        assert_eq!(small.description, "99.5 % of requests of the kind small are OK");
        // Half as many requests, all of which fail: the same shares as if there were no kinds.
        let [firing] = small.rules[0].firings[..] else { panic!("{:?}", small.rules[0].firings) };
        assert_eq!((firing.fired_us, firing.resolved_us, firing.fault), (105_000_000, Some(115_000_000), Some(0)));
        assert!(large.rules.iter().all(|rule| rule.firings.is_empty()));
        let above = |points: &[(u64, f64)]| -> Vec<u64> {
            points.iter().filter(|(_, rate)| *rate > 14.4).map(|(at_us, _)| at_us / 1_000_000).collect()
        };
        let fast = &rates[0][0];
        assert_eq!((above(&fast.long).first(), above(&fast.short).last()), (Some(&105), Some(&114)));
        assert_eq!((rates.len(), rates[0].len(), fast.long.len()), (2, 3, 201));
        assert!(rates[1].iter().all(|rule| rule.long.iter().all(|(_, rate)| rate.is_nan() || *rate == 0.0)));
    }

    #[test]
    fn an_outage_fires_the_fast_rule_once_its_long_window_has_spent_enough() {
        let report = alerts(&[(100..110, "UNAVAILABLE", 1_000)]);
        let [availability, latency] = &report.slos[..] else { panic!() };
        assert_eq!((availability.good, availability.bad), (1_900, 100));
        let fast = &availability.rules[0];
        // 7.2 % of a minute are 4.3 s.
        let [firing] = fast.firings[..] else { panic!("{:?}", fast.firings) };
        assert_eq!((firing.fired_us, firing.fault), (105_000_000, Some(0)));
        // The short window is free of errors 5 s after the last one.
        assert_eq!(firing.resolved_us, Some(115_000_000));
        let outcome = fast.faults[0];
        assert_eq!((outcome.outcome, outcome.bad), (FaultOutcome::Fired, 100));
        assert_eq!((outcome.delay_us, outcome.after_lifted_us), (Some(5_000_000), Some(5_000_000)));
        assert_eq!(fast.false_alarms(), 0);
        assert!(latency.rules.iter().all(|rule| rule.firings.is_empty()), "failures are not slow");
        assert_eq!(latency.rules[0].faults[0].outcome, FaultOutcome::InBudget);
    }

    #[test]
    fn errors_without_a_fault_are_a_false_alarm_and_a_fault_with_few_is_missed() {
        let report = alerts(&[(50..60, "INTERNAL", 1_000), (101..103, "UNAVAILABLE", 1_000)]);
        let fast = &report.slos[0].rules[0];
        let fired: Vec<_> = fast.firings.iter().map(|firing| (firing.fired_us / 1_000_000, firing.fault)).collect();
        assert_eq!(fired[0], (54, None));
        let fast = alerts(&[(101..103, "UNAVAILABLE", 1_000)]).slos[0].rules[0].clone();
        assert_eq!((fast.firings.len(), fast.faults[0].outcome), (0, FaultOutcome::Missed));
        assert_eq!(alerts(&[]).slos[0].rules[0].faults[0].outcome, FaultOutcome::InBudget);
    }

    #[test]
    fn an_alert_that_fires_already_when_a_fault_begins_is_of_both() {
        let report = alerts(&[(90..110, "UNAVAILABLE", 1_000)]);
        let fast = &report.slos[0].rules[0];
        assert_eq!((fast.firings[0].fault, fast.faults[0].outcome), (None, FaultOutcome::Firing));
    }

    #[test]
    fn slow_requests_spend_the_budget_of_a_latency() {
        let report = alerts(&[(100..110, "OK", 400_000)]);
        let [availability, latency] = &report.slos[..] else { panic!() };
        assert!(availability.rules.iter().all(|rule| rule.firings.is_empty()));
        assert_eq!((latency.good, latency.bad), (1_900, 100));
        assert_eq!(latency.rules[0].faults[0].outcome, FaultOutcome::Fired);
    }
}
