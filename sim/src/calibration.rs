//! What a simulated host takes its times from: distributions measured on real ones.

use std::{fs, num::NonZeroU64, path::Path, time::Duration};

use kernel::{distribution::Distribution, run_folder::sha256, scenario::Mistake, workload::Job};
use rand::Rng;
use serde::Deserialize;

use crate::delay::Delay;

/// The calibration that is used when none is asked for.
const DEFAULT: &str = include_str!("../calibration.toml");

/// The times of a host. All distributions are (probability, microseconds) pairs.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Calibration {
    /// Says where it was measured.
    pub name: String,
    pub(crate) link: LinkTimes,
    pub(crate) process: ProcessTimes,
    #[serde(default)]
    timer: TimerTimes,
    #[serde(rename = "service_time")]
    service_times: Vec<ServiceTime>,
    /// Without them, messages of all sizes take `link.one_way_us`.
    #[serde(default, rename = "message")]
    messages: Vec<MessageTimes>,
    /// Of the text it was read from.
    #[serde(skip)]
    sha256: String,
}

/// The network between two processes of the host.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct LinkTimes {
    /// From a write on one side until the other side's read, for one segment.
    pub(crate) one_way_us: Distribution,
    /// From a process's wish for a connection until it has it; without it, one way there and one back.
    pub(crate) connect_us: Option<Distribution>,
}

/// Processes of the host.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ProcessTimes {
    /// From the start of a replica's process until it listens.
    pub(crate) exec_to_listen_us: Distribution,
    /// From SIGKILL until the process's connections break; at once without it.
    exit_us: Option<Distribution>,
}

/// From the end of a sleep until the task that slept goes on; on time without it. It differs by what the process has
/// to wake up.
#[derive(Debug, Clone, PartialEq, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct TimerTimes {
    /// In the client's process.
    client_late_us: Option<Distribution>,
    /// In a replica's.
    server_late_us: Option<Distribution>,
}

/// What a message takes that carries an image of one size.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessageTimes {
    bytes: NonZeroU64,
    /// From the start of an attempt until a worker has its work: encoding, framing, the network, waking up, decoding.
    to_server_us: Distribution,
    /// From the end of the work until the attempt has its answer.
    to_client_us: Distribution,
}

/// What the operating system takes; nothing where it is not known.
#[derive(Debug, Clone, Default)]
pub(crate) struct SystemTimes {
    pub(crate) client_late_us: Option<Distribution>,
    pub(crate) server_late_us: Option<Distribution>,
    pub(crate) exit_us: Option<Distribution>,
}

/// How long a worker is held by an input of one size.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct ServiceTime {
    workload: String,
    /// The size in the workload's unit: pixels, or nodes and edges.
    units: NonZeroU64,
    us: Distribution,
}

/// A calibration that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CalibrationError {
    /// The file cannot be read.
    #[error("cannot read the calibration {path}: {reason}; without --calibration the built-in one is used")]
    Unreadable {
        /// The file.
        path: String,
        /// The operating system's words.
        reason: std::io::Error,
    },
    /// The file is no calibration.
    #[error(transparent)]
    Malformed(#[from] Box<Mistake>),
}

impl Calibration {
    /// Reads a calibration file.
    pub fn load(path: &Path) -> Result<Self, CalibrationError> {
        let origin = path.display().to_string();
        let text =
            fs::read_to_string(path).map_err(|reason| CalibrationError::Unreadable { path: origin.clone(), reason })?;
        Ok(Self::parse(&origin, &text)?)
    }

    /// `origin` is what errors call the text.
    pub(crate) fn parse(origin: &str, text: &str) -> Result<Self, Box<Mistake>> {
        let mistake = |error| {
            let help = "for an example see sim/calibration.toml, the built-in one";
            Mistake::in_toml("a calibration", origin, text, &error, help)
        };
        let mut calibration: Self = toml::from_str(text).map_err(mistake)?;
        calibration.service_times.sort_by_key(|time| time.units);
        calibration.messages.sort_by_key(|message| message.bytes);
        if let Some(same) = calibration.messages.windows(2).find(|pair| pair[0].bytes == pair[1].bytes) {
            let twice = format!("two [[message]] tables are of {} bytes; keep one of them", same[0].bytes);
            return Err(Box::new(mistake(serde::de::Error::custom(twice))));
        }
        calibration.sha256 = sha256(text.as_bytes());
        Ok(calibration)
    }

