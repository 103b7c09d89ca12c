//! The burn rates and windows of the alert rules of an objective.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::settings::Slo;

/// How urgent an alert is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// Someone on call has to act at once.
    Page,
    /// Someone has to act within days.
    Ticket,
}

/// The part of an objective's window that the short window is, as a divisor: a twelfth of the long window, as the workbook recommends.
const SHORT: u32 = 12;

/// A burn rate of the SRE workbook: name, severity, rate, and the divisor of the objective's window that gives the long window. Of
/// 30 days these are 1 h, 6 h and 3 days, in which 2 %, 5 % and 10 % of the error budget are spent.
const BURN_RATES: [(&str, Severity, f64, u32); 3] =
    [("fast", Severity::Page, 14.4, 720), ("slow", Severity::Page, 6.0, 120), ("steady", Severity::Ticket, 1.0, 10)];

/// The divisor of an objective's window that gives the shortest window of its rules: 5 min of 30 days.
pub(super) const SHORTEST: u32 = BURN_RATES[0].3 * SHORT;

/// An alert rule: the errors of both windows exceed a multiple of the error budget.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct AlertRule {
    /// `fast`, `slow` or `steady`.
    pub name: &'static str,
    /// How urgent it is.
    pub severity: Severity,
    /// The multiple of the rate of errors that spends the budget within the objective's window.
    pub burn_rate: f64,
    /// The long window, in whole milliseconds, which decides on how much budget has been spent.
    pub long: Duration,
    /// The short window, a twelfth of the long one, which decides on whether it is still being spent.
    pub short: Duration,
}

impl AlertRule {
    /// The names of the rules of an objective, the fastest first.
    pub const NAMES: [&'static str; 3] = [BURN_RATES[0].0, BURN_RATES[1].0, BURN_RATES[2].0];

    /// Returns the rules of an objective, the fastest first.
    pub(super) fn for_objective(slo: &Slo) -> [Self; 3] {
        BURN_RATES.map(|(name, severity, burn_rate, divisor)| Self {
            name,
            severity,
            burn_rate,
            long: part(slo.window, divisor),
            short: part(slo.window, divisor * SHORT),
        })
    }

    /// Returns whether the rule can fire at all: otherwise a share of errors of 100 % would not be over its threshold.
    pub fn can_fire(&self, slo: &Slo) -> bool {
        self.burn_rate * slo.error_budget() < 1.0
    }

    /// Returns the name of the alert in Prometheus.
    pub fn alert(&self) -> &'static str {
        match self.name {
            "fast" => "SloBurnsFast",
            "slow" => "SloBurnsSlow",
            _ => "SloBurnsSteady",
        }
    }
}

/// Returns a part of a window in whole milliseconds, as Prometheus has them.
pub(super) fn part(window: Duration, divisor: u32) -> Duration {
    let ms = window.as_millis();
    let divisor = u128::from(divisor);
    Duration::from_millis(u64::try_from((ms + divisor / 2) / divisor).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_days_have_the_windows_of_the_workbook() {
        let slo = Slo { window: Duration::from_secs(30 * 24 * 60 * 60), ..Slo::example() };
        let minutes = slo.rules().map(|rule| (rule.long.as_secs() / 60, rule.short.as_secs() / 60));
        assert_eq!(minutes, [(60, 5), (6 * 60, 30), (3 * 24 * 60, 6 * 60)]);
        let spent = slo.rules().map(|rule| rule.burn_rate * rule.long.as_secs_f64() / slo.window.as_secs_f64());
        for (spent, budget) in spent.into_iter().zip([0.02, 0.05, 0.1]) {
            assert!((spent - budget).abs() < 1e-9, "{spent} {budget}");
        }
    }

    #[test]
    fn windows_are_whole_milliseconds() {
        let hour = Duration::from_secs(3600);
        assert_eq!(part(hour, SHORTEST), Duration::from_millis(417));
        assert_eq!(part(12 * hour, SHORTEST), Duration::from_secs(5));
    }
}
