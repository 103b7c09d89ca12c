//! The command line of `real`, and of a program that plays an app on real processes.

use std::{
    env,
    io::{self, IsTerminal},
    process::ExitCode,
    time::Duration,
};

use crate::{
    Plan, View,
    alert_rules::{self, AlertRulesArgs},
    app,
    calibrate::{self, CalibrateArgs},
    diagnostics,
    doctor::{self, Verdict},
    events::{EventsArgs, Stream},
    export::{Exporter, MetricsArgs},
    facts,
    fidelity::{
        self, FidelityArgs,
        draw::{self, DrawArgs},
    },
    manual::{
        self, down::DownArgs, inject::InjectArgs, list::ListArgs, load::LoadArgs, proxy::ProxyArgs, serve::ServeArgs,
        set::SetArgs, up::UpArgs,
    },
    rehearsal::{Outlets, play_exported},
    role::Role,
    store, token,
};
use clap::{Args, CommandFactory, Parser, Subcommand};
use kernel::{
    app::App,
    cli::{
        self, CompletionsArgs, Exit, Failure, ManArgs, RunArgs, Session,
        help::{NO_VERDICT, VERDICT, WRONG_INPUT},
        help_sections, print, program,
    },
    detect::parse_step,
    entropy::branch::Branch,
    export::Observer,
    run_folder::{Earlier, RunInfo},
};

const WORLD: &str = "real";

/// Rehearses failures of a replicated service with real processes: plays the scenario files of `sim` with signals and sockets.
///
/// `real SCENARIO` is short for `real run SCENARIO`. With `REHEARSAL_LOG=info` in the environment, the program logs what it does
/// on standard error.
#[derive(Debug, Parser)]
#[command(
    name = "real",
    version,
    override_usage = "real <COMMAND>\n       real <SCENARIO> [OPTIONS]",
    after_long_help = help_sections(
        &["real doctor", "real run scenarios/crash.toml --seed 42", "real up 2", "real load --duration 10s", "real down"],
        VERDICT,
    ),
)]
struct Options {
    #[command(subcommand)]
    command: Command,
}

/// Options of `real run`.
#[derive(Debug, Args)]
struct RunOptions {
    #[command(flatten)]
    run: RunArgs,

    /// Draws everything random again from a time on, such as 1.25s:77, with a salt; may be repeated. A finding of `sim hunt --guided` has
    /// some: arrivals and faults are those of the simulated run.
    #[arg(long = "branch", value_name = "TIME:SALT")]
    branches: Vec<Branch>,

    /// Shows lines instead of the dashboard during the run, as without a terminal.
    #[arg(long)]
    plain: bool,

    #[command(flatten)]
    metrics: MetricsArgs,

    #[command(flatten)]
    events: EventsArgs,

