//! The command line of `sim`: its subcommands, with their examples and exit codes.

use std::{path::PathBuf, time::Duration};

use crate::REAL_TIME_MAX;
use clap::{Args, Parser, Subcommand};
use kernel::{
    cli::{
        CompletionsArgs, Exit, ManArgs, RunArgs,
        help::{NO_VERDICT, RUN_FAILED, VERDICT, WRONG_INPUT},
        help_sections,
    },
    entropy::branch::Branch,
    scenario::duration,
};

use crate::cli::{
    check::CheckArgs,
    from_chaos::{FromChaosArgs, ToChaosArgs},
    hunt::HuntArgs,
    incidents::IncidentsArgs,
    keys::KeysArgs,
    list::ListArgs,
    many::ManyArgs,
    metrics::MetricsArgs,
    new::NewArgs,
    service_config::ServiceConfigArgs,
    shrink::ShrinkArgs,
    sweep_job::SweepJobArgs,
    tip::TipArgs,
    verify::{VerifyArgs, side::SideArgs},
};

/// Rehearses failures of a replicated service in a deterministic simulation: the same scenario and seed give the same bytes.
///
/// `sim SCENARIO` is short for `sim run SCENARIO`.
#[derive(Debug, Parser)]
#[command(
    name = "sim",
    version,
    override_usage = "sim <COMMAND>\n       sim <SCENARIO> [OPTIONS]",
    after_long_help = help_sections(
        &[
            "sim new my_scenario",
            "sim run scenarios/crash_then_freeze.toml --seed 42",
            "sim scenarios/crash_then_freeze.toml --seeds 0..100",
        ],
        VERDICT,
    ),
)]
pub(crate) struct Options {
    /// Plants a bug that the invariants must find.
    #[cfg(feature = "canaries")]
    #[arg(long, global = true)]
    pub(crate) bug: Option<kernel::bug::Bug>,

    /// Makes the bug rare: it shows only while this holds; may be repeated.
    #[cfg(feature = "canaries")]
    #[arg(long = "need", global = true)]
    pub(crate) needs: Vec<kernel::bug::Need>,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// Options of `sim run`.
#[derive(Debug, Args)]
pub(crate) struct RunOptions {
    #[command(flatten)]
    pub(crate) run: RunArgs,

    #[command(flatten)]
    pub(crate) many: ManyArgs,

    /// A calibration: the service times and delays of a host, as `real calibrate` writes them; built in unless given.
    #[arg(long, value_name = "FILE")]
    pub(crate) calibration: Option<PathBuf>,

    /// Draws everything random again from a time on, such as 1.25s:77, with a salt; may be repeated. A finding of `sim hunt --guided` has
    /// some.
    #[arg(long = "branch", value_name = "TIME:SALT", conflicts_with_all = ["seeds", "vary"])]
    pub(crate) branches: Vec<Branch>,