    /// SHA-256 of its file, in hexadecimal.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// Whether it knows how long `workload` takes.
    pub fn knows(&self, workload: &str) -> bool {
        self.service_times.iter().any(|time| time.workload == workload)
    }

    /// What something sent to a server takes, and to the client.
    pub(crate) fn delays(&self) -> [Delay; 2] {
        if self.messages.is_empty() {
            return [0, 1].map(|_| Delay::Plain(self.link.one_way_us.clone()));
        }
        let by_size = |time: fn(&MessageTimes) -> &Distribution| {
            Delay::BySize(self.messages.iter().map(|message| (message.bytes, time(message).clone())).collect())
        };
        [by_size(|message| &message.to_server_us), by_size(|message| &message.to_client_us)]
    }

    /// By how much a timer in the client's process is late at most.
    pub fn timers_late_max(&self) -> Duration {
        self.timer.client_late_us.as_ref().map_or(Duration::ZERO, |late| late.quantile(1.0))
    }

    pub(crate) fn system(&self) -> SystemTimes {
        SystemTimes {
            client_late_us: self.timer.client_late_us.clone(),
            server_late_us: self.timer.server_late_us.clone(),
            exit_us: self.process.exit_us.clone(),
        }
    }

    /// A draw of how long `job` holds its worker. Between two calibrated sizes it is linear in the size, beyond them
    /// proportional to it.
    ///
    /// Panics on a workload that it does not know.
    pub(crate) fn service_time(&self, job: &Job, rng: &mut impl Rng) -> Duration {
        let units = job.input.units();
        let known = self.service_times.iter().filter(|time| time.workload == job.workload.name());
        let below = known.clone().rfind(|time| time.units.get() <= units);
        let above = known.clone().find(|time| time.units.get() >= units);
        match (below, above) {
            (Some(below), Some(above)) if below.units < above.units => {
                let (from, to) = (below.units.get(), above.units.get());
                let share = (units - from) as f64 / (to - from) as f64;
                below.us.interpolate(&above.us, share).sample(rng)
            }
            (Some(nearest), _) | (None, Some(nearest)) => {
                nearest.us.sample(rng).mul_f64(units as f64 / nearest.units.get() as f64)
            }
            (None, None) => panic!("the calibration was checked to know `{}`", job.workload.name()),
        }
    }
}

impl Default for Calibration {
    /// The one in `sim/calibration.toml`.
    fn default() -> Self {
        Self::parse("sim/calibration.toml", DEFAULT).expect("the default calibration is tested")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The built-in calibration with `more` tables.
    fn refused(more: &str) -> String {
        Calibration::parse("calibration.toml", &format!("{DEFAULT}\n{more}")).unwrap_err().to_string()
    }

    const MESSAGE: &str = "[[message]]\nbytes = 64\nto_server_us = [[0.0, 1.0]]\nto_client_us = [[0.0, 1.0]]\n";

    #[test]
    fn what_cannot_be_is_said_with_its_place() {
        assert!(refused(&MESSAGE.repeat(2)).contains("two [[message]] tables are of 64 bytes; keep one of them"));
        assert!(refused("[timer]\nclient_late = 1\n").contains("unknown field `client_late`"));
        assert!(refused(&MESSAGE.replace("64", "0")).contains("expected a nonzero"));
        let late = refused("[timer]\nclient_late_us = [[0.0, 1.0], [0.5, 2.0]]\n");
        assert!(late.contains("run from 0.0 to 1.0, not from 0 to 0.5"), "{late}");
    }

    #[test]
    fn what_is_not_calibrated_takes_no_time() {
        let system = Calibration::default().system();
        assert!([system.client_late_us, system.server_late_us, system.exit_us].iter().all(Option::is_none));
        assert!(Calibration::default().delays().iter().all(|delay| matches!(delay, Delay::Plain(_))));
    }
}
