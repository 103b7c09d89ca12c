//! The plots of alerts: for each objective the burn rates of its rules, and when these fire.

use kernel::{
    measure::seconds,
    slo::{
        BurnRates,
        report::{RuleAlerts, SloAlerts},
    },
};

use super::{Axis, Band, Bar, Colour, Figure, Layer, Panel, Scale, Ticks};
use crate::alerts::RunAlerts;

/// The end of the axis of a rule's burn rate, as a multiple of the rate above which it fires.
const ABOVE: f64 = 3.0;

/// Returns a plot for each objective of a run.
pub fn figures(run: &RunAlerts) -> Vec<Figure> {
    run.report.slos.iter().zip(&run.burn_rates).map(|(slo, rates)| figure(run, slo, rates)).collect()
}

fn figure(run: &RunAlerts, slo: &SloAlerts, rates: &[BurnRates]) -> Figure {
    let end_s = seconds(run.report.end_us);
    Figure {
        name: format!("burn_rate_{}", slo.slo),
        title: format!("Burn rates of {}", slo.slo),
        subject: run.title.clone(),
        caption: format!(
            "{}. A burn rate is how many times as fast errors come as the budget allows. A rule fires while both of its windows \
             are over the dashed line, which the bar shows; a rate over {ABOVE} times that is at the edge.",
            slo.description
        ),
        x: Axis::time(end_s),
        panels: slo.rules.iter().zip(rates).map(|(rule, rates)| panel(rule, rates, end_s)).collect(),
        bands: Band::of_run(&run.summary, end_s),
    }
}

fn panel(rule: &RuleAlerts, rates: &BurnRates, end_s: f64) -> Panel {
    let threshold = rule.rule.burn_rate;
    let end = threshold * ABOVE;
    let points = |rates: &[(u64, f64)]| rates.iter().map(|(at_us, rate)| (seconds(*at_us), *rate)).collect();
    let bars = rule.firings.iter().map(|firing| Bar {
        from: seconds(firing.fired_us),
        to: firing.resolved_us.map_or(end_s, seconds).max(seconds(firing.fired_us)),
        row: end * 0.96,
        height: end * 0.08,
    });
    let layers = vec![
        Layer::bars("fires", Colour::Vermillion, bars.collect()),
        Layer::line(&format!("over {}", rule.rule.short), Colour::Sky, points(&rates.short)),
        Layer::line(&format!("over {}", rule.rule.long), Colour::Blue, points(&rates.long)),
        Layer::dashed(
            &format!("{threshold} times the budget"),
            Colour::Ink,
            vec![(0.0, threshold), (end_s, threshold)],
        ),
    ];
    Panel {
        title: rule.rule.rule.clone(),
        y: Axis { label: "burn rate".into(), scale: Scale::Linear, range: (0.0, end), ticks: Ticks::Number },
        weight: 0.8,
        layers,
    }
}
