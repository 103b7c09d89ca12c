//! `sim sweep-job`: a sweep as a job of a scheduler, which spreads its shards over machines.
//!
//! Every shard is one command, `sim run … --shard`, and its folder; `reports merge` makes the sweep of them. The schedulers differ in how a
//! command learns which shard it is:
//!
//! | scheduler | number of the shard | what is written |
//! | --- | --- | --- |
//! | Kubernetes | the index of an Indexed Job, from 0 | a ConfigMap with the resolved scenario, and a Job |
//! | Slurm | the task of an array, from 1 | a script for `sbatch` |
//! | GNU parallel | the line of its input, from 1 | a script for a shell |

mod kubernetes;

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
};

use clap::{Args, ValueEnum};
use kernel::{
    cli::{Exit, Failure, print, program, quoted},
    experiment::sweep::{Axis, Seeds},
    object_folder::StoreUrl,
    scenario::Scenario,
};

use crate::cli::{
    many::variants,
    options::{Conditions, WORLD},
};

/// The scheduler that starts the shards.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Scheduler {
    /// An Indexed Job of Kubernetes.
    Kubernetes,
    /// A job array of Slurm.
    Slurm,
    /// GNU parallel, on this machine or by ssh on others.
    Parallel,
}

/// Options of `sim sweep-job`.
#[derive(Debug, Args)]
pub(crate) struct SweepJobArgs {
    /// The scenario file.
    scenario: PathBuf,

    /// The seeds from FROM up to TO, which is left out.
    #[arg(long, value_name = "FROM..TO")]
    seeds: Seeds,

    /// The number of shards, at most that of the seeds.
    #[arg(long, value_name = "N")]
    shards: NonZeroU64,

    /// The scheduler that starts the shards.
    #[arg(long = "for", value_name = "SCHEDULER")]
    scheduler: Scheduler,

    /// Runs each seed with each of these values of a setting, and compares; may be repeated for a grid.
    #[arg(long, value_name = "KEY=VALUE,VALUE")]
    vary: Vec<Axis>,

    #[command(flatten)]
    conditions: Conditions,

    /// The folder of the shards' folders, which all machines share; with Kubernetes, below the volume's root; or its place in an object store,
    /// such as s3://BUCKET/PREFIX [default: runs/SCENARIO/sweep].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,

    /// With Kubernetes: the image whose entry point is this program.
    #[arg(long, value_name = "IMAGE", default_value = concat!("rehearsal-sim:", env!("CARGO_PKG_VERSION")))]
    image: String,

    /// With Kubernetes: the claim of a volume that pods on all nodes can write, to which the shards' folders go.
    #[arg(long, value_name = "NAME", default_value = "rehearsal-runs")]
    claim: String,
}

/// Prints the job.
pub(crate) fn run(args: &SweepJobArgs) -> Result<Exit, Failure> {
    // What is wrong is better said here than by each of the shards.
    let scenario = Scenario::load(&args.scenario, &args.conditions.overrides).map_err(Failure::wrong_input)?;
    variants(&args.scenario, &args.conditions.overrides, &args.vary)?;
    args.conditions.calibration()?;
    args.store()?;
    let seeds = args.seeds.count();
    if args.shards.get() > seeds {
        return Err(Failure::wrong_input(format!(
            "{} shards are more than the {seeds} seeds of {}; `--shards {seeds}` is the most",
            args.shards, args.seeds
        )));
    }
    print(&match args.scheduler {
        Scheduler::Kubernetes => kubernetes::manifest(args, &scenario)?,
        Scheduler::Slurm => args.slurm(&scenario),
        Scheduler::Parallel => args.parallel(&scenario),
    });
    Ok(Exit::Passed)
}

impl SweepJobArgs {
    /// Returns the words of a shard's command that all shards share, from the scenario on.
    fn words(&self, scenario: &str, calibration: Option<&str>) -> Vec<String> {
        let mut words = ["run", scenario, "--seeds"].map(str::to_owned).to_vec();
        words.push(self.seeds.to_string());
        let axes = self.vary.iter().map(|Axis { key, values }| format!("{key}={}", values.join(",")));
        words.extend(axes.flat_map(|axis| ["--vary".to_owned(), axis]));
        words.extend(calibration.into_iter().flat_map(|file| ["--calibration".to_owned(), file.to_owned()]));
        // A shard takes the processor that its scheduler has given it, and no more.
        words.extend(["--jobs", "1"].map(str::to_owned));
        words
    }

