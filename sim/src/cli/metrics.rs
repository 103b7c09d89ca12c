//! `sim run --metrics`: the metrics of a run, as a file.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    time::Duration,
};

use clap::Args;
use kernel::{cli::Failure, export::Timeline, scenario::duration, visible::Visible};

/// The shortest interval: timestamps have whole milliseconds.
const INTERVAL_MIN: Duration = Duration::from_millis(1);

/// The longest interval, after which Prometheus takes a series for ended.
const INTERVAL_MAX: Duration = Duration::from_secs(300);

/// Options of the metrics of a run.
#[derive(Debug, Args)]
pub(crate) struct MetricsArgs {
    /// The file to write the metrics of the run to, over its virtual time, as OpenMetrics with timestamps; only of a single run.
    #[arg(long = "metrics", value_name = "FILE", conflicts_with = "seeds")]
    pub(crate) file: Option<PathBuf>,

    /// The virtual time between two values of each metric.
    #[arg(long = "metrics-interval", value_name = "TIME", default_value = "1s", value_parser = interval, requires = "file")]
    pub(crate) interval: Duration,
}

/// The most values of a metric: a file of them has some hundred times as many lines.
const VALUES_MAX: u128 = 1_000_000;

impl MetricsArgs {
    /// Checks that the metrics of a run of this `duration` are not too many, if they are asked for.
    pub(crate) fn check(&self, run: Duration) -> Result<(), Failure> {
        let values = run.as_nanos() / self.interval.as_nanos();
        if self.file.is_none() || values <= VALUES_MAX {
            return Ok(());
        }
        let interval = duration::text(self.interval);
        let message = format!("a value every {interval} is {values} of each metric; allowed are {VALUES_MAX}");
        Err(Failure::wrong_input(message + "; choose a longer --metrics-interval"))
    }
}

fn interval(text: &str) -> Result<Duration, String> {
    let time = duration::parse(text).map_err(|error| error.to_string())?;
    let min = duration::text(INTERVAL_MIN);
    let max = duration::text(INTERVAL_MAX);
    if time.subsec_nanos().is_multiple_of(1_000_000) && (INTERVAL_MIN..=INTERVAL_MAX).contains(&time) {
        return Ok(time);
    }
    Err(format!("whole milliseconds from {min} to {max} are wanted"))
}

/// The file of a run's metrics.
pub(crate) struct MetricsFile<'a> {
    path: &'a Path,
    file: File,
}

impl<'a> MetricsFile<'a> {
    /// Creates the file. One that is there is replaced if `force`, or if it is empty or a device: it may hold what cannot be had again.
    pub(crate) fn create(path: &'a Path, force: bool) -> Result<Self, Failure> {
        let found = fs::metadata(path);
        let is_free = found.is_ok_and(|found| if found.is_file() { found.len() == 0 } else { !found.is_dir() });
        let mut options = File::options();
        options.write(true);
        if force || is_free {
            options.create(true).truncate(true);
        } else {
            options.create_new(true);
        }
        let file = options.open(path).map_err(|error| {
            let shown = path.visible();
            Failure::wrong_input(match error.kind() {
                io::ErrorKind::AlreadyExists => {
                    format!("the file {shown} exists; choose another --metrics, or replace it with --force")
                }
                _ => format!("cannot write the metrics: {shown}: {error}; choose another --metrics"),
            })
        })?;
        Ok(Self { path, file })
    }

    /// Writes the metrics.
    pub(crate) fn write(self, timeline: &Timeline) -> Result<(), Failure> {
        let mut out = BufWriter::new(self.file);
        timeline.write(&mut out).and_then(|()| out.flush()).map_err(|error| {
            Failure::run_failed(format!("cannot write all of the metrics: {}: {error}", self.path.visible()))
        })
    }
}
