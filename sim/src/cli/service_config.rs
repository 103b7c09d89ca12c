//! `sim service-config`: the settings of a scenario's client as a gRPC service config.

use std::path::PathBuf;

use clap::Args;
use kernel::{
    cli::{Exit, Failure, complain, print},
    scenario::{Scenario, ServiceConfigExport},
};

/// Options of `sim service-config`.
#[derive(Debug, Args)]
pub(crate) struct ServiceConfigArgs {
    /// The scenario file.
    scenario: PathBuf,

    /// Overrides a setting of the scenario, such as client.retry.max_attempts=1; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<String>,
}

/// Prints the service config to standard output, and what has no place in it to standard error.
pub(crate) fn run(args: &ServiceConfigArgs) -> Result<Exit, Failure> {
    let scenario = Scenario::load(&args.scenario, &args.overrides).map_err(Failure::wrong_input)?;
    for warning in scenario.warnings() {
        complain(&format!("warning: {warning}"));
    }
    let ServiceConfigExport { json, omitted, notes } = scenario.client.to_service_config();
    print(&json);
    for sentence in omitted.iter().chain(&notes) {
        complain(&format!("note: {sentence}"));
    }
    Ok(Exit::Passed)
}
