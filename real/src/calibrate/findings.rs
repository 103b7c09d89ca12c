//! The result of a calibration, as a table for people and as a calibration file for the simulation.

use std::fmt::Write;

use kernel::{
    measure::text::{
        quantity::{duration, percent},
        table::{Align, TextTable},
    },
    run_folder::HostInfo,
    workload::size,
};

use super::{
    handshakes::HandshakeTimes,
    machine::{MachineModel, OverloadedRate, REQUESTS_MIN},
    measurement::{Measurement, RunSamples},
    plan::SHAPED_US,
    processes::ProcessTimes,
    samples::{Samples, written},
};

/// Everything that was measured.
#[derive(Debug)]
pub(crate) struct Findings {
    host: HostInfo,
    started: String,
    processes: ProcessTimes,
    handshakes: HandshakeTimes,
    measurement: Measurement,
    /// Lateness of a waiting worker, over all sizes.
    server_late: Samples,
    /// Time that a round trip over a slower link took beyond the configured latency.
    shaped_beyond: Samples,
    /// Time that a connection takes to open, over all runs.
    connect: Samples,
    /// The model of the machine; `None` if no run measured it.
    machine: Option<MachineModel>,
    /// Rates that the model of the machine is not fitted to, as the machine does not keep up.
    overloaded: Vec<OverloadedRate>,
}

/// A row of the table.
struct TableRow<'a> {
    what: String,
    samples: &'a Samples,
    /// The calibration is of no use if this quantity differs much between rounds.
    matters: bool,
}

impl Findings {
    /// Combines the times of processes and of runs, measured on `host` from the time `started` on.
    pub(super) fn new(
        host: &HostInfo,
        started: &str,
        (processes, handshakes): (ProcessTimes, HandshakeTimes),
        mut measurement: Measurement,
    ) -> Self {
        let mut server_late = Samples::default();
        measurement.waiting.by_size.values().for_each(|way| server_late.join(&way.held));
        let mut connect = measurement.computing.connect.clone();
        connect.join(&measurement.waiting.connect);
        let shaped_beyond = beyond(&measurement.shaped);
        let overloaded = measurement.machine.leave_out_overloaded();
        let machine = MachineModel::fit(host.cores, &measurement.machine);
        Self {
            host: host.clone(),
            started: started.to_owned(),
            processes,
            handshakes,
            measurement,
            server_late,
            shaped_beyond,
            connect,
            machine,
            overloaded,
        }
    }

    /// The largest difference of a median between rounds, as a share of that median, over the quantities that matter.
    pub(super) fn noise(&self) -> f64 {
        let rows = self.rows();
        rows.iter().filter(|row| row.matters).map(|row| row.samples.noise()).fold(0.0, f64::max)
    }

    /// A sentence about the rates that the model of the machine is not fitted to, if there are some.
    pub(super) fn overload(&self) -> Option<String> {
        let rates: Vec<_> = self.overloaded.iter().map(|overloaded| overloaded.rate.to_string()).collect();
        let requests: Vec<_> = self.overloaded.iter().map(|overloaded| overloaded.requests.to_string()).collect();
        let [rates, requests] = [rates, requests].map(|numbers| numbers.join(" and "));
        (!self.overloaded.is_empty()).then(|| {
            format!(
                "this machine does not keep up with {rates} requests/s: only {requests} requests overlapped no other, and a model of the machine \
                 needs {REQUESTS_MIN} at each rate that it is fitted to"
            )
        })
    }

    /// A sentence about the noise: a warning beyond `warning`, too busy beyond `max`.
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

