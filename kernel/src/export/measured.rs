//! The measurements of a server since its last report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{family::LATENCY_BOUNDS_US, family::Unit, histogram::Distribution, series::per_one};
use crate::{
    record::{CallMoment, Name},
    status::Code,
};

/// The measurements of a server since its last report, for a process that exports the metrics of several servers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Number of calls that have arrived, by method.
    pub(super) started: BTreeMap<Name, u64>,
    /// Durations of the calls that have ended.
    ended: Vec<((Name, Code), Distribution)>,
    /// Number of calls that wait for a worker now.
    pub(super) queued: i64,
    /// Number of workers that are occupied now.
    pub(super) busy: i64,
    /// Something was counted since it was last taken.
    #[serde(skip)]
    has_news: bool,
}

impl Measured {
    /// Counts what happens to a call.
    pub fn count(&mut self, moment: CallMoment) {
        self.has_news = true;
        match moment {
            CallMoment::Arrived { method } => *self.started.entry(method).or_default() += 1,
            CallMoment::Queued => self.queued += 1,
            CallMoment::Taken => {
                self.queued -= 1;
                self.busy += 1;
            }
            CallMoment::Left => self.busy -= 1,
            CallMoment::Ended { method, status, duration_us } => {
                let key = (method, status);
                let place = self.ended.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
                    self.ended.push((key, Distribution::new(LATENCY_BOUNDS_US)));
                    self.ended.len() - 1
                });
                self.ended[place].1.add(LATENCY_BOUNDS_US, duration_us, per_one(Unit::Seconds));
            }
        }
    }

    /// Takes what was counted since the last call, with the present numbers of waiting and running calls; `None` if nothing has
    /// happened since.
    pub fn take_news(&mut self) -> Option<Self> {
        let Self { queued, busy, .. } = *self;
        let present = Self { queued, busy, ..Self::default() };
        std::mem::take(&mut self.has_news).then(|| std::mem::replace(self, present))
    }

    /// Returns the durations by method and status.
    pub(super) fn durations(&self) -> impl Iterator<Item = (&(Name, Code), &Distribution)> {
        self.ended.iter().map(|(key, durations)| (key, durations))
    }
}
