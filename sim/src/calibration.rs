//! The durations of a simulated host: distributions that were measured on a real one.

use std::{
    num::NonZeroU64,
    path::{Path, PathBuf},
    time::Duration,
};

use kernel::{
    distribution::Distribution,
    entropy::unit,
    input,
    run_folder::{CalibrationInfo, sha256},
    scenario::{Mistake, limits},
    sizes::BetweenSizes,
    tls::{CLIENT_HANDSHAKE, SERVER_HANDSHAKE},
    visible::Visible,
};
use rand::Rng;
use serde::Deserialize;

use crate::{
    delay::Delay,
    processors::{MachineTimes, Piece, by_units},
};

/// The built-in calibration, which is used unless another one is given.
const DEFAULT: &str = include_str!("../calibration.toml");

/// Durations of handshakes in a calibration that has none; `real calibrate` measures them.
const HANDSHAKES: &str = "client_us = [[0.0, 130.0], [0.5, 132.0], [0.9, 154.0], [0.99, 250.0], [1.0, 1000.0]]
server_us = [[0.0, 75.0], [0.5, 76.0], [0.9, 85.0], [0.99, 150.0], [1.0, 1000.0]]";

/// The most `[[message]]` and the most `[[service_time]]`.
const TABLES_MAX: usize = 1_000;

/// The most bytes of a message, far more than one carries. The sizes of any two of them differ as decimals, too.
const MESSAGE_BYTES_MAX: u64 = 1 << 40;

/// The durations of a host, as distributions. In the file a distribution is a list of pairs (probability, microseconds).
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Name of the calibration, which says where it was measured.
    pub name: String,
    pub(crate) link: LinkTimes,
    pub(crate) process: ProcessTimes,
    #[serde(default)]
    timer: TimerTimes,
    #[serde(rename = "service_time")]
    service_times: Vec<ServiceTime>,
    /// Durations by message size. If there are none, messages of all sizes take `link.one_way_us`.
    #[serde(default, rename = "message")]
    messages: Vec<MessageTimes>,
    /// Durations of handshakes of TLS.
    #[serde(default)]
    tls: HandshakeTimes,
    /// The machine that all processes share. Without it each process has processors of its own.
    #[serde(default)]
    pub(crate) machine: Option<MachineTimes>,
    /// SHA-256 of the text that it was read from, in hexadecimal.
    #[serde(skip)]
    sha256: String,
    /// The time of a unit of work that has no service time; none if there is no such work.
    #[serde(skip)]
    other_unit_time: Option<Duration>,
    /// The workload of the run.
    #[serde(skip)]
    pub(crate) workload: &'static str,
}

/// Durations of the network between two processes of the host.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkTimes {
    /// Time from a write on one side until the read on the other side, for one segment.
    pub(crate) one_way_us: Distribution,
    /// Time from a process's call to connect until it returns. Without it, a handshake takes one way there and one back.
    pub(crate) connect_us: Option<Distribution>,
}

/// Durations of the processes of the host.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessTimes {
    /// Time from the start of a replica's process until it listens.
    pub(crate) exec_to_listen_us: Distribution,
    /// Time from SIGKILL until the process's connections break. Without it, they break at once.
    exit_us: Option<Distribution>,
}

/// Lateness of timers: the time from the end of a sleep until the task continues. Without it, timers are on time. It
/// differs between the client and the servers, as more or fewer threads have to wake up.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimerTimes {
    /// Lateness in the client's process.
    client_late_us: Option<Distribution>,
    /// Lateness in a replica's process.
    server_late_us: Option<Distribution>,
}

/// Durations of the computations of a handshake of TLS 1.3 with X25519 and Ed25519, at each end. What mutual TLS takes beyond that is not
/// modelled: 17 µs at the client and 73 µs at the server, where the defaults were measured.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct HandshakeTimes {
    /// Time from the server's answer until the client's, at the client.
    client_us: Distribution,
    /// Time from the client's first bytes until the answer, at the server.
    server_us: Distribution,
}

impl Default for HandshakeTimes {
    fn default() -> Self {
        toml::from_str(HANDSHAKES).expect("the default is tested")
    }
}

/// Durations of a message that carries an image of one size.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageTimes {
    bytes: NonZeroU64,
    /// Time from the start of an attempt until a worker has its work: encoding, framing, the network, waking up, decoding.
    to_server_us: Distribution,
    /// Time from the end of the work until the attempt has its response.
    to_client_us: Distribution,
}

/// Durations of the operating system; `None` stands for zero.
#[derive(Debug, Clone, Default)]
pub(crate) struct SystemTimes {
    pub(crate) client_late_us: Option<Distribution>,
    pub(crate) server_late_us: Option<Distribution>,
    pub(crate) exit_us: Option<Distribution>,
}

