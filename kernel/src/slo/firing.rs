//! The state of an alert over the evaluations of its rule.

use std::time::Duration;

use super::{burn::AlertRule, scraped::Scraped, settings::Slo};

/// A time during which an alert fires. Times are milliseconds since the run began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Spell {
    /// The evaluation from which on the condition holds.
    pub(super) pending_ms: u64,
    /// The evaluation at which the alert fires: the condition has held for the objective's `for`.
    pub(super) fired_ms: u64,
    /// The evaluation at which the condition does not hold any more; `None` if the run ended first.
    pub(super) resolved_ms: Option<u64>,
}

/// Evaluates a rule from the start of the run to its end, and returns the times during which its alert fires.
pub(super) fn spells(scraped: &Scraped, slo: &Slo, rule: &AlertRule) -> Vec<Spell> {
    let threshold = rule.burn_rate * slo.error_budget();
    let [long, short] = [rule.long, rule.short].map(ms);
    let exceeds = |window, at| scraped.error_ratio(window, at).is_some_and(|ratio| ratio > threshold);
    of_conditions(instants(scraped, slo).map(|at| (at, exceeds(short, at) && exceeds(long, at))), ms(slo.hold))
}

/// Returns the times of the evaluations of a run, in milliseconds since it began.
pub(super) fn instants(scraped: &Scraped, slo: &Slo) -> impl Iterator<Item = u64> + use<> {
    let step = ms(slo.evaluation_interval).max(1);
    (0..=scraped.end_ms() / step).map(move |index| index * step)
}

/// Returns the times during which an alert fires whose condition is known at each evaluation. A condition that ends before it has held for
/// `hold_ms` leaves no trace.
fn of_conditions(conditions: impl Iterator<Item = (u64, bool)>, hold_ms: u64) -> Vec<Spell> {
    let mut spells: Vec<Spell> = Vec::new();
    let mut since: Option<u64> = None;
    let mut is_firing = false;
    for (at, holds) in conditions {
        match (holds, since) {
            (true, None) => since = Some(at),
            (false, Some(_)) => {
                since = None;
                if let Some(spell) = spells.last_mut().filter(|_| is_firing) {
                    spell.resolved_ms = Some(at);
                }
                is_firing = false;
            }
            _ => {}
        }
        if let Some(pending_ms) = since.filter(|since| !is_firing && at - since >= hold_ms) {
            spells.push(Spell { pending_ms, fired_ms: at, resolved_ms: None });
            is_firing = true;
        }
    }
    spells
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spells(conditions: &str, hold_ms: u64) -> Vec<(u64, u64, Option<u64>)> {
        let conditions = conditions.chars().zip(0_u64..).map(|(holds, second)| (second * 1_000, holds == '!'));
        let spells = of_conditions(conditions, hold_ms).into_iter();
        spells.map(|spell| (spell.pending_ms, spell.fired_ms, spell.resolved_ms)).collect()
    }

    #[test]
    fn an_alert_fires_at_once_without_a_time_to_hold() {
        assert_eq!(spells("..!!.", 0), [(2_000, 2_000, Some(4_000))]);
        assert_eq!(spells("!.!!", 0), [(0, 0, Some(1_000)), (2_000, 2_000, None)]);
    }

    #[test]
    fn a_condition_that_does_not_hold_for_long_enough_fires_nothing() {
        assert_eq!(spells("!!.!!!.", 2_000), [(3_000, 5_000, Some(6_000))]);
        assert_eq!(spells("!!.!!.", 2_000), []);
    }
}