    /// A table of every quantity: number of samples, quantiles, and the difference of its median between rounds.
    pub(crate) fn table(&self) -> String {
        let mut table = TextTable::new(&[
            ("quantity", Align::Left),
            ("samples", Align::Right),
            ("p10", Align::Right),
            ("p50", Align::Right),
            ("p90", Align::Right),
            ("p99", Align::Right),
            ("between rounds", Align::Right),
        ]);
        for TableRow { what, samples, matters } in self.rows() {
            let noise = if matters { percent(samples.noise()) } else { String::new() };
            let quantiles = [0.1, 0.5, 0.9, 0.99]
                .map(|share| samples.quantile(share).map_or("n/a".to_owned(), |us| duration(us / 1e6)));
            table.row([vec![what, samples.count().to_string()], quantiles.to_vec(), vec![noise]].concat());
        }
        let machine = self.machine.as_ref().map_or(String::new(), |machine| format!("\n{}", machine.table()));
        table.render() + &machine
    }

    /// Service times, with the workload and the size of its input.
    fn services(&self) -> impl Iterator<Item = (&str, &str, &Samples)> {
        let others = self.measurement.others.iter().map(|(workload, merged)| (*workload, merged));
        [("sobel", &self.measurement.computing)].into_iter().chain(others).flat_map(|(workload, merged)| {
            merged.by_size.iter().map(move |(size, way)| (workload, size.as_str(), &way.held))
        })
    }

    fn rows(&self) -> Vec<TableRow<'_>> {
        let ProcessTimes { exec_to_listen, exit, round_trip } = &self.processes;
        let mut rows = vec![
            TableRow::minor("start of a process, until it listens", exec_to_listen),
            TableRow::minor("end of a process, until connections break", exit),
            TableRow::minor("bare round trip", round_trip),
            TableRow::minor("connection set-up", &self.connect),
            TableRow::minor("handshake of TLS, at the client", &self.handshakes.client),
            TableRow::minor("handshake of TLS, at the server", &self.handshakes.server),
            TableRow::minor("shaped round trip, beyond the 2 x 5 ms", &self.shaped_beyond),
            TableRow::minor("client's timers, late by", &self.measurement.waiting.client_late),
            TableRow { what: "servers' timers, late by".to_owned(), samples: &self.server_late, matters: true },
        ];
        for (workload, size, samples) in self.services() {
            // A backend answers within a few microseconds: noise of that size changes no simulated result.
            rows.push(TableRow { what: format!("{size}: service"), samples, matters: workload != "backend" });
        }
        for ((what, units), samples) in &self.measurement.computed {
            // Most are a few microseconds, whose noise changes no simulated result.
            rows.push(TableRow::minor(&format!("{what}, {units}: computing"), samples));
        }
        for (size, path) in &self.measurement.waiting.by_size {
            for (what, samples) in [("client to worker", &path.to_server), ("worker to client", &path.to_client)] {
                rows.push(TableRow { what: format!("{size}: {what}"), samples, matters: true });
            }
        }
        rows
    }

    /// The calibration as TOML. Values that the simulation does not read are in comments.
    pub(crate) fn to_toml(&self) -> String {
        let mut text = String::new();
        let HostInfo { operating_system, cores, load_average } = &self.host;
        let load = load_average.map_or("unknown".to_owned(), |load| format!("{load:?}"));
        let noise = percent(self.noise());
        let mut toml = CalibrationText(&mut text);
        toml.line("# Times of a host, as (probability, microseconds) pairs between which they are linear.");
        toml.line("# Measured by `real calibrate`, on runs without faults and on idle processes.");
        toml.line(&format!("# Load averages when it began: {load}. Between rounds a median moved by {noise} at most."));
        toml.line(&format!("name = \"{operating_system}, {cores} cores, {}\"\n", self.started));

        let round_trip = &self.processes.round_trip;
        toml.line("[link]");
        toml.line(&format!("# A health check there and back, halved. {}", about(round_trip)));
        toml.line(&format!("one_way_us = {}", written(&round_trip.map(|us| us / 2.0).distribution())));
        toml.samples("connect_us", &self.connect);
        let beyond = &self.shaped_beyond;
        toml.line(&format!("# Over links of 5 ms each way a round trip took longer, by {}", quartiles(beyond)));

        toml.line("\n[tls]");
        toml.samples("client_us", &self.handshakes.client);
        toml.samples("server_us", &self.handshakes.server);

        toml.line("\n[process]");
        toml.samples("exec_to_listen_us", &self.processes.exec_to_listen);
        toml.samples("exit_us", &self.processes.exit);

        toml.line("\n[timer]");
        toml.samples("client_late_us", &self.measurement.waiting.client_late);
        toml.samples("server_late_us", &self.server_late);

        for (workload, size, samples) in self.services() {
            toml.line("\n[[service_time]]");
            toml.line(&format!("workload = \"{workload}\""));
            toml.line(&format!("units = {}        # {size}", units(size)));
            toml.samples("us", samples);
        }
        // A unit count of zero has no time of its own.
        for ((what, units), samples) in self.measurement.computed.iter().filter(|((_, units), _)| *units > 0) {
            toml.line("\n[[service_time]]");
            // A string of JSON is one of TOML, too.
            toml.line(&format!("workload = {}", serde_json::Value::from(what.as_str())));
            toml.line(&format!("units = {units}"));
            toml.samples("us", samples);
        }
        for (size, path) in &self.measurement.waiting.by_size {
            toml.line("\n[[message]]");
            // An image has one byte per pixel, and the reply is as large as the request.
            toml.line(&format!("bytes = {}        # {size}", units(size)));
            toml.samples("to_server_us", &path.to_server);
            toml.samples("to_client_us", &path.to_client);
        }
        text.extend(self.machine.iter().map(MachineModel::to_toml));
        text
    }
}

