//! The measurements of a process since its last report.

use std::{
    collections::BTreeMap,
    sync::{
        Mutex,
        atomic::{AtomicI64, Ordering},
    },
};

use serde::{Deserialize, Serialize};

use super::{
    family::{LATENCY_BOUNDS_US, SIZE_BOUNDS, Unit},
    histogram::Distribution,
    series::per_one,
};
use crate::{
    record::{CallMoment, MessageBytes, Name},
    status::Code,
    sync::lock,
};

/// The measurements of a server or of a client since its last report, for a process that exports the metrics of several.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measured {
    /// Number of calls that have arrived, by method.
    pub(super) started: BTreeMap<Name, u64>,
    /// Durations and sizes of the calls that have ended, by method and status.
    ended: Vec<((Name, Code), Ended)>,
    /// Sizes of the client's attempts that have ended, by server and status.
    attempts: Vec<((Name, Code), Sizes)>,
    /// Number of servers that were found and not ejected, by server, method and reason.
    unenforced: Vec<((Name, Name, Name), u64)>,
    /// Number of calls that wait for a worker now.
    pub(super) queued: i64,
    /// Number of workers that are occupied now.
    pub(super) busy: i64,
}

/// Counts what happens to the calls of a process, on any of its threads.
#[derive(Debug, Default)]
pub struct Measuring {
    /// What was counted, with the present numbers as they were when it was last taken.
    measured: Mutex<Measured>,
    // The present numbers are no part of what the lock guards: three of the five moments of a call do without it.
    queued: AtomicI64,
    busy: AtomicI64,
}

impl Measuring {
    /// Counts what happens to a call.
    pub fn count(&self, moment: CallMoment) {
        let change = |level: &AtomicI64, by| level.fetch_add(by, Ordering::Relaxed);
        match moment {
            CallMoment::Queued => {
                change(&self.queued, 1);
            }
            CallMoment::Taken => {
                change(&self.queued, -1);
                change(&self.busy, 1);
            }
            CallMoment::Left => {
                change(&self.busy, -1);
            }
            counted => lock(&self.measured).count(counted),
        }
    }

    /// Takes what was counted since the last call, with the present numbers of waiting and running calls; `None` if nothing has
    /// happened since.
    pub fn take_news(&self) -> Option<Measured> {
        let [queued, busy] = [&self.queued, &self.busy].map(|level| level.load(Ordering::Relaxed));
        let mut measured = lock(&self.measured);
        let present = Measured { queued, busy, ..Measured::default() };
        if *measured == present {
            return None;
        }
        let news = std::mem::replace(&mut *measured, present);
        Some(Measured { queued, busy, ..news })
    }
}

/// The calls of one method that have ended with one status.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Ended {
    pub(super) durations: Distribution,
    pub(super) sizes: Sizes,
}

/// The bytes of the messages of calls.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sizes {
    pub(super) sent: Distribution,
    pub(super) received: Distribution,
}

impl Default for Ended {
    fn default() -> Self {
        Self { durations: Distribution::new(LATENCY_BOUNDS_US), sizes: Sizes::default() }
    }
}

impl Default for Sizes {
    fn default() -> Self {
        Self { sent: Distribution::new(SIZE_BOUNDS), received: Distribution::new(SIZE_BOUNDS) }
    }
}

impl Sizes {
    fn add(&mut self, bytes: MessageBytes) {
        self.sent.add(SIZE_BOUNDS, bytes.sent, per_one(Unit::Bytes));
        self.received.add(SIZE_BOUNDS, bytes.received, per_one(Unit::Bytes));
    }
}

impl Measured {
    /// Counts what happens to a call, unless it only changes the present numbers.
    fn count(&mut self, moment: CallMoment) {
        match moment {
            CallMoment::Queued | CallMoment::Taken | CallMoment::Left => {}
            CallMoment::Arrived { method } => *self.started.entry(method).or_default() += 1,
            CallMoment::Ended { method, status, duration_us, bytes } => {
                let ended = of_key(&mut self.ended, (method, status));
                ended.durations.add(LATENCY_BOUNDS_US, duration_us, per_one(Unit::Seconds));
                ended.sizes.add(bytes);
            }
            CallMoment::AttemptEnded { server, status, bytes } => {
                of_key(&mut self.attempts, (server, status)).add(bytes)
            }
            CallMoment::Unenforced { server, method, reason } => {
                *of_key(&mut self.unenforced, (server, method, reason)) += 1;
            }
        }
    }

    /// Returns the calls that have ended, by method and status.
    pub(super) fn ended(&self) -> impl Iterator<Item = (&(Name, Code), &Ended)> {
        self.ended.iter().map(|(key, ended)| (key, ended))
    }

