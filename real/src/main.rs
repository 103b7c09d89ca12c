//! `real`: plays a scenario on real processes.

use std::{
    io::{self, IsTerminal, Write},
    process::ExitCode,
};

use clap::{Parser, Subcommand};
use kernel::{
    cli::{Exit, Failure, RunArgs, Session, print},
    run_folder::RunInfo,
};
use real::{
    Plan, RehearsalError, View,
    calibrate::{self, CalibrateArgs},
    diagnostics,
    doctor::{self, Verdict},
    facts,
    fidelity::{self, FidelityArgs},
    manual::{
        self, down::DownArgs, inject::InjectArgs, load::LoadArgs, proxy::ProxyArgs, serve::ServeArgs, up::UpArgs,
    },
    role::Role,
};

const WORLD: &str = "real";

/// Plays a scenario on real processes: the file that the simulation plays, with signals and sockets.
#[derive(Debug, Parser)]
#[command(name = "real", version, args_conflicts_with_subcommands = true, arg_required_else_help = true)]
struct Options {
    #[command(flatten)]
    run: Option<RunArgs>,

    /// Shows lines while the run goes on, not a dashboard; so it is without a terminal
    #[arg(long)]
    plain: bool,

    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says whether this host can play scenarios, and what to do if not
    Doctor,

    /// Measures this host for the simulation: service times, the network, processes, timers
    Calibrate(CalibrateArgs),

    /// Plays scenarios in both worlds, several times each, for `reports fidelity` to compare
    Fidelity(FidelityArgs),

    /// Starts servers in the background, found by the commands below
    Up(UpArgs),

    /// Ends servers and proxies, frozen or not
    Down(DownArgs),

    /// Shows what runs
    List,

    /// One server in the foreground
    Serve(ServeArgs),

    /// Offers load to running servers with the resilient client, and shows what becomes of each request
    Load(LoadArgs),

    /// Crashes, freezes or cuts off running servers, or worsens their links
    Inject(InjectArgs),

    /// Passes connections on to any TCP server, with a link that takes faults
    Proxy(ProxyArgs),

    #[command(flatten)]
    Role(Role),
}

fn main() -> ExitCode {
    let options = Options::parse();
    let ended = diagnostics::start().map_err(Failure::wrong_input).and_then(|()| carry_out(options));
    match ended {
        Ok(exit) => exit.into(),
        Err(Failure { exit, message }) => {
            // What cannot be said is still in the exit code.
            let _ = writeln!(io::stderr(), "error: {message}");
            exit.into()
        }
    }
}

fn carry_out(options: Options) -> Result<Exit, Failure> {
    match options {
        Options { command: Some(Command::Doctor), .. } => examine(),
        Options { command: Some(Command::Role(role)), .. } => play_role(&role),
        Options { command: Some(Command::Calibrate(args)), .. } => calibrate::run(&args),
        Options { command: Some(Command::Fidelity(args)), .. } => fidelity::run(&args),
        Options { command: Some(Command::Up(args)), .. } => manual::up::run(&args),
        Options { command: Some(Command::Down(args)), .. } => manual::down::run(&args),
        Options { command: Some(Command::List), .. } => manual::list::run(),
        Options { command: Some(Command::Serve(args)), .. } => manual::serve::run(&args),
        Options { command: Some(Command::Load(args)), .. } => manual::load::run(&args),
        Options { command: Some(Command::Inject(args)), .. } => manual::inject::run(&args),
        Options { command: Some(Command::Proxy(args)), .. } => manual::proxy::run(&args),
        Options { run: Some(args), plain, .. } => run(&args, view(plain)),
        Options { .. } => Err(Failure::wrong_input("there is no scenario to play; see --help")),
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

/// Returns the dashboard for someone who watches, on a terminal that can show it and shows no diagnostics.
fn view(plain: bool) -> View {
    let dumb = std::env::var_os("TERM").is_none_or(|terminal| terminal == "dumb");
    if plain || dumb || diagnostics::are_on() || !io::stderr().is_terminal() { View::Lines } else { View::Dashboard }
}

fn run(args: &RunArgs, view: View) -> Result<Exit, Failure> {
    let session = Session::open(args, WORLD)?;
    let logs = session.folder.logs().map_err(Failure::wrong_input)?;
    let mut info = RunInfo::new(WORLD, args.seed);
    info.host = Some(facts::host());
    info.started = Some(facts::now());

    let plan = Plan { scenario: session.scenario.clone(), seed: args.seed, logs, view };
    let played = real::play(&plan).map_err(|error| match error {
        RehearsalError::Pictures(_) => Failure::wrong_input(error),
        error => Failure::run_failed(error),
    })?;
    let replay = args.replay("cargo run -p real --", &[]);
    let exit = session.conclude(&info, &played.records, played.duration, None, replay)?;
    if played.interrupted {
        let at = played.duration.as_secs_f64();
        return Err(Failure::run_failed(format!("interrupted at {at:.1} s; what was recorded is in the folder")));
    }
    Ok(exit)
}