impl<'a> TableRow<'a> {
    /// A row that does not decide whether the host is too busy.
    fn minor(what: &str, samples: &'a Samples) -> Self {
        Self { what: what.to_owned(), samples, matters: false }
    }
}

/// Writes a calibration line by line.
struct CalibrationText<'a>(&'a mut String);

impl CalibrationText<'_> {
    fn line(&mut self, line: &str) {
        writeln!(self.0, "{line}").expect("a string takes everything");
    }

    /// Writes a distribution under its comment.
    fn samples(&mut self, key: &str, samples: &Samples) {
        self.line(&format!("# {}", about(samples)));
        self.line(&format!("{key} = {}", written(&samples.distribution())));
    }
}

/// The time that requests of `shaped` runs took beyond the configured latency, both directions together.
fn beyond(shaped: &RunSamples) -> Samples {
    let mut beyond = Samples::default();
    for path in shaped.by_size.values() {
        beyond.join(&path.to_server.plus(&path.to_client).map(|us| us - 2.0 * SHAPED_US));
    }
    beyond
}

/// The amount of work of an input, from its size in a row; 1 if the size says nothing of it.
pub(crate) fn units(input: &str) -> u64 {
    size::units(input).unwrap_or(1)
}

/// The number of samples and their spread.
fn about(samples: &Samples) -> String {
    if samples.rounds() < 2 {
        return format!("{} samples.", samples.count());
    }
    format!("{} samples, between rounds the median moved by {}.", samples.count(), percent(samples.noise()))
}

fn quartiles(samples: &Samples) -> String {
    let [low, middle, high] =
        [0.25, 0.5, 0.75].map(|share| samples.quantile(share).map_or("n/a".to_owned(), |us| format!("{us:.0} µs")));
    format!("{low} to {high} in half the cases, {middle} in the middle; {} samples.", samples.count())
}

#[cfg(test)]
mod tests {
    use std::{collections::BTreeMap, time::Duration};

    use sim::{Plan, calibration::Calibration};

    use super::*;
    use crate::calibrate::observed::{Observed, RequestPath};

    fn observed(held: f64) -> Observed {
        let path = RequestPath { to_server: vec![200.0; 5], held: vec![held; 5], to_client: vec![300.0; 5] };
        let by_size = BTreeMap::from([("16x16".to_owned(), path.clone()), ("64x64".to_owned(), path)]);
        Observed { client_late: vec![30.0; 5], connect: vec![250.0; 2], by_size }
    }