    /// Watches the results with detectors of anomalies, in steps of this length, and shows their alarms; metrics have them, too. The
    /// first 30 steps are for learning.
    #[arg(long, value_name = "TIME", value_parser = parse_step)]
    detect: Option<Duration>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays a scenario once and reports whether its expectations hold.
    #[command(after_long_help = help_sections(
        &[
            "real run scenarios/crash.toml --seed 42",
            "real run scenarios/crash.toml --set client.retry.max_attempts=1 --plain",
            "real run runs/breaker/hunt/seed3-run41.toml --seed 3 --branch 24.512s:2 --branch 31.02s:1",
        ],
        VERDICT,
    ))]
    Run(RunOptions),

    /// Checks whether this host can play scenarios, and prints what to change if not.
    #[command(after_long_help = help_sections(
        &["real doctor"],
        &[
            (Exit::Passed, "this host can play scenarios"),
            (Exit::WrongInput, "the command line is wrong"),
            (Exit::RunFailed, "this host cannot play scenarios"),
        ],
    ))]
    Doctor,

    /// Measures this host for the simulation: service times, network, processes and timers. Takes about two minutes.
    #[command(after_long_help = help_sections(&["real calibrate", "real calibrate --out host.toml"], NO_VERDICT))]
    Calibrate(CalibrateArgs),

    /// Plays scenarios in both worlds, several times each, for `reports fidelity` to compare.
    #[command(after_long_help = help_sections(
        &[
            "real fidelity scenarios/crash.toml scenarios/freeze.toml --runs 5",
            "real fidelity scenarios/overload.toml --runs 2 --rates 10,20,40",
        ],
        NO_VERDICT,
    ))]
    Fidelity(FidelityArgs),

    /// Draws scenarios at random, for a campaign whose scenarios were not chosen by hand.
    #[command(after_long_help = help_sections(
        &["real draw --seed 20261129", "real draw --seed 7 --count 12 --cores 4 --out scenarios/drawn"],
        &[
            (Exit::Passed, "the files have been written"),
            (Exit::WrongInput, "the command line is wrong, or a file cannot be written"),
        ],
    ))]
    Draw(DrawArgs),

    /// Starts servers in the background, which the commands below find.
    #[command(after_long_help = help_sections(&["real up 3", "real up 2 --start-port 0 --workers 4"], NO_VERDICT))]
    Up(UpArgs),

    /// Ends servers and proxies, frozen ones too.
    #[command(after_long_help = help_sections(&["real down", "real down server-0"], NO_VERDICT))]
    Down(DownArgs),

    /// Lists the servers and proxies that run, each with its active faults.
    #[command(after_long_help = help_sections(&["real list", "real list --json"], NO_VERDICT))]
    List(ListArgs),

    /// Runs one server in the foreground.
    #[command(after_long_help = help_sections(
        &["real serve --port 50051", "real serve --port 0 --id server-9 --service-time-min 50ms"],
        NO_VERDICT,
    ))]
    Serve(ServeArgs),

    /// Sends requests to running servers with the resilient client, and shows the result of each.
    #[command(after_long_help = help_sections(
        &["real load --rate 20 --duration 30s", "real load --scenario scenarios/crash.toml --servers server-0,server-1"],
        &VERDICT[..4],
    ))]
    Load(LoadArgs),

    /// Crashes, freezes or cuts off running servers, or degrades their links.
    #[command(after_long_help = help_sections(
        &["real inject crash server-0", "real inject delay server-1 --latency 200ms --duration 10s", "real inject heal server-1"],
        NO_VERDICT,
    ))]
    Inject(InjectArgs),

    /// Gives settings of running servers, loads and links other values. All are asked before anything changes.
    #[command(after_long_help = help_sections(
        &["real set servers.queue=16", "real set load.rate=50 client.attempt_timeout=200ms", "real set network.latency=40ms", "real set servers.workers=1 --servers server-0"],
        NO_VERDICT,
    ))]
    Set(SetArgs),

    /// Forwards connections to any TCP server over a link that takes faults.
    #[command(after_long_help = help_sections(
        &["real proxy --listen 60051 --upstream server-0", "real proxy --listen 8081 --upstream localhost:8080 --id web"],
        NO_VERDICT,
    ))]
    Proxy(ProxyArgs),

    /// Prints the alert rules of a scenario's objectives as a file for Prometheus.
    #[command(after_long_help = help_sections(
        &["real alert-rules scenarios/alerts.toml", "real alert-rules scenarios/alerts.toml --set slo.0.window=30d > rules.yml"],
        &[(Exit::Passed, "the rules have been printed"), WRONG_INPUT],
    ))]
    AlertRules(AlertRulesArgs),

    /// Prints a script with which a shell completes the options of this program.
    #[command(after_long_help = help_sections(
        &["real completions bash", "source <(real completions bash)"],
        &[(Exit::Passed, "always"), (Exit::WrongInput, "there is no such shell")],
    ))]
    Completions(CompletionsArgs),

    /// Writes manual pages of this program and its commands.
    #[command(after_long_help = help_sections(
        &["real man --out man"],
        &[(Exit::Passed, "the pages have been written"), (Exit::WrongInput, "the folder cannot be written")],
    ))]
    Man(ManArgs),

    #[command(flatten)]
    Role(Role),
}

/// Does what the command line of this process asks for, as the program `real` does, and returns its exit code.
///
/// A program whose `main` calls it with an app, before it does anything else, plays the scenarios whose `[workload]` has
/// `kind = "app"`: it is the orchestrator, and each process of a run is the same program in another role. Without an app it is `real`
/// itself.
///
/// ```no_run
/// use std::process::ExitCode;
/// use real::App;
///
/// fn app() -> App {
///     App::new() // with a service and a load
/// }
///
/// fn main() -> ExitCode {
///     real::main(app())
/// }
/// ```
pub fn main(app: impl Into<Option<App>>) -> ExitCode {
    App::set_for_program(app.into());
    let Options { command } = cli::parse(env::args_os()).unwrap_or_else(|error| cli::end(&error));
    let started = diagnostics::start().map_err(Failure::wrong_input);
    let started = started.and_then(|()| token::load().map_err(Failure::wrong_input));
    let ended = started.and_then(|()| run(&command));
    match ended {
        Ok(exit) => exit.into(),
        Err(Failure { exit, message }) => {
            cli::complain(&format!("error: {message}"));
            exit.into()
        }
    }
}