    /// Returns the command of a shard for a shell, without its shard and its folder.
    fn command(&self) -> String {
        let calibration = self.conditions.times.as_ref().map(|file| file.to_string_lossy());
        let mut words = self.words(&self.scenario.to_string_lossy(), calibration.as_deref());
        words.extend(self.conditions.overrides.iter().flat_map(|setting| ["--set".to_owned(), setting.clone()]));
        let words: Vec<_> = words.iter().map(|word| quoted(word)).collect();
        format!("{} {}", program(WORLD), words.join(" "))
    }

    /// Returns the place of the shards' folders, if it is in an object store.
    fn store(&self) -> Result<Option<StoreUrl>, Failure> {
        self.out.as_deref().and_then(StoreUrl::from_path).transpose().map_err(Failure::wrong_input)
    }

    /// Returns the folder of the shards' folders.
    fn folder(&self, scenario: &Scenario) -> String {
        let out = self.out.clone().unwrap_or_else(|| PathBuf::from("runs").join(&scenario.name).join("sweep"));
        let out = out.to_string_lossy();
        // A `/` at the end of a URL would be doubled.
        if out.contains("://") { out.trim_end_matches('/').to_owned() } else { out.into() }
    }

    /// Returns the command that makes the sweep of the shards in `folder`, for a shell.
    fn merge(&self, folder: &str) -> String {
        let shards = format!("{folder}/shard-*");
        // A shell finds the shards in a folder, and `reports` those in a store.
        let shards = if folder.contains("://") { format!("'{shards}'") } else { format!("{}/shard-*", quoted(folder)) };
        format!("reports merge {shards} --out {}/all", quoted(folder))
    }

    /// Returns what a sweep is of, for a comment.
    fn title(&self, scenario: &Scenario) -> String {
        format!("The sweep of {} over the seeds {} in {} shards.", scenario.name, self.seeds, self.shards)
    }

    fn slurm(&self, scenario: &Scenario) -> String {
        let shards = self.shards;
        let place = self.folder(scenario);
        let command = self.command();
        let folder = quoted(&place);
        let merge = self.merge(&place);
        format!(
            "#!/bin/sh\n\
             #SBATCH --job-name={name}\n\
             #SBATCH --array=1-{shards}\n\
             #SBATCH --cpus-per-task=1\n\
             # {title} A shard ends with 1 if an expectation fails in one of its runs.\n\
             # When all have ended: {merge}\n\
             exec {command} --shard \"$SLURM_ARRAY_TASK_ID/{shards}\" --out {folder}/shard-\"$SLURM_ARRAY_TASK_ID\"\n",
            name = quoted(&scenario.name),
            title = self.title(scenario),
        )
    }

    fn parallel(&self, scenario: &Scenario) -> String {
        let shards = self.shards;
        let place = self.folder(scenario);
        let command = self.command();
        let log = match StoreUrl::from_path(Path::new(&place)) {
            Some(Ok(url)) => url.local().display().to_string(),
            _ => place.clone(),
        };
        let folder = quoted(&place);
        let merge = self.merge(&place);
        let log = quoted(&log);
        format!(
            "#!/bin/sh\n\
             # {title} Needs GNU parallel, whose options are the arguments of this script, such as\n\
             # `--jobs 8` or `--sshlogin`; a shard that has been played is not played again.\n\
             # Its exit code is that of `reports merge`: 0 if all runs pass, 1 if not, 2 if a shard is missing.\n\
             mkdir -p {log}\n\
             seq {shards} | parallel \"$@\" --quote --joblog {log}/jobs.tsv \\\n    \
                 {command} --shard {{}}/{shards} --out {folder}/shard-{{}}\n\
             {merge}\n",
            title = self.title(scenario),
        )
    }
}