    /// Returns the sizes of the attempts that have ended, by server and status.
    pub(super) fn attempts(&self) -> impl Iterator<Item = (&(Name, Code), &Sizes)> {
        self.attempts.iter().map(|(key, sizes)| (key, sizes))
    }

    /// Returns how many servers were found and not ejected, by server, method and reason.
    pub(super) fn unenforced(&self) -> &[((Name, Name, Name), u64)] {
        &self.unenforced
    }
}

/// Returns the entry of `key` in a list with few keys.
fn of_key<K: PartialEq, T: Default>(entries: &mut Vec<(K, T)>, key: K) -> &mut T {
    let place = entries.iter().position(|(known, _)| *known == key).unwrap_or_else(|| {
        entries.push((key, T::default()));
        entries.len() - 1
    });
    &mut entries[place].1
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        export::{Family, Observer, Value},
        scenario::Scenario,
    };

    #[test]
    fn present_numbers_are_news_only_if_they_have_changed() {
        let measuring = Measuring::default();
        [CallMoment::Queued, CallMoment::Queued, CallMoment::Taken].into_iter().for_each(|what| measuring.count(what));
        let news = measuring.take_news().unwrap();
        assert_eq!((news.queued, news.busy, measuring.take_news()), (1, 1, None));
        // One call gives its place to another.
        [CallMoment::Left, CallMoment::Taken, CallMoment::Queued].into_iter().for_each(|what| measuring.count(what));
        assert_eq!(measuring.take_news(), None);
        [CallMoment::Left, CallMoment::Taken, CallMoment::Left].into_iter().for_each(|what| measuring.count(what));
        assert_eq!((measuring.take_news(), measuring.take_news()), (Some(Measured::default()), None));
        measuring.count(CallMoment::Arrived { method: "a/B".into() });
        assert_eq!(measuring.take_news().unwrap().started["a/B"], 1);
        assert_eq!(measuring.take_news(), None);
    }

    /// What a process reports is what the same moments count here.
    #[test]
    fn reports_of_another_process_count_as_its_moments_do() {
        let bytes = |sent| MessageBytes { sent, received: 2 * sent };
        let method = Name::from("a/B");
        let ended = CallMoment::Ended { method: method.clone(), status: Code::Ok, duration_us: 7, bytes: bytes(900) };
        let of_server =
            [CallMoment::Arrived { method }, CallMoment::Queued, CallMoment::Taken, CallMoment::Left, ended];
        let attempt = |sent, status| CallMoment::AttemptEnded { server: "server-0".into(), status, bytes: bytes(sent) };
        let (server, reason) = ("server-0".into(), "max_ejection_overflow".into());
        let unenforced = CallMoment::Unenforced { server, method: "success_rate".into(), reason };
        let of_client = [attempt(10, Code::Ok), attempt(5_000, Code::Ok), attempt(0, Code::Unavailable), unenforced];

        let scenario =
            Scenario::parse("short.toml", "name = \"short\"\nduration = \"1s\"\nload = { rate = 5 }\n", &[]).unwrap();
        let mut by_moments = Observer::of_run(&scenario, 7, "real");
        let mut by_reports = by_moments.clone();
        for (source, moments) in [("server-0", of_server.to_vec()), ("client", of_client.to_vec())] {
            let measured = Measuring::default();
            for what in moments {
                by_moments.take_moment(&source.into(), &what);
                measured.count(what);
            }
            let report = serde_json::to_string(&measured.take_news().unwrap()).unwrap();
            let report = serde_json::from_str(&report).unwrap();
            match source {
                "client" => by_reports.take_measured_attempts(&report),
                _ => by_reports.take_measured(&source.into(), &report),
            }
            assert_eq!(measured.take_news(), None);
        }
        for family in Family::ALL {
            let [one, other] = [&by_moments, &by_reports].map(|by| by.series().of_family(family).collect::<Vec<_>>());
            assert_eq!(one, other, "{}", family.name());
        }
        let attempts = |status, family| {
            let labels = ["rehearsal.v1.Rehearsal/ProcessImage", "rehearsal:///servers", status, "server-0"];
            match by_moments.series().value(family, &labels) {
                Some(Value::Distribution(sizes)) => (sizes.count(), sizes.sum()),
                other => panic!("{other:?}"),
            }
        };
        assert_eq!(attempts("OK", Family::AttemptSentBytes), (2, 5_010));
        assert_eq!(attempts("OK", Family::AttemptReceivedBytes), (2, 10_020));
        assert_eq!(attempts("UNAVAILABLE", Family::AttemptSentBytes), (1, 0));
        let before = by_moments.series().clone();
        by_moments.take_moment(&"shop-0".into(), &attempt(1, Code::Ok));
        assert_eq!(by_moments.series(), &before, "clients of servers are not of the load");
    }
}
