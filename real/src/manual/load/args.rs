//! The command line of `real load`.

use std::{path::PathBuf, time::Duration};

use clap::{ArgGroup, Args};
use kernel::{
    app::App,
    cli::Failure,
    scenario::{Expectation, Metric, Pictures, Scenario, Size, Workload, limits},
    visible::Visible,
};

use super::super::{
    registry::{EntryKind, Registry},
    target,
};
use crate::{events::EventsArgs, export::MetricsArgs, location::Location, option, tls::TlsClientArgs};

/// The scenario that options and `--set` override when there is no `--scenario`.
const DEFAULTS: &str = "name = \"load\"\nduration = \"60s\"\n[load]\nrate = 10.0\n";

/// Options of `real load`.
#[derive(Debug, Clone, Args)]
#[command(group = ArgGroup::new("written").multiple(true))]
pub struct LoadArgs {
    /// The ids, ports or addresses of servers, separated by commas [default: all servers that run].
    #[arg(long, value_delimiter = ',', value_name = "SERVERS")]
    pub(super) servers: Vec<String>,

    /// The time during which requests are sent [default: 60s].
    #[arg(long, value_parser = option::span, value_name = "TIME")]
    pub(super) duration: Option<Duration>,

    /// Requests per second, whether or not they are answered [default: 10].
    #[arg(long, value_parser = option::rate)]
    pub(super) rate: Option<f64>,

    /// Users beside or, without --rate, in place of the requests per second; each calls, waits for the reply and thinks.
    #[arg(long, value_name = "COUNT")]
    pub(super) users: Option<usize>,

    /// The mean time that a user thinks between two calls [default: 1s].
    #[arg(long, value_name = "TIME")]
    pub(super) think_time: Option<String>,

    /// The workload: sobel, dfs or backend [default: sobel].
    #[arg(long, value_name = "KIND")]
    pub(super) workload: Option<String>,

    /// The sizes of the images, one of which is drawn for each request, separated by commas [default: 256x256].
    #[arg(long, value_delimiter = ',', value_parser = option::size)]
    pub(super) sizes: Vec<Size>,

    /// The file to write a line of JSON to for each request as it ends.
    #[arg(long, value_name = "FILE", group = "written")]
    pub(super) log: Option<PathBuf>,

    /// The folder to write the load to, as a run, for `reports`; without it only the summary is kept.
    #[arg(long, value_name = "DIR", group = "written")]
    pub(super) out: Option<PathBuf>,

    /// Replaces the file of --log and the folder of --out if they are there.
    #[arg(long, requires = "written")]
    pub(super) force: bool,

    /// The number from which everything random is drawn: arrivals, images, backoffs.
    #[arg(long, default_value_t = 0)]
    pub(super) seed: u64,

    /// A scenario whose [client], [load], [workload] and expectations apply. Its faults are not injected.
    #[arg(long, value_name = "FILE")]
    pub(super) scenario: Option<PathBuf>,

    /// Overrides a setting of the scenario, such as client.attempt_timeout=2s; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    pub(super) overrides: Vec<String>,

    /// Shows only requests that fail or are retried.
    #[arg(long)]
    pub(super) quiet: bool,

    /// Prints the summary as JSON.
    #[arg(long)]
    pub(super) json: bool,

    #[command(flatten)]
    pub(super) tls: TlsClientArgs,

    #[command(flatten)]
    pub(super) metrics: MetricsArgs,

    #[command(flatten)]
    pub(super) events: EventsArgs,
}

impl LoadArgs {
    /// The scenario that the options and the file describe, without expectations that need recorded faults.
    pub(super) fn scenario(&self) -> Result<Scenario, Failure> {
        // Without a file and an option it is what the servers of this program serve.
        let of_program = App::of_program().filter(|_| self.scenario.is_none()).map(|_| "app");
        let kind = self.workload.as_deref().or(of_program);
        let kind = kind.iter().map(|kind| format!("workload.kind={kind}"));
        // The defaults have a rate, which users take the place of; a scenario has the load that it describes.
        let alone =
            self.users.filter(|_| self.rate.is_none() && self.scenario.is_none()).map(|_| "load.rate=0".to_owned());
        let users = self.users.map(|users| format!("load.users={users}"));
        let think_time = self.think_time.as_ref().map(|time| format!("load.think_time={time}"));
        let load = [alone, users, think_time].into_iter().flatten();
        let overrides: Vec<_> = kind.chain(load).chain(self.overrides.iter().cloned()).collect();
        let read = match &self.scenario {
            Some(path) => Scenario::load(path, &overrides),
            None => Scenario::parse("the settings of load", DEFAULTS, &overrides),
        };
        let mut scenario = read.map_err(Failure::wrong_input)?;
        scenario.duration = self.duration.unwrap_or(scenario.duration);
        if let Some(rate) = self.rate {
            if scenario.load.trace_us.is_some() {
                return Err(Failure::wrong_input(
                    "--rate and the trace of the scenario exclude each other; leave one out",
                ));
            }
            scenario.load.rate = rate;
        }
        if !self.sizes.is_empty() {
            let Workload::Sobel(images) = &mut scenario.workload else {
                let kind = scenario.workload.name();
                return Err(Failure::wrong_input(format!("--sizes are of images, and the workload is `{kind}`")));
            };
            images.pictures = Pictures::Synthetic(self.sizes.clone());
        }
        scenario.expectations.retain(holds_without_faults);
        Ok(scenario)
    }