    fn findings(second_round: f64) -> Findings {
        let mut measurement = Measurement::default();
        for held in [100.0, second_round] {
            measurement.computing.add(observed(held));
            measurement.waiting.add(observed(70.0));
            measurement.shaped.add(observed(70.0));
            let path = RequestPath { to_server: vec![200.0; 5], held: vec![7.0; 5], to_client: vec![300.0; 5] };
            let by_size = BTreeMap::from([("data".to_owned(), path)]);
            measurement.others.entry("backend").or_default().add(Observed { by_size, ..Observed::default() });
        }
        let processes = ProcessTimes {
            exec_to_listen: Samples::from_round(vec![4_000.0, 5_000.0]),
            exit: Samples::from_round(vec![900.0]),
            round_trip: Samples::from_round(vec![100.0; 9]),
        };
        let host = HostInfo { operating_system: "Linux 6".to_owned(), cores: 2, load_average: Some([0.5, 0.25, 0.0]) };
        let handshakes =
            HandshakeTimes { client: Samples::from_round(vec![150.0; 3]), server: Samples::from_round(vec![100.0; 3]) };
        Findings::new(&host, "2026-01-01T00:00:00Z", (processes, handshakes), measurement)
    }

    fn read(text: &str) -> Calibration {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("calibration.toml");
        std::fs::write(&file, text).unwrap();
        Calibration::load(&file).unwrap()
    }

    /// The simulation reads the file, and a simulated run takes the times in it.
    #[test]
    fn the_simulation_reads_the_calibration_and_uses_the_measured_times() {
        let calibration = read(&findings(100.0).to_toml());
        let text = "name = 's'\nduration = '3s'\nworkload.sizes = ['64x64']\nload.rate = 1\nservers.replicas = 1\n\
                    [servers]\nservice_time_min = '10ms'\n";
        let text = text.replace("servers.replicas = 1\n[servers]", "[servers]\nreplicas = 1");
        let scenario = kernel::scenario::Scenario::parse("s", &text, &[]).unwrap();
        let played = sim::run(&Plan { calibration, ..Plan::new(scenario, 1) }, &Default::default()).unwrap();
        let again = Observed::from_records(&played.records, Duration::from_millis(10));
        let path = RequestPath { to_server: vec![200.0; 2], held: vec![70.0; 2], to_client: vec![300.0; 2] };
        assert_eq!(again.client_late, [30.0; 2]);
        assert_eq!(again.by_size["64x64"], path);
    }

    /// Scenarios of every workload can be simulated with the calibration.
    #[test]
    fn other_workloads_are_in_the_calibration_with_their_units() {
        let text = findings(100.0).to_toml();
        let at = text.find("workload = \"backend\"\nunits = 1 ").unwrap();
        assert!(text[at..].lines().nth(3).unwrap().starts_with("us = [[0.0, 7.0]"), "{text}");
        assert_eq!([units("64x32"), units("2000+6000"), units("data")], [2_048, 8_000, 1]);
        assert!(read(&text).knows("backend"));
    }

    #[test]
    fn a_host_whose_rounds_differ_is_noisy_and_one_whose_rounds_differ_much_is_too_busy() {
        let [steady, noisy, busy] = [101.0, 150.0, 900.0].map(|second| findings(second).verdict(0.25, 1.0));
        assert_eq!(steady, "this host is steady: no median moved by more than 1.00 % between rounds");
        assert!(noisy.starts_with("warning: this host is noisy"), "{noisy}");
        assert!(busy.starts_with("this host is too busy"), "{busy}");
    }

    #[test]
    fn rates_that_the_machine_does_not_keep_up_with_are_named() {
        let mut findings = findings(100.0);
        assert_eq!(findings.overload(), None);
        findings.overloaded =
            [(300, 12), (1_000, 0)].map(|(rate, requests)| OverloadedRate { rate, requests }).to_vec();
        let sentence = findings.overload().unwrap();
        let expected = "does not keep up with 300 and 1000 requests/s: only 12 and 0 requests overlapped no other, and";
        assert!(sentence.contains(expected), "{sentence}");
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
