//! The times of a calibration for the machine that all processes share.

use std::{
    num::{NonZeroU64, NonZeroUsize},
    time::Duration,
};

use kernel::{
    coldness::ColdnessRates,
    distribution::Distribution,
    sizes::{Around, BetweenSizes},
    variation::VariationPart,
};
use serde::Deserialize;

use super::{
    Piece,
    pauses::{PAUSES_PER_SECOND_MAX, PauseTimes},
};
use crate::delay::Delay;

/// Processor time of the thread that a timer wakes, until it has woken the task's thread and that continues. Without load it is a part of
/// a timer's lateness, most of which is the hypervisor's time to deliver the timer.
pub(super) const THREAD_SWITCH: Duration = Duration::from_micros(10);

/// The most processors of a machine.
const CORES_MAX: usize = 1_024;

/// The longest processor time of a slice and of what follows a call, in microseconds: a second.
const TIME_MAX: f64 = 1e6;

/// The largest contention: on a machine with two processors, computations on both take eleven times as long as alone.
const CONTENTION_MAX: f64 = 10.0;

/// The table `[machine]` of a calibration. Its distributions are in pairs: times on processors that are warm and on processors that have
/// slept for long. Between them a time is linear in the coldness of the machine, at the same probability.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct MachineTimes {
    /// Rates of the runs that it was fitted to, in requests per second. Reports compare them with those of scenarios.
    #[serde(default, rename = "fitted_rates")]
    _fitted_rates: Vec<f64>,
    /// Number of processors.
    pub(crate) cores: NonZeroUsize,
    /// Processor time after which waiting work takes the place of running work, in microseconds.
    slice_us: f64,
    /// Processor time of what follows a call away from its path, in microseconds, unless the computation has a time of its own.
    follow_up_us: f64,
    /// How computing times go on from one measured size to the next. Calibrations of earlier versions have lines.
    #[serde(default)]
    pub(crate) between_sizes: BetweenSizes,
    /// How processors get cold and warm.
    pub(crate) coldness: ColdnessRates,
    /// What the times of one moment have in common.
    #[serde(default)]
    pub(crate) variation: Vec<VariationPart>,
    /// Pauses of the whole machine, if it has some.
    pub(crate) pauses: Option<PauseTimes>,
    /// Lateness of timers.
    pub(crate) timer: PieceTimes,
    /// Times of messages by the size of their image, at least one.
    #[serde(rename = "message")]
    messages: Vec<MessagePieces>,
    /// Times of computations. Those of other names are the ones for machines that are not shared.
    #[serde(default, rename = "service_time")]
    pub(crate) service_times: Vec<ServicePieces>,
}

/// The times of a piece of work on a warm and on a cold machine.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PieceTimes {
    #[serde(rename = "warm_us")]
    pub(crate) warm: Distribution,
    #[serde(rename = "cold_us")]
    pub(crate) cold: Distribution,
}

/// The times of messages that carry an image of one size: all the work between a write of one process and the read of another.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct MessagePieces {
    /// The workload whose messages they are. Without it they are those of all workloads that have none of their own.
    workload: Option<String>,
    bytes: NonZeroU64,
    to_server: PieceTimes,
    to_client: PieceTimes,
}

/// The times of the computations of one name and size.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ServicePieces {
    pub(crate) workload: String,
    pub(crate) units: NonZeroU64,
    #[serde(rename = "warm_us")]
    pub(crate) warm: Distribution,
    #[serde(rename = "cold_us")]
    pub(crate) cold: Distribution,
    /// Processor time of what follows a call of this size away from its path, in microseconds.
    #[serde(default)]
    follow_up_us: Option<f64>,
    /// How much longer it takes, as a share of its time, for each other processor that computes at the same time.
    #[serde(default)]
    contention: Option<f64>,
}

/// The times of messages of all sizes in one direction.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct MessageWork {
    warm: Delay,
    cold: Delay,
}

impl MessageWork {
    /// Returns the work of a message of `bytes` at `probability`.
    pub(crate) fn piece(&self, bytes: u64, probability: f64) -> Piece {
        Piece::new(self.warm.quantile(bytes, probability), self.cold.quantile(bytes, probability))
    }
}

impl MachineTimes {
    /// Sorts what is searched by size. Returns a sentence about what is outside of its limits, if something is.
    pub(crate) fn prepare(&mut self) -> Option<String> {
        self.service_times.sort_by_key(|time| time.units);
        self.messages.sort_by(|one, other| one.workload.cmp(&other.workload).then(one.bytes.cmp(&other.bytes)));
        let mut pairs = self.messages.windows(2);
        let twice = pairs.find(|pair| pair[0].bytes == pair[1].bytes && pair[0].workload == pair[1].workload);
        let pauses = self.pauses.as_ref().and_then(PauseTimes::wrong_number);
        if let Some(problem) = self.coldness.problem() {
            Some(format!("`machine.coldness` is no model: {problem}"))
        } else if let Some(problem) = VariationPart::problem(&self.variation) {
            Some(format!("`machine.variation` is no model: {problem}"))
        } else if self.cores.get() > CORES_MAX {
            Some(format!("`machine.cores` is up to {CORES_MAX}, and here {}", self.cores))
        } else if !(1.0..=TIME_MAX).contains(&self.slice_us) {
            Some(format!("`machine.slice_us` is from 1 to {TIME_MAX}, and here {}", self.slice_us))
        } else if let Some(wrong) = self.follow_ups().find(|time| !(0.0..=TIME_MAX).contains(time)) {
            Some(format!("`follow_up_us` of a machine is from 0 to {TIME_MAX}, and here {wrong}"))
        } else if let Some(wrong) = self.contentions().find(|share| !(0.0..=CONTENTION_MAX).contains(share)) {
            Some(format!("`contention` of a service time is from 0 to {CONTENTION_MAX}, and here {wrong}"))
        } else if let Some(wrong) = pauses {
            let names = "`per_second` and `per_second_cold` of `machine.pauses`";
            Some(format!("{names} are from 0 to {PAUSES_PER_SECOND_MAX}, and here one is {wrong}"))
        } else if self.messages.iter().all(|message| message.workload.is_some()) {
            Some("`machine` needs at least one [[machine.message]] without a workload".to_owned())
        } else {
            twice.map(|pair| format!("two [[machine.message]] tables are of {} bytes; keep one of them", pair[0].bytes))
        }
    }

