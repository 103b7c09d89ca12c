//! What was measured, as a table for people and as a calibration file for the simulation.

use std::fmt::Write;

use kernel::{
    measure::text::{
        quantity::{duration, percent},
        table::{Align, TextTable},
    },
    run_folder::HostInfo,
    scenario::Size,
};

use super::{
    course::{Merged, SHAPED_US, Told},
    processes::Processes,
    samples::Samples,
};

/// Everything that was measured.
#[derive(Debug)]
pub(super) struct Findings {
    host: HostInfo,
    started: String,
    processes: Processes,
    told: Told,
    /// Of requests whose worker waits, for all sizes: by how much it goes on late.
    server_late: Samples,
    /// Of these over a slower link: by how much longer a round trip took than the link was told.
    shaped_beyond: Samples,
    /// Of connections, whatever the run.
    connect: Samples,
}

/// A line of the table.
struct Line<'a> {
    what: String,
    samples: &'a Samples,
    /// Whether the file is of no use if this is not steady.
    matters: bool,
}

impl Findings {
    pub(super) fn of(host: &HostInfo, started: &str, processes: Processes, told: Told) -> Self {
        let mut server_late = Samples::default();
        told.waiting.by_size.values().for_each(|way| server_late.join(&way.held));
        let mut connect = told.computing.connect.clone();
        connect.join(&told.waiting.connect);
        let shaped_beyond = beyond(&told.shaped);
        Self { host: host.clone(), started: started.to_owned(), processes, told, server_late, shaped_beyond, connect }
    }

    /// How unsteady the host was: the most that a median of what matters moved by between rounds, as a share of itself.
    pub(super) fn noise(&self) -> f64 {
        let lines = self.lines();
        lines.iter().filter(|line| line.matters).map(|line| line.samples.noise()).fold(0.0, f64::max)
    }

    /// A sentence on it.
    pub(super) fn verdict(&self, warning: f64, max: f64) -> String {
        let noise = percent(self.noise());
        match self.noise() {
            noisy if noisy > max => format!("this host is too busy: a median moved by {noise} between rounds"),
            noisy if noisy > warning => {
                format!("warning: this host is noisy, a median moved by {noise} between rounds; better repeat it later")
            }
            _ => format!("this host is steady: no median moved by more than {noise} between rounds"),
        }
    }

    /// Every quantity with its number of samples, quantiles, and what its median moved by between rounds.
    pub(super) fn table(&self) -> String {
        let mut table = TextTable::new(&[
            ("quantity", Align::Left),
            ("samples", Align::Right),
            ("p10", Align::Right),
            ("p50", Align::Right),
            ("p90", Align::Right),
            ("p99", Align::Right),
            ("between rounds", Align::Right),
        ]);
        for line in self.lines() {
            let at = |probability| line.samples.quantile(probability).map_or("n/a".to_owned(), |us| duration(us / 1e6));
            let noise = if line.matters { percent(line.samples.noise()) } else { String::new() };
            let cells = [at(0.1), at(0.5), at(0.9), at(0.99)];
            table.row([vec![line.what, line.samples.count().to_string()], cells.to_vec(), vec![noise]].concat());
        }
        table.render()
    }

    /// How long workers are held by a workload, and by what size of it.
    fn services(&self) -> impl Iterator<Item = (&str, &str, &Samples)> {
        let others = self.told.others.iter().map(|(workload, merged)| (*workload, merged));
        [("sobel", &self.told.computing)].into_iter().chain(others).flat_map(|(workload, merged)| {
            merged.by_size.iter().map(move |(size, way)| (workload, size.as_str(), &way.held))
        })
    }

