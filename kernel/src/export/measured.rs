//! The measurements of a process since its last report.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{
    family::{LATENCY_BOUNDS_US, SIZE_BOUNDS, Unit},
    histogram::Distribution,
    series::per_one,
};
use crate::{
    record::{CallMoment, MessageBytes, Name},
    status::Code,
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
    /// Something was counted since it was last taken.
    #[serde(skip)]
    has_news: bool,
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

    /// Takes what was counted since the last call, with the present numbers of waiting and running calls; `None` if nothing has
    /// happened since.
    pub fn take_news(&mut self) -> Option<Self> {
        let Self { queued, busy, .. } = *self;
        let present = Self { queued, busy, ..Self::default() };
        std::mem::take(&mut self.has_news).then(|| std::mem::replace(self, present))
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
        record::ServerMoment,
        scenario::Scenario,
    };

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
            let mut measured = Measured::default();
            for what in moments {
                by_moments.take_moment(&ServerMoment { at_us: 1, server: source.into(), what: what.clone() });
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
        let of_another = ServerMoment { at_us: 2, server: "shop-0".into(), what: attempt(1, Code::Ok) };
        let before = by_moments.series().clone();
        by_moments.take_moment(&of_another);
        assert_eq!(by_moments.series(), &before, "clients of servers are not of the load");
    }
}