    /// Number of tables of its most frequent kind, and the largest size of a message in bytes.
    pub(crate) fn extent(&self) -> (usize, u64) {
        let largest = self.messages.iter().map(|message| message.bytes.get()).max().unwrap_or(0);
        (self.messages.len().max(self.service_times.len()), largest)
    }

    /// Returns the work of the messages of `workload`: of those to a server, and of those to the client.
    pub(crate) fn messages(&self, workload: &str) -> [MessageWork; 2] {
        let is_own = |message: &&MessagePieces| message.workload.as_deref() == Some(workload);
        let has_own = self.messages.iter().any(|message| is_own(&message));
        let messages: Vec<_> = self
            .messages
            .iter()
            .filter(|message| if has_own { is_own(message) } else { message.workload.is_none() })
            .collect();
        let work = |pieces: fn(&MessagePieces) -> &PieceTimes| {
            let delay = |time: fn(&PieceTimes) -> &Distribution| {
                Delay::BySize(messages.iter().map(|message| (message.bytes, time(pieces(message)).clone())).collect())
            };
            MessageWork { warm: delay(|times| &times.warm), cold: delay(|times| &times.cold) }
        };
        [work(|message| &message.to_server), work(|message| &message.to_client)]
    }

    /// Returns the computing of `what` of this many units at `probability`; `None` if it was not measured.
    pub(crate) fn service_piece(&self, what: &str, units: u64, probability: f64) -> Option<Piece> {
        let known = self.service_times.iter().filter(|time| time.workload == what);
        let fields: [fn(&ServicePieces) -> &Distribution; 2] = [|time| &time.warm, |time| &time.cold];
        let [warm, cold] = fields.map(|times| {
            by_units(known.clone().map(|time| (time.units.get(), times(time))), self.between_sizes, units, probability)
        });
        let (warm, cold) = warm.zip(cold)?;
        Some(Piece { contention: self.contention(what, units), ..Piece::new(warm, cold) })
    }

    /// Processor time after which waiting work takes the place of running work.
    pub(crate) fn slice(&self) -> Duration {
        Duration::from_secs_f64(self.slice_us / 1e6)
    }

    /// Processor time of what follows a call that computes `what` of this many units, away from its path. Between two sizes it is linear in the
    /// size; beyond the smallest and the largest it is that of these.
    pub(crate) fn follow_up(&self, what: &str, units: u64) -> Duration {
        let micros = self.by_size(what, units, |time| time.follow_up_us).unwrap_or(self.follow_up_us);
        Duration::from_secs_f64(micros / 1e6)
    }

    /// How much longer it takes to compute `what` of this many units for each other processor that computes at the same time, as a share; by size
    /// as [`follow_up`](Self::follow_up), and 0 if it was not measured.
    fn contention(&self, what: &str, units: u64) -> f64 {
        self.by_size(what, units, |time| time.contention).unwrap_or(0.0)
    }

    fn by_size(&self, what: &str, units: u64, value: impl Fn(&ServicePieces) -> Option<f64> + Clone) -> Option<f64> {
        let known = self.service_times.iter().filter(|time| time.workload == what);
        let known = known.filter_map(|time| Some((time.units.get(), value(time)?)));
        Around::find(known, units).map(Around::linear)
    }

    fn contentions(&self) -> impl Iterator<Item = f64> {
        self.service_times.iter().filter_map(|time| time.contention)
    }

    /// All times of what follows a call, in microseconds.
    fn follow_ups(&self) -> impl Iterator<Item = f64> {
        [self.follow_up_us].into_iter().chain(self.service_times.iter().filter_map(|time| time.follow_up_us))
    }
}

/// Returns the time of `units` at `probability`, by the distributions of the sizes that are known, in ascending order. Below the smallest and above
/// the largest it is in proportion to the units. `None` if no size is known.
pub(crate) fn by_units<'a>(
    known: impl DoubleEndedIterator<Item = (u64, &'a Distribution)> + Clone,
    between: BetweenSizes,
    units: u64,
    probability: f64,
) -> Option<Duration> {
    let known = known.map(|(size, times)| (size, (size, times)));
    Some(match Around::find(known, units)? {
        Around::Between((least, below), (most, above), _) => {
            let [low, high] = [below, above].map(|times| times.quantile(0.5).as_secs_f64());
            let share = between.share(units, (least, low), (most, high));
            below.interpolate(above, share).quantile(probability)
        }
        Around::Nearest(size, (_, nearest)) => nearest.quantile(probability).mul_f64(units as f64 / size as f64),
    })
}