    /// The real time after which a run is stopped; what it has recorded is kept. Runs of other commands have an hour.
    #[arg(long, value_name = "TIME", default_value = "1h", value_parser = time_limit)]
    pub(crate) time_limit: Duration,

    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
}

/// Parses the real time of a run.
fn time_limit(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    let longest = 24 * REAL_TIME_MAX;
    match time {
        Duration::ZERO => Err("it must be longer than 0s".to_owned()),
        time if time > longest => Err(format!("it is {} at most", duration::text(longest))),
        time => Ok(time),
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Runs a scenario once, or with many seeds and settings, and reports whether its expectations hold.
    #[command(after_long_help = help_sections(
        &[
            "sim run scenarios/crash_then_freeze.toml --seed 42",
            "sim run scenarios/crash_then_freeze.toml --set client.retry.max_attempts=1 --json",
            "sim run scenarios/crash.toml --seeds 0..100 --vary client.retry.max_attempts=1,3",
        ],
        VERDICT,
    ))]
    Run(RunOptions),

    /// Writes a new scenario file to start from, with comments.
    #[command(after_long_help = help_sections(&["sim new my_scenario", "sim new my_outage --workload backend"], NO_VERDICT))]
    New(NewArgs),

    /// Lists the scenario files in a folder: workload, replicas, duration, faults and what each is about.
    #[command(after_long_help = help_sections(
        &["sim list", "sim list scenarios --json"],
        &[(Exit::Passed, "every file is a valid scenario"), (Exit::WrongInput, "a file is not valid, or there is no scenario")],
    ))]
    List(ListArgs),

    /// Checks scenario files and reports every mistake in them.
    #[command(after_long_help = help_sections(
        &["sim check scenarios/crash.toml", "sim check scenarios/*.toml --json"],
        &[(Exit::Passed, "every file is a valid scenario"), (Exit::WrongInput, "a file is not valid")],
    ))]
    Check(CheckArgs),

    /// Prints the keys of scenario files: type, bounds, default and meaning.
    #[command(after_long_help = help_sections(
        &["sim keys", "sim keys client.retry"],
        &[(Exit::Passed, "there is such a key"), (Exit::WrongInput, "no key starts like that")],
    ))]
    Keys(KeysArgs),

    /// Prints the JSON Schema of scenario files, with which an editor completes and checks them.
    ///
    /// Save the schema beside your scenarios, and begin each of them with the line `#:schema scenario.schema.json`, which
    /// editors with Even Better TOML or Taplo read.
    #[command(after_long_help = help_sections(
        &["sim schema", "sim schema > scenario.schema.json"],
        &[(Exit::Passed, "always"), (Exit::WrongInput, "the command line is wrong")],
    ))]
    Schema,

    /// Prints the settings of a scenario's client as a gRPC service config, for the client that is rehearsed.
    ///
    /// Settings that have no place in a service config are listed on standard error.
    #[command(after_long_help = help_sections(
        &["sim service-config scenarios/crash.toml", "sim service-config scenarios/crash.toml --set client.retry.max_attempts=4"],
        &[(Exit::Passed, "the service config has been printed"), WRONG_INPUT],
    ))]
    ServiceConfig(ServiceConfigArgs),

    /// Prints the scenario of an experiment of Chaos Toolkit, of manifests of Chaos Mesh or Litmus, or of proxies of toxiproxy.
    ///
    /// Which of them a file is, is found from its contents. What cannot be said is listed on standard error, with its line, the reason and
    /// what is nearest.
    #[command(after_long_help = help_sections(
        &[
            "sim from-chaos scenarios/chaos/network-delay.yaml",
            "sim from-chaos scenarios/chaos/network-delay.yaml --base scenarios/baseline.toml --output delayed.toml",
            "sim from-chaos --table",
        ],
        &[
            (Exit::Passed, "the scenario has been printed"),
            (Exit::Failed, "with --strict: something in the file cannot be said"),
            WRONG_INPUT,
        ],
    ))]
    FromChaos(FromChaosArgs),

    /// Prints the faults of a scenario for Chaos Toolkit, Chaos Mesh, Litmus or toxiproxy.
    ///
    /// What cannot be said is listed on standard error, with its key, the reason and what is nearest.
    #[command(after_long_help = help_sections(
        &[
            "sim to-chaos scenarios/network_delay.toml --for chaos-mesh",
            "sim to-chaos scenarios/crash.toml --for chaostoolkit --output experiment.yaml",
        ],
        &[
            (Exit::Passed, "the document has been printed"),
            (Exit::Failed, "with --strict: something in the scenario cannot be said"),
            WRONG_INPUT,
        ],
    ))]
    ToChaos(ToChaosArgs),

    /// Draws faults from one seed after another until a run fails.
    #[command(visible_alias = "search", after_long_help = help_sections(
        &[
            "sim hunt scenarios/baseline.toml --for 10m",
            "sim hunt scenarios/baseline.toml --policies --runs 50",
        ],
        &[
            (Exit::Passed, "no run fails"),
            (Exit::Failed, "a run fails an expectation, and its scenario has been written"),
            WRONG_INPUT,
            RUN_FAILED,
            (Exit::InvariantViolated, "a run violates an invariant, which is a bug of this program"),
        ],
    ))]
    Hunt(HuntArgs),

    /// Draws runs with known faults and plays them: the set with which `reports detect-bench` compares detectors of anomalies.
    #[command(after_long_help = help_sections(
        &["sim incidents runs/incidents", "sim incidents small --seed 7 --runs 100 --calm-runs 2"],
        &[(Exit::Passed, "the set is complete"), WRONG_INPUT, RUN_FAILED],
    ))]
    Incidents(IncidentsArgs),

    /// Removes from a failing scenario everything that is not needed for the failure.
    #[command(visible_alias = "minimize", after_long_help = help_sections(
        &[
            "sim shrink scenarios/crash.toml --set client.retry.max_attempts=1",
            "sim shrink runs/crash/sim-seed0",
        ],
        &[(Exit::Passed, "the smaller scenario has been written"), WRONG_INPUT, RUN_FAILED],
    ))]
    Shrink(ShrinkArgs),

    /// Finds the value of a setting at which runs begin to fail, or no longer recover.
    #[command(visible_alias = "threshold", after_long_help = help_sections(
        &[
            "sim tip scenarios/overload.toml --along load.rate=5..60",
            "sim tip scenarios/metastable.toml --along load.rate=10..39 --recovery",
        ],
        &[(Exit::Passed, "a boundary has been found"), WRONG_INPUT, RUN_FAILED],
    ))]
    Tip(TipArgs),

    /// Prints a sweep as a job for Kubernetes, Slurm or GNU parallel, which spreads its shards over machines.
    #[command(after_long_help = help_sections(
        &[
            "sim sweep-job scenarios/crash.toml --seeds 0..10000 --shards 64 --for kubernetes",
            "sim sweep-job scenarios/crash.toml --seeds 0..1000 --shards 16 --for parallel > sweep.sh",
        ],
        &[(Exit::Passed, "the job has been printed"), WRONG_INPUT],
    ))]
    SweepJob(SweepJobArgs),

    /// Checks that simulations are deterministic: runs each seed in two processes that differ as much as possible, and
    /// compares all events.
    #[command(after_long_help = help_sections(
        &["sim verify scenarios/crash.toml --seeds 0..2", "sim verify scenarios/*.toml"],
        &[
            (Exit::Passed, "the runs of every pair are the same"),
            (Exit::Failed, "the runs of a pair differ"),
            WRONG_INPUT,
            RUN_FAILED,
        ],
    ))]
    Verify(VerifyArgs),

    /// Prints a script with which a shell completes the options of this program.
    #[command(after_long_help = help_sections(
        &["sim completions bash", "source <(sim completions bash)"],
        &[(Exit::Passed, "always"), (Exit::WrongInput, "there is no such shell")],
    ))]
    Completions(CompletionsArgs),

    /// Writes manual pages of this program and its commands.
    #[command(after_long_help = help_sections(
        &["sim man --out man"],
        &[(Exit::Passed, "the pages have been written"), (Exit::WrongInput, "the folder cannot be written")],
    ))]
    Man(ManArgs),

    /// One of the two processes of `verify`.
    #[command(hide = true)]
    Side(SideArgs),
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;
    use kernel::cli::{help::commands_without_sections, options_without_variable};

    use super::*;

    #[test]
    fn every_command_has_examples_and_exit_codes() {
        assert_eq!(commands_without_sections(&Options::command()), Vec::<String>::new());
    }

    #[test]
    fn every_option_has_a_variable() {
        assert_eq!(options_without_variable(&Options::command()), Vec::<String>::new());
    }
}