    /// The servers with their locations, under the names and in the order of the command line.
    pub(super) fn servers(&self) -> Result<Vec<(String, Location)>, Failure> {
        let running = Registry::for_user()?.entries()?;
        let mut servers: Vec<(String, Location)> = Vec::new();
        for name in &self.servers {
            let location = target::locate(&running, name, self.metrics.remote())?;
            if let Some((other, _)) = servers.iter().find(|(_, known)| known.address() == location.address()) {
                return Err(Failure::wrong_input(format!(
                    "`{}` and `{}` are the same server",
                    other.visible(),
                    name.visible()
                )));
            }
            servers.push((name.clone(), location));
        }
        if self.servers.is_empty() {
            let all = running.iter().filter(|entry| entry.kind == EntryKind::Server);
            servers.extend(all.map(|entry| (entry.id.clone(), Location::Fixed(entry.address))));
        }
        match servers.len() {
            0 => Err(Failure::wrong_input("no server runs; start some with `real up 2`, or name some with --servers")),
            count if limits::REPLICAS.contains(&count) => Ok(servers),
            count => Err(Failure::wrong_input(format!("{count} are too many; {} at most", limits::REPLICAS.end()))),
        }
    }
}

/// Tells if an expectation can be checked without the faults: those are injected by hand and not recorded.
fn holds_without_faults(expected: &Expectation) -> bool {
    expected.during.is_none() && !matches!(expected.metric, Metric::RecoveryTime | Metric::TimeToDetect)
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use kernel::scenario::GraphSize;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        load: LoadArgs,
    }

    fn scenario(words: &[&str]) -> Result<Scenario, Failure> {
        Line::parse_from([&["load"], words].concat()).load.scenario()
    }

    #[test]
    fn options_override_settings_and_settings_override_the_defaults() {
        let plain = scenario(&[]).unwrap();
        assert_eq!((plain.duration, plain.load.rate), (Duration::from_secs(60), 10.0));
        let set = scenario(&["--set", "load.rate=20", "--set", "client.retry.max_attempts=1"]).unwrap();
        assert_eq!((set.load.rate, set.client.retry.max_attempts), (20.0, 1));
        let both = scenario(&["--set", "load.rate=20", "--rate", "5", "--duration", "1m", "--sizes", "8x8,16x16"]);
        let both = both.unwrap();
        assert_eq!((both.load.rate, both.duration), (5.0, Duration::from_secs(60)));
        let sizes = [8, 16].map(|side| Size { width: side, height: side });
        assert_eq!(both.workload, Workload::Sobel(Pictures::Synthetic(sizes.to_vec()).into()));
        let dfs = scenario(&["--workload", "dfs", "--set", "workload.nodes=50"]).unwrap();
        assert_eq!(dfs.workload, Workload::Dfs(GraphSize { nodes: 50, edges: 60_000 }));
        let sizes = scenario(&["--workload", "dfs", "--sizes", "8x8"]);
        assert!(sizes.is_err_and(|f| f.message == "--sizes are of images, and the workload is `dfs`"));
        assert!(scenario(&["--workload", "dsf"]).is_err_and(|f| f.message.contains("`dsf` is not a workload kind")));
        assert!(scenario(&["--set", "client.retry.max_attemps=1"]).is_err_and(|f| f.message.contains("max_attempts")));
    }

    #[test]
    fn users_take_the_place_of_the_default_rate_and_stand_beside_one_that_is_given() {
        let users = scenario(&["--users", "7", "--think-time", "300ms"]).unwrap().load;
        assert_eq!((users.rate, users.users, users.think_time), (0.0, Some(7), Some(Duration::from_millis(300))));
        let both = scenario(&["--users", "7", "--rate", "5"]).unwrap().load;
        assert_eq!((both.rate, both.users, both.think_time), (5.0, Some(7), Some(Duration::from_secs(1))));
        let wrong = scenario(&["--think-time", "1s"]).unwrap_err().message;
        assert!(wrong.contains("`think_time` is of users, and there are none"), "{wrong}");
    }

    #[test]
    fn expectations_about_faults_are_left_out() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("s.toml");
        let text = "name = \"s\"\nduration = \"9s\"\n[load]\nrate = 1\n[[expect]]\nmetric = \"success_rate\"\nmin = 0.9\n\
                    [[expect]]\nmetric = \"recovery_time\"\nmax = \"5s\"\n[[fault]]\nat = \"1s\"\nkind = \"reset\"\n\
                    target = \"*\"\n[[expect]]\nmetric = \"latency_p95\"\nduring = \"fault-0\"\nmax = \"5s\"\n";
        std::fs::write(&file, text).unwrap();
        let scenario = scenario(&["--scenario", file.to_str().unwrap()]).unwrap();
        let metrics: Vec<_> = scenario.expectations.iter().map(|expected| expected.metric).collect();
        assert_eq!(metrics, [Metric::SuccessRate]);
    }
}
