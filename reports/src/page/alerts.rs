//! The page of the alerts of a run, or of many.

use kernel::slo::report::SloAlerts;
use maud::{Markup, html};

use super::{Verdict, aligned, document, head, notes, numbers, plots};
use crate::{
    alerts::{AlertAnalysis, ManyAlerts, RunAlerts},
    figure::Figure,
    text::alerts::{
        LEGEND, alarms, faults_table, firings_table, kinds, left_out, not_shown, objective, rules_table, variant,
    },
};

const ALERTS: Verdict = Verdict { class: "none", text: "ALERTS" };

/// Returns the page of alerts with the plots of a run's burn rates. The same analysis gives the same bytes.
pub fn alerts(analysis: &AlertAnalysis, figures: &[Figure]) -> String {
    let title = analysis.title();
    let body = html! {
        (head(ALERTS, title, None))
        @match analysis {
            AlertAnalysis::Run(run) => (of_run(run, figures)),
            AlertAnalysis::Runs(many) => (of_runs(many)),
        }
    };
    document(title, &body)
}

fn of_run(run: &RunAlerts, figures: &[Figure]) -> Markup {
    let (fired, without) = run.fired();
    let overview = [
        ("fired", fired.to_string()),
        ("without a fault", without.to_string()),
        ("faults", run.report.faults.len().to_string()),
        ("objectives", run.report.slos.len().to_string()),
    ];
    html! {
        (numbers(&overview))
        @for (slo, figure) in run.report.slos.iter().zip(figures) {
            h2 { (slo.slo) }
            p { (objective(slo)) }
            (aligned(&rules_table(slo)))
            (plots(std::slice::from_ref(figure)))
            (faults(run, slo))
            (firings(slo))
        }
        (notes(&run.notes))
    }
}

fn faults(run: &RunAlerts, slo: &SloAlerts) -> Markup {
    html! {
        @if !run.report.faults.is_empty() {
            (aligned(&faults_table(slo, &run.report)))
            @if let Some(more) = not_shown(run.report.faults.len()) { p { (more) } }
            p class="muted" { (LEGEND) }
        }
    }
}

fn firings(slo: &SloAlerts) -> Markup {
    let count = slo.rules.iter().map(|rule| rule.firings.len()).sum();
    html! {
        (aligned(&firings_table(slo)))
        @if let Some(more) = not_shown(count) { p { (more) } }
    }
}

fn of_runs(many: &ManyAlerts) -> Markup {
    html! {
        @for (settings, tally) in &many.variants {
            h2 { (variant(settings, tally)) }
            @for rules in tally.rules.chunk_by(|a, b| a.slo == b.slo) {
                @if let Some(rule) = rules.first() { h3 { (rule.slo) } }
                (aligned(&alarms(rules, tally)))
                (aligned(&kinds(rules)))
            }
        }
        @if let Some(line) = left_out(many) { p { (line) } }
    }
}