/// Runs the command that the command line asks for.
fn run(command: &Command) -> Result<Exit, Failure> {
    match command {
        Command::Run(options) => run_scenario(options),
        Command::Doctor => examine(),
        Command::Calibrate(args) => calibrate::run(args),
        Command::Fidelity(args) => fidelity::run(args),
        Command::Draw(args) => draw::run(args),
        Command::Up(args) => manual::up::run(args),
        Command::Down(args) => manual::down::run(args),
        Command::List(args) => manual::list::run(args),
        Command::Serve(args) => manual::serve::run(args),
        Command::Load(args) => manual::load::run(args),
        Command::Inject(args) => manual::inject::run(args),
        Command::Set(args) => manual::set::run(args),
        Command::Proxy(args) => manual::proxy::run(args),
        Command::AlertRules(args) => alert_rules::run(args),
        Command::Completions(args) => Ok(args.run(Options::command())),
        Command::Man(args) => args.run(Options::command()),
        Command::Role(role) => play_role(role),
    }
}

fn examine() -> Result<Exit, Failure> {
    let findings = doctor::examine().map_err(Failure::run_failed)?;
    let lines: String = findings.iter().map(|finding| format!("{finding}\n")).collect();
    print(&lines);
    let bad = findings.iter().any(|finding| matches!(finding.verdict, Verdict::Bad(_)));
    if bad { Err(Failure::run_failed("this host cannot play scenarios")) } else { Ok(Exit::Passed) }
}

fn play_role(role: &Role) -> Result<Exit, Failure> {
    role.play().map(|()| Exit::Passed).map_err(Failure::run_failed)
}

/// Returns the dashboard on a terminal that can show it and shows no diagnostics, and lines otherwise.
fn view(plain: bool) -> View {
    let dumb = env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    if plain || dumb || diagnostics::are_on() || !io::stderr().is_terminal() { View::Lines } else { View::Dashboard }
}

fn run_scenario(options: &RunOptions) -> Result<Exit, Failure> {
    let RunOptions { run: args, branches, plain, metrics, events, .. } = options;
    let view = view(*plain);
    let outlets = metrics.open()?;
    let mut session = Session::open(args, branches, WORLD, Earlier::Keep)?;
    app::check(&session.scenario).map_err(Failure::wrong_input)?;
    store::check(&session.scenario, metrics.remote())?;
    let events = events.open(&session.scenario.name, args.seed)?;
    let logs = session.folder.logs().map_err(Failure::wrong_input)?;
    let mut info = RunInfo::new(WORLD, args.seed);
    info.branches.clone_from(branches);
    info.host = Some(facts::host());
    info.started = Some(facts::now());

    let scenario = session.scenario.clone();
    let plan = Plan {
        scenario,
        seed: args.seed,
        branches: branches.clone(),
        logs,
        view,
        measures_computing: false,
        detect: options.detect,
        allow_remote: metrics.remote().is_allowed(),
    };
    let observer = || {
        let mut observer = Observer::of_run(&session.scenario, args.seed, WORLD);
        if options.detect.is_some() {
            observer.add_detectors();
        }
        observer
    };
    let exporter = outlets.map(|outlets| Exporter::start(outlets, observer())).transpose()?;
    let stream = events.map(|events| events.start(WORLD, exporter.clone())).transpose()?;
    let outlets = Outlets { exporter, events: stream.as_ref().map(Stream::waiting) };
    let played = play_exported(&plan, &mut session.folder, &info, outlets);
    // Of a run that has failed, too: its rows are recorded.
    info.events = stream.map(Stream::end);
    let played = played.map_err(|error| error.into_failure(session.folder.remains()))?;
    let words = branches.iter().flat_map(|branch| ["--branch".to_owned(), branch.to_string()]);
    let replay = args.replay(&program(WORLD), &words.collect::<Vec<_>>());
    let exit = session.conclude_recorded(&info, played.end, replay)?;
    if played.interrupted {
        let at = played.end.duration.as_secs_f64();
        return Err(Failure::run_failed(format!("interrupted at {at:.1} s; what was recorded is in the folder")));
    }
    Ok(exit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_examples_and_exit_codes() {
        assert_eq!(cli::help::commands_without_sections(&Options::command()), Vec::<String>::new());
    }

    #[test]
    fn every_option_has_a_variable() {
        assert_eq!(cli::options_without_variable(&Options::command()), Vec::<String>::new());
    }
}
