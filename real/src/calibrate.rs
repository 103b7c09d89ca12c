//! `real calibrate`: measures what the simulation has to know of this host, and writes it as a calibration.
//!
//! What it measures it measures on runs like any other: the same processes, started the same way, with the same server
//! and client code, and a load that meets no fault. A request's way is told apart from the rows of both ends, which go
//! by one clock. Only what happens to processes as such is measured without a run: how long one takes until it listens,
//! and how long after SIGKILL its connections break, of replicas that nobody has sent a request to.
//!
//! | module | what is in it |
//! | --- | --- |
//! | `course` | the runs, in rounds |
//! | `observed` | what the rows of a run tell |
//! | `processes` | starts and ends of processes, and the bare round trip |
//! | `samples` | many observations of one time, and how far they can be trusted |
//! | `findings` | all of it as a table and as a calibration file |

mod course;
mod findings;
mod observed;
mod processes;
mod samples;

use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::{Path, PathBuf},
};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use kernel::{
    cli::{Exit, Failure},
    run_folder::sha256,
    scenario::Size,
};

use crate::{facts, rehearsal::RehearsalError};
use course::{Course, Interrupted};
use findings::Findings;

/// Where the calibration goes, and where `real fidelity` looks for it.
pub(crate) const DEFAULT_PLACE: &str = "runs/calibration.toml";

/// A median that moves by more than this share of itself from round to round is worth a word.
const NOISE_WORTH_A_WARNING: f64 = 0.25;

/// One that moves by more than all of itself says nothing of the host.
const NOISE_MAX: f64 = 1.0;

/// How the host is measured.
#[derive(Debug, Clone, Args)]
pub struct CalibrateArgs {
    /// Where to write the calibration
    #[arg(long, value_name = "FILE", default_value = DEFAULT_PLACE)]
    out: PathBuf,

    /// Sizes of the images to measure with; the times of others are worked out from these
    #[arg(long, value_delimiter = ',', default_value = "64x64,256x256,512x512", value_name = "SIZE,…")]
    sizes: Vec<Size>,

    /// Writes the calibration even if the host is too busy for it to mean anything
    #[arg(long)]
    anyway: bool,
}

/// Measures this host for two minutes, and writes what it found.
pub fn run(args: &CalibrateArgs) -> Result<Exit, Failure> {
    // What cannot be written should be known before it is measured.
    let parent = args.out.parent().unwrap_or(Path::new(""));
    fs::create_dir_all(parent).map_err(|error| unwritable(&args.out, &error))?;
    if args.out.is_dir() {
        return Err(Failure::wrong_input(format!("{} is a folder; name a file with --out", args.out.display())));
    }
    let (host, started) = (facts::host(), facts::now());
    let course = Course::new(&args.sizes).map_err(Failure::wrong_input)?;
    let bar = progress(course.seconds());
    let processes = processes::measure().map_err(|error| Failure::run_failed(format!("{error}")))?;
    let observed = course.play(|seconds| bar.inc(seconds)).map_err(failed)?;
    bar.finish_and_clear();

    let findings = Findings::of(&host, &started, processes, observed);
    let text = findings.to_toml();
    let noise = findings.noise();
    let verdict = findings.verdict(NOISE_WORTH_A_WARNING, NOISE_MAX);
    let _ = io::stdout().write_all(findings.table().as_bytes());
    if noise > NOISE_MAX && !args.anyway {
        return Err(Failure::run_failed(format!(
            "{verdict}; nothing was written. Stop what else runs on this machine and try again, or write it with --anyway"
        )));
    }
    fs::write(&args.out, &text).map_err(|error| unwritable(&args.out, &error))?;
    let _ = writeln!(
        io::stdout(),
        "\n  {verdict}\n\n  calibration  {}\n  sha256       {}\n  use          cargo run -p sim -- SCENARIO --calibration {}",
        args.out.display(),
        sha256(text.as_bytes()),
        args.out.display(),
    );
    Ok(Exit::Passed)
}

fn unwritable(path: &Path, reason: &io::Error) -> Failure {
    Failure::wrong_input(format!("cannot write {}: {reason}; choose another file with --out", path.display()))
}

fn failed(error: Interrupted) -> Failure {
    match error {
        Interrupted::Rehearsal(error @ RehearsalError::Pictures(_)) => Failure::wrong_input(error),
        error => Failure::run_failed(error),
    }
}

/// A bar over the seconds of the runs, on a terminal.
fn progress(seconds: u64) -> ProgressBar {
    if !io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("{bar:40} measuring this host, {eta} left; let it be")
        .expect("the template is well-formed");
    ProgressBar::new(seconds).with_style(style)
}
