//! The variants of a sweep.

use std::path::Path;

use crate::sweep::Variant;
use kernel::{
    cli::{Failure, complain},
    experiment::sweep::{Axis, grid},
    scenario::{Load, Scenario, ScenarioError},
    visible::Visible,
};

/// The scenario with every combination of the axes' values. Combinations that exclude each other, as hedging and retries
/// do, are left out of the grid.
///
/// # Errors
///
/// Returns an error if the axes form no grid, or there is a value that no combination allows.
pub(crate) fn variants(scenario: &Path, overrides: &[String], axes: &[Axis]) -> Result<Vec<Variant>, Failure> {
    let mut variants = Vec::<Variant>::new();
    let mut left_out = Vec::new();
    for settings in grid(axes).map_err(Failure::wrong_input)? {
        let overrides: Vec<_> = overrides.iter().chain(&settings).cloned().collect();
        match Scenario::load(scenario, &overrides) {
            Ok(scenario) => variants.push(Variant { settings, scenario }),
            Err(error) => left_out.push((settings, error)),
        }
    }
    // A value that every combination excludes is a mistake; without one, the grid merely has holes.
    let mistake = left_out.iter().find(|(settings, _)| settings.is_empty() || !all_occur(settings, &variants));
    if let Some((settings, error)) = mistake {
        return Err(invalid_variant(settings, error));
    }
    for (settings, error) in left_out {
        let why = error.to_string();
        let why = why.lines().next().unwrap_or_default();
        complain(&format!("note: left out {}: {why}", settings.join(" ").visible()));
    }
    Ok(variants)
}

/// Returns true if each of `settings` occurs in one of `variants`.
fn all_occur(settings: &[String], variants: &[Variant]) -> bool {
    settings.iter().all(|setting| variants.iter().any(|variant| variant.settings.contains(setting)))
}

fn invalid_variant(settings: &[String], error: &ScenarioError) -> Failure {
    if settings.is_empty() {
        return Failure::wrong_input(error);
    }
    Failure::wrong_input(format!("{error}\n= in the variant {}", settings.join(" ").visible()))
}

/// Prints a note if the variants do not see the same requests, by which differences between them mean less.
pub(super) fn warn_of_other_arrivals(variants: &[Variant]) {
    if variants.windows(2).any(|pair| arrivals(&pair[0]) != arrivals(&pair[1])) {
        let note = "note: load or workload is varied, so runs of one seed do not see the same requests in all variants";
        complain(note);
    }
}

/// Returns the settings from which arrivals and inputs are drawn.
fn arrivals(variant: &Variant) -> impl PartialEq + use<> {
    let Scenario { load, duration, workload, .. } = &variant.scenario;
    let load = Load { max_in_flight: 0, ..load.clone() };
    (load, *duration, workload.clone())
}