    fn lines(&self) -> Vec<Line<'_>> {
        let Processes { exec_to_listen, exit, round_trip } = &self.processes;
        let plain = |what: &str, samples| Line { what: what.to_owned(), samples, matters: false };
        let mut lines = vec![
            plain("start of a process, until it listens", exec_to_listen),
            plain("end of a process, until connections break", exit),
            plain("bare round trip", round_trip),
            plain("connection set-up", &self.connect),
            plain("shaped round trip, beyond the 2 x 5 ms", &self.shaped_beyond),
            plain("client's timers, late by", &self.told.waiting.client_late),
            Line { what: "servers' timers, late by".to_owned(), samples: &self.server_late, matters: true },
        ];
        for (workload, size, samples) in self.services() {
            // Answering with data is a matter of a few microseconds, whichever way they go.
            lines.push(Line { what: format!("{size}: service"), samples, matters: workload != "backend" });
        }
        for (size, way) in &self.told.waiting.by_size {
            let line = |what, samples| Line { what: format!("{size}: {what}"), samples, matters: true };
            lines.push(line("client to worker", &way.to_server));
            lines.push(line("worker to client", &way.to_client));
        }
        lines
    }

    /// The calibration. What the simulation does not read is in comments.
    pub(super) fn to_toml(&self) -> String {
        let mut text = String::new();
        let HostInfo { operating_system, cores, load_average } = &self.host;
        let load = load_average.map_or("unknown".to_owned(), |load| format!("{load:?}"));
        let mut line = |line: &str| writeln!(text, "{line}").expect("a string takes everything");
        line("# Times of a host, as (probability, microseconds) pairs between which they are linear.");
        line("# Measured by `real calibrate`, on runs without faults and on processes that served nobody.");
        line(&format!(
            "# Load averages when it began: {load}. Between rounds a median moved by {} at most.",
            percent(self.noise())
        ));
        line(&format!("name = \"{operating_system}, {cores} cores, {}\"\n", self.started));

        line("[link]");
        line(&format!("# A health check there and back, halved. {}", about(&self.processes.round_trip)));
        line(&format!("one_way_us = {}", written(&self.processes.round_trip.map(|us| us / 2.0))));
        line(&format!("# {}", about(&self.connect)));
        line(&format!("connect_us = {}", written(&self.connect)));
        let beyond = &self.shaped_beyond;
        line(&format!("# Over links of 5 ms each way a round trip took longer, by {}", quartiles(beyond)));

        line("\n[process]");
        line(&format!("# {}", about(&self.processes.exec_to_listen)));
        line(&format!("exec_to_listen_us = {}", written(&self.processes.exec_to_listen)));
        line(&format!("# {}", about(&self.processes.exit)));
        line(&format!("exit_us = {}", written(&self.processes.exit)));

        line("\n[timer]");
        line(&format!("# {}", about(&self.told.waiting.client_late)));
        line(&format!("client_late_us = {}", written(&self.told.waiting.client_late)));
        line(&format!("# {}", about(&self.server_late)));
        line(&format!("server_late_us = {}", written(&self.server_late)));

        for (workload, size, samples) in self.services() {
            line("\n[[service_time]]");
            line(&format!("workload = \"{workload}\""));
            line(&format!("units = {}        # {size}", units(size)));
            line(&format!("# {}", about(samples)));
            line(&format!("us = {}", written(samples)));
        }
        for (size, way) in &self.told.waiting.by_size {
            line("\n[[message]]");
            // An image has a byte a pixel, and is as large on its way back.
            line(&format!("bytes = {}        # {size}", units(size)));
            line(&format!("# {}", about(&way.to_server)));
            line(&format!("to_server_us = {}", written(&way.to_server)));
            line(&format!("# {}", about(&way.to_client)));
            line(&format!("to_client_us = {}", written(&way.to_client)));
        }
        text
    }
}

/// By how much longer requests of `shaped` runs took on their way than the links were told, both ways together.
fn beyond(shaped: &Merged) -> Samples {
    let mut beyond = Samples::default();
    for way in shaped.by_size.values() {
        beyond.join(&way.to_server.plus(&way.to_client).map(|us| us - 2.0 * SHAPED_US));
    }
    beyond
}

/// How much work an input is by what rows call its size: the pixels of `64x64`, the nodes and edges of `2000+6000`, or one.
fn units(size: &str) -> u64 {
    if let Ok(Size { width, height }) = size.parse() {
        return u64::from(width) * u64::from(height);
    }
    size.split('+').map(str::parse::<u64>).sum::<Result<_, _>>().unwrap_or(1)
}

/// The number of samples and their spread.
fn about(samples: &Samples) -> String {
    if samples.rounds() < 2 {
        return format!("{} samples.", samples.count());
    }
    format!("{} samples, between rounds the median moved by {}.", samples.count(), percent(samples.noise()))
}

fn quartiles(samples: &Samples) -> String {
    let at = |probability| samples.quantile(probability).map_or("n/a".to_owned(), |us| format!("{us:.0} µs"));
    format!("{} to {} in half the cases, {} in the middle; {} samples.", at(0.25), at(0.75), at(0.5), samples.count())
}

