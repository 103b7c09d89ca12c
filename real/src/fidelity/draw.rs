//! `real draw`: scenarios of a fidelity campaign, drawn at random.
//!
//! A simulation that was fitted to scenarios may say little about others. So the scenarios of a campaign are drawn before
//! anything is fitted, and the seed is published: the same command writes the same files, byte by byte.
//!
//! Each twelve scenarios are a *block* that covers every range by itself (a Latin hypercube): a range is divided into
//! strata, each stratum occurs in a block equally often, and a permutation of the block decides which scenario gets which.
//! A scenario depends only on the seed, on its number and on the number of processors; with a calibration, its rate also on that.
//!
//! | module | contents |
//! | --- | --- |
//! | `strata` | what a block covers: rates, workloads, arrivals, replicas, and who gets which fault and policy |
//! | `cost` | the estimate of the processor time of a call |
//! | `measured` | that time by a calibration, which lowers the rate where a machine would be too busy |
//! | `work` | the input, the time that workers are held, and the rate, so that the processors are as busy as was drawn |
//! | `policies` | the settings of servers and client |
//! | `faults` | kinds, targets and times of faults |
//! | `file` | the text of a scenario |

mod cost;
mod faults;
mod file;
mod measured;
mod policies;
mod strata;
mod work;

use std::path::PathBuf;

use clap::Args;
use kernel::{
    cli::{Exit, Failure, print, program, quoted},
    dice::Dice,
    run_folder::{OsFiles, SingleFile},
    scenario::Scenario,
    visible::Visible,
};

use measured::MeasuredCosts;
use strata::Strata;

/// The largest share of the processors that a scenario keeps busy, as it is estimated.
const BUSY_MAX: f64 = 0.9;

/// Options of `real draw`.
#[derive(Debug, Clone, Args)]
pub struct DrawArgs {
    /// The seed of the draw.
    #[arg(long, value_name = "N")]
    seed: u64,

    /// The number of scenarios. Each twelve cover all ranges.
    #[arg(long, value_name = "N", default_value_t = 24, value_parser = clap::value_parser!(u64).range(1..=1_000))]
    count: u64,

    /// The number of processors of the machine, up to nine tenths of which a scenario keeps busy.
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u64).range(1..=1_024))]
    cores: u64,

    /// A calibration of the machine, as `real calibrate` writes it. The rate of a scenario that would keep more than nine tenths of its processors
    /// busy is lowered.
    #[arg(long, value_name = "FILE")]
    calibration: Option<PathBuf>,

    /// The folder to write the files to. A file that this program wrote before is replaced if it was not changed since.
    #[arg(long, value_name = "DIR", default_value = "scenarios/drawn")]
    out: PathBuf,

    /// Replaces files that were changed, or that something else wrote.
    #[arg(long)]
    force: bool,
}

/// The machine that scenarios are drawn for.
#[derive(Debug, Clone, PartialEq)]
struct Host {
    /// Number of processors.
    cores: u64,
    /// What attempts cost there, if it was calibrated.
    measured: Option<MeasuredCosts>,
}

/// A scenario that was drawn.
#[derive(Debug, Clone, PartialEq)]
struct DrawnScenario {
    /// Its name, and that of its file without the ending.
    name: String,
    /// The file, without its checksum.
    text: String,
    /// Tells if a calibration lowered its rate.
    is_lowered: bool,
}

/// Writes the files, and prints what to do with them.
pub fn run(args: &DrawArgs) -> Result<Exit, Failure> {
    let lowered = write(args)?;
    let lowered = args.calibration.as_ref().map(|_| match &lowered[..] {
        [] => "  lowered   no rate\n".to_owned(),
        names => format!("  lowered   the rate of {}\n", names.join(", ")),
    });
    let folder = quoted(&args.out.to_string_lossy());
    print(&format!(
        "{} scenarios of seed {} for {} processors\n\n  folder    {}\n{}  check     {} check {folder}/*.toml\n  \
         campaign  {} fidelity {folder}/*.toml --runs 8\n",
        args.count,
        args.seed,
        args.cores,
        args.out.visible(),
        lowered.unwrap_or_default(),
        program("sim"),
        program("real"),
    ));
    Ok(Exit::Passed)
}

/// Writes the files. Returns the names of those whose rates the calibration lowered.
fn write(args: &DrawArgs) -> Result<Vec<String>, Failure> {
    let measured = args.calibration.as_deref().map(MeasuredCosts::read).transpose()?;
    if let Some(MeasuredCosts { cores, .. }) = measured.as_ref().filter(|measured| measured.cores != args.cores) {
        return Err(Failure::wrong_input(format!(
            "the calibration is of a machine with {cores} processors, and --cores is {}; draw for that machine with --cores {cores}",
            args.cores
        )));
    }
    let host = Host { cores: args.cores, measured };
    let mut lowered = Vec::new();
    for index in 0..args.count {
        let DrawnScenario { name, text, is_lowered } = draw(args.seed, index, &host);
        let path = args.out.join(format!("{name}.toml"));
        // A file that cannot be played would be found only when a campaign begins.
        Scenario::parse(&path.visible().to_string(), &text, &[]).map_err(Failure::wrong_input)?;
        let file = SingleFile { path: &path, comment: "# ", force: args.force };
        file.write(&OsFiles, &text).map_err(Failure::wrong_input)?;
        lowered.extend(is_lowered.then_some(name));
    }
    Ok(lowered)
}

/// Returns the random numbers of `seed` for a purpose and the object that `numbers` name.
fn dice_of(seed: u64, purpose: &str, numbers: &[u64]) -> Dice {
    Dice::new(seed, &format!("fidelity.draw.{purpose}"), numbers)
}

/// Draws scenario `index` of `seed`.
fn draw(seed: u64, index: u64, host: &Host) -> DrawnScenario {
    let strata = Strata::draw(seed, index);
    let work = work::draw(&strata, seed, host);
    let settings = policies::draw(&strata, &work, seed);
    let faults = faults::draw(&strata, &work, seed);
    file::write(seed, host, &strata, &work, &settings, &faults)
}

#[cfg(test)]
mod tests;
