//! `real alert-rules`: the alert rules of a scenario's objectives, for Prometheus.

use std::path::PathBuf;

use clap::Args;
use kernel::{
    cli::{Exit, Failure, complain, print},
    scenario::Scenario,
    slo::prometheus::rules_file,
    visible::Visible,
};

/// Options of `real alert-rules`.
#[derive(Debug, Args)]
pub(crate) struct AlertRulesArgs {
    /// The scenario file, which has `[[slo]]`.
    scenario: PathBuf,

    /// Overrides a setting of the scenario, such as slo.0.window=30d; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// Prints the rules to standard output, and which of them can never fire to standard error.
pub(crate) fn run(args: &AlertRulesArgs) -> Result<Exit, Failure> {
    let scenario = Scenario::load(&args.scenario, &args.overrides).map_err(Failure::wrong_input)?;
    if scenario.slos.is_empty() {
        let file = args.scenario.visible();
        return Err(Failure::wrong_input(format!("{file} has no [[slo]]; add one, with a `name` and an `objective`")));
    }
    for warning in scenario.warnings() {
        complain(&format!("warning: {warning}"));
    }
    print(&rules_file(&scenario.slos));
    Ok(Exit::Passed)
}