/// The time that an input of one size occupies a worker.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceTime {
    workload: String,
    /// Size of the input in the workload's unit: pixels, or nodes and edges.
    units: NonZeroU64,
    us: Distribution,
}

/// A calibration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The file cannot be read.
    #[error("cannot read the calibration {}: {reason}; without --calibration the built-in one is used", path.visible())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The operating system's error, or what it is instead of a file.
        #[source]
        reason: std::io::Error,
    },
    /// The content of the file is not a calibration.
    #[error(transparent)]
    Malformed(#[from] Box<Mistake>),
}

impl Calibration {
    /// Reads a calibration file.
    ///
    /// # Errors
    ///
    /// Returns an error if the file cannot be read, or is not a calibration.
    ///
    /// ```
    /// use sim::calibration::Calibration;
    ///
    /// let calibration = Calibration::load("../reports/measured/calibration.toml".as_ref())?;
    /// assert!(calibration.knows("sobel"));
    /// # Ok::<(), sim::calibration::CalibrationError>(())
    /// ```
    pub fn load(path: &Path) -> Result<Self, CalibrationError> {
        let text =
            input::read_text(path).map_err(|reason| CalibrationError::Unreadable { path: path.to_owned(), reason })?;
        Ok(Self::parse(&path.to_string_lossy(), &text)?)
    }

    /// Reads a calibration from its text. `origin` is the name that errors have for the text.
    pub(crate) fn parse(origin: &str, text: &str) -> Result<Self, Box<Mistake>> {
        let mut calibration: Self = toml::from_str(text).map_err(|error| malformed(origin, text, &error))?;
        calibration.service_times.sort_by_key(|time| time.units);
        calibration.messages.sort_by_key(|message| message.bytes);
        let of_machine = calibration.machine.as_mut().and_then(MachineTimes::prepare);
        if let Some(problem) = of_machine.or_else(|| calibration.beyond_bounds()) {
            return Err(Box::new(malformed(origin, text, &serde::de::Error::custom(problem))));
        }
        if let Some(same) = calibration.messages.windows(2).find(|pair| pair[0].bytes == pair[1].bytes) {
            let twice = format!("two [[message]] tables are of {} bytes; keep one of them", same[0].bytes);
            return Err(Box::new(malformed(origin, text, &serde::de::Error::custom(twice))));
        }
        calibration.sha256 = sha256(text.as_bytes());
        Ok(calibration)
    }

    /// Returns what is more or larger than any calibration has, if something is.
    fn beyond_bounds(&self) -> Option<String> {
        let (longest_of_machine, largest_of_machine) = self.machine.as_ref().map_or((0, 0), MachineTimes::extent);
        let longest = self.messages.len().max(self.service_times.len()).max(longest_of_machine);
        let largest =
            self.messages.iter().map(|message| message.bytes.get()).max().unwrap_or(0).max(largest_of_machine);
        if self.name.len() > limits::NAME_LEN_MAX * 4 {
            Some(format!("`name` has up to {} bytes, and this one {}", limits::NAME_LEN_MAX * 4, self.name.len()))
        } else if longest > TABLES_MAX {
            Some(format!("there are up to {TABLES_MAX} tables of a kind, and here {longest}"))
        } else {
            (largest > MESSAGE_BYTES_MAX)
                .then(|| format!("a message has up to {MESSAGE_BYTES_MAX} bytes, and here {largest}"))
        }
    }

    /// Returns the SHA-256 of its file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Returns true if it has service times for the workload of this name.
    pub fn knows(&self, workload: &str) -> bool {
        self.service_times.iter().any(|time| time.workload == workload)
    }

    /// Returns the calibration with which a unit of work that it does not know takes this time.
    pub(crate) fn with_other_unit_time(self, other_unit_time: Option<Duration>) -> Self {
        Self { other_unit_time, ..self }
    }

    /// Returns the calibration for a run of this workload.
    pub(crate) fn of_workload(&self, workload: &'static str) -> Self {
        Self { workload, ..self.clone() }
    }

    /// Returns what run folders say about it.
    pub(crate) fn info(&self) -> CalibrationInfo {
        CalibrationInfo { name: self.name.clone(), sha256: self.sha256.clone() }
    }

    /// Returns the delay of messages to a server, and of those to the client.
    pub(crate) fn delays(&self) -> [Delay; 2] {
        if self.messages.is_empty() {
            return [0, 1].map(|_| Delay::Plain(self.link.one_way_us.clone()));
        }
        [self.delay_by_size(|message| &message.to_server_us), self.delay_by_size(|message| &message.to_client_us)]
    }