fn written(samples: &Samples) -> String {
    let points: Vec<_> = samples.distribution().iter().map(|(p, us)| format!("[{p:?}, {us:?}]")).collect();
    format!("[{}]", points.join(", "))
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use sim::{Plan, calibration::Calibration};

    use super::*;
    use crate::calibrate::observed::{Observed, Way};

    fn observed(held: f64) -> Observed {
        let way = Way { to_server: vec![200.0; 5], held: vec![held; 5], to_client: vec![300.0; 5] };
        let by_size = BTreeMap::from([("16x16".to_owned(), way.clone()), ("64x64".to_owned(), way)]);
        Observed { client_late: vec![30.0; 5], connect: vec![250.0; 2], by_size }
    }

    fn findings(second_round: f64) -> Findings {
        let mut told = Told::default();
        for held in [100.0, second_round] {
            told.computing.add(observed(held));
            told.waiting.add(observed(70.0));
            told.shaped.add(observed(70.0));
            let way = Way { to_server: vec![200.0; 5], held: vec![7.0; 5], to_client: vec![300.0; 5] };
            let by_size = BTreeMap::from([("data".to_owned(), way)]);
            told.others.entry("backend").or_default().add(Observed { by_size, ..Observed::default() });
        }
        let processes = Processes {
            exec_to_listen: Samples::of(vec![4_000.0, 5_000.0]),
            exit: Samples::of(vec![900.0]),
            round_trip: Samples::of(vec![100.0; 9]),
        };
        let host = HostInfo { operating_system: "Linux 6".to_owned(), cores: 2, load_average: Some([0.5, 0.25, 0.0]) };
        Findings::of(&host, "2026-01-01T00:00:00Z", processes, told)
    }

    fn read(text: &str) -> Calibration {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("calibration.toml");
        std::fs::write(&file, text).unwrap();
        Calibration::load(&file).unwrap()
    }

    /// What is written is read by the program it is written for, and says there what was measured.
    #[test]
    fn the_simulation_reads_the_calibration_and_takes_the_times_that_were_measured() {
        let calibration = read(&findings(100.0).to_toml());
        let text = "name = 's'\nduration = '3s'\nworkload.sizes = ['64x64']\nload.rate = 1\nservers.replicas = 1\n\
                    [servers]\nservice_time_min = '10ms'\n";
        let text = text.replace("servers.replicas = 1\n[servers]", "[servers]\nreplicas = 1");
        let scenario = kernel::scenario::Scenario::parse("s", &text, &[]).unwrap();
        let played = sim::run(&Plan { scenario, seed: 1, calibration }, &Default::default()).unwrap();
        let again = Observed::of(&played.records, Duration::from_millis(10));
        let way = Way { to_server: vec![200.0; 2], held: vec![70.0; 2], to_client: vec![300.0; 2] };
        assert_eq!(again.client_late, [30.0; 2]);
        assert_eq!(again.by_size["64x64"], way);
    }

    /// So that scenarios of every workload can be played with it.
    #[test]
    fn other_workloads_are_in_the_calibration_with_their_units() {
        let text = findings(100.0).to_toml();
        let at = text.find("workload = \"backend\"\nunits = 1 ").unwrap();
        assert!(text[at..].lines().nth(3).unwrap().starts_with("us = [[0.0, 7.0]"), "{text}");
        assert_eq!([units("64x32"), units("2000+6000"), units("data")], [2_048, 8_000, 1]);
        assert!(read(&text).knows("backend"));
    }

    #[test]
    fn a_host_whose_rounds_differ_is_called_noisy_and_one_that_changes_altogether_too_busy() {
        let verdict = |second| findings(second).verdict(0.25, 1.0);
        assert_eq!(verdict(101.0), "this host is steady: no median moved by more than 1.00 % between rounds");
        assert!(verdict(150.0).starts_with("warning: this host is noisy"), "{}", verdict(150.0));
        assert!(verdict(900.0).starts_with("this host is too busy"), "{}", verdict(900.0));
    }

    #[test]
    fn the_table_states_sample_sizes_and_spread() {
        let table = findings(101.0).table();
        let line = table.lines().find(|line| line.contains("16x16: service")).unwrap();
        let words: Vec<_> = line.split_whitespace().collect();
        assert_eq!(words[2], "10", "{line}");
        assert!(line.ends_with('%'), "{line}");
    }
}