    /// Builds a delay from one of the two durations of each message size.
    fn delay_by_size(&self, time: fn(&MessageTimes) -> &Distribution) -> Delay {
        Delay::BySize(self.messages.iter().map(|message| (message.bytes, time(message).clone())).collect())
    }

    /// Returns the largest lateness of a timer in the client's process; `None` on a machine that all processes share, where a timer can wait
    /// for a processor for any time.
    pub fn timers_late_max(&self) -> Option<Duration> {
        let late = &self.timer.client_late_us;
        self.machine.is_none().then(|| late.as_ref().map_or(Duration::ZERO, |late| late.quantile(1.0)))
    }

    /// Returns the durations of the operating system.
    pub(crate) fn system(&self) -> SystemTimes {
        SystemTimes {
            client_late_us: self.timer.client_late_us.clone(),
            server_late_us: self.timer.server_late_us.clone(),
            exit_us: self.process.exit_us.clone(),
        }
    }

    /// Draws how long a handshake of TLS keeps the end busy that [`Cost::what`](kernel::world::Cost::what) names; `None` for other work.
    pub(crate) fn handshake_time(&self, what: &str, rng: &mut impl Rng) -> Option<Duration> {
        match what {
            CLIENT_HANDSHAKE => Some(self.tls.client_us.sample(rng)),
            SERVER_HANDSHAKE => Some(self.tls.server_us.sample(rng)),
            _ => None,
        }
    }

    /// Draws how long work of this name and size occupies its worker. Between two calibrated sizes the time is linear in the size; below the
    /// smallest and above the largest it is proportional to it.
    ///
    /// Returns `None` if it has no service times for `workload` and no time for other work.
    pub(crate) fn service_time(&self, workload: &str, units: u64, rng: &mut impl Rng) -> Option<Duration> {
        self.service_time_at(workload, units, unit(rng))
    }

    /// Returns the same at `probability` for the machine that all processes share: the time on a warm and on a cold one. Between two sizes it
    /// goes on as the machine's table says.
    pub(crate) fn service_piece(&self, workload: &str, units: u64, probability: f64) -> Option<Piece> {
        self.machine
            .as_ref()
            .and_then(|machine| machine.service_piece(workload, units, probability))
            .or_else(|| self.service_time_at(workload, units, probability).map(|time| Piece::new(time, time)))
    }

    fn service_time_at(&self, workload: &str, units: u64, probability: f64) -> Option<Duration> {
        let known = self.service_times.iter().filter(|time| time.workload == workload);
        let known = known.map(|time| (time.units.get(), &time.us));
        let time = by_units(known, BetweenSizes::Line, units, probability);
        time.or_else(|| self.other_unit_time.map(|time| time.mul_f64(units as f64)))
    }
}

/// Returns the error about the text of a calibration.
fn malformed(origin: &str, text: &str, error: &toml::de::Error) -> Mistake {
    let help = "for an example see sim/calibration.toml, the built-in one";
    Mistake::in_toml("a calibration", origin, text, error, help)
}

impl Default for Calibration {
    /// Returns the built-in calibration, `sim/calibration.toml`.
    fn default() -> Self {
        Self::parse("sim/calibration.toml", DEFAULT).expect("the default calibration is tested")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the error of the built-in calibration with `more` tables.
    fn refused(more: &str) -> String {
        Calibration::parse("calibration.toml", &format!("{DEFAULT}\n{more}")).unwrap_err().to_string()
    }

    const MESSAGE: &str = "[[message]]\nbytes = 64\nto_server_us = [[0.0, 1.0]]\nto_client_us = [[0.0, 1.0]]\n";

    #[test]
    fn a_wrong_table_is_an_error_with_its_place() {
        assert!(refused(&MESSAGE.repeat(2)).contains("two [[message]] tables are of 64 bytes; keep one of them"));
        assert!(refused("[timer]\nclient_late = 1\n").contains("unknown field `client_late`"));
        assert!(refused(&MESSAGE.replace("64", "0")).contains("expected a nonzero"));
        let late = refused("[timer]\nclient_late_us = [[0.0, 1.0], [0.5, 2.0]]\n");
        assert!(late.contains("run from 0.0 to 1.0, not from 0 to 0.5"), "{late}");
    }

    #[test]
    fn a_duration_that_is_not_calibrated_is_zero() {
        let system = Calibration::default().system();
        assert!([system.client_late_us, system.server_late_us, system.exit_us].iter().all(Option::is_none));
        assert!(Calibration::default().delays().iter().all(|delay| matches!(delay, Delay::Plain(_))));
    }
}
