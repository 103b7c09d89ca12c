//! The metrics of a finished run over its time, as OpenMetrics with timestamps.

use std::{
    collections::BTreeMap,
    io::{self, Write},
    time::Duration,
};

use super::{
    family::{Family, Kind},
    observer::Observer,
    series::Value,
    text::{END, TextFormat, sample},
};
use crate::record::{Name, Records, ServerMoment};

/// The Unix time, in seconds, that the start of a run on virtual time has in exported metrics: 2026-01-01T00:00:00 UTC.
pub const EPOCH_S: u64 = 1_767_225_600;

/// The values of all metrics at equal intervals of a run, from its start to its end.
///
/// OpenMetrics has all values of a series one after the other, and all series of a metric. So they are collected first: a value for each
/// change of a series, and never more than there are rows.
#[derive(Debug)]
pub struct Timeline {
    interval_us: u64,
    /// The number of the last instant.
    last: u64,
    /// The series of each metric.
    changes: Vec<BTreeMap<Box<[Name]>, Changes>>,
}

/// The numbers of the instants at which a series has changed, and its values from then on.
type Changes = Vec<(u64, Value)>;

/// A row or a moment, by its place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Moment(usize),
    Event(usize),
    Attempt(usize),
    Request(usize),
}

impl Timeline {
    /// Follows a run through its `records` and `moments`, from the state in which `observer` is, to `end` at least. Its values are
    /// taken every `interval`, at least a millisecond.
    pub fn of_run(
        mut observer: Observer,
        records: &Records,
        moments: &[ServerMoment],
        (interval, end): (Duration, Duration),
    ) -> Self {
        let interval_us = (interval.as_millis() as u64).max(1) * 1_000;
        let places = places(records, moments);
        let end_us = places.last().map_or(0, |(at_us, _)| *at_us).max(end.as_micros() as u64);
        let last = end_us.div_ceil(interval_us);
        let mut timeline = Self { interval_us, last, changes: vec![BTreeMap::new(); Family::ALL.len()] };
        let mut next = 0;
        for instant in 0..=last {
            while let Some((_, place)) = places.get(next).filter(|(at_us, _)| *at_us <= instant * interval_us) {
                match *place {
                    Place::Moment(at) => observer.take_moment(&moments[at].server, &moments[at].what),
                    Place::Event(at) => observer.take_event(&records.events[at]),
                    Place::Attempt(at) => observer.take_attempt(&records.attempts[at]),
                    Place::Request(at) => observer.take_request(&records.requests[at]),
                }
                next += 1;
            }
            timeline.note(instant, &observer);
        }
        timeline
    }

    /// Keeps the values that have changed since the instant before.
    fn note(&mut self, instant: u64, observer: &Observer) {
        for family in Family::ALL {
            let changes = &mut self.changes[family as usize];
            for (labels, value) in observer.series().of_family(family) {
                match changes.get_mut(labels) {
                    Some(known) if known.last().is_some_and(|(_, last)| is_same(last, value)) => {}
                    Some(known) => known.push((instant, classic(value))),
                    None => {
                        // It was zero until now, without which its first value would count for no rate.
                        let zero =
                            (instant > 0 && family.kind() != Kind::Gauge).then(|| (instant - 1, Value::zero(family)));
                        let known = zero.into_iter().chain([(instant, classic(value))]).collect();
                        changes.insert(labels.into(), known);
                    }
                }
            }
        }
    }

    /// Returns the value of a series at an instant, which counts intervals from the start.
    pub fn value(&self, family: Family, labels: &[&str], instant: u64) -> Option<&Value> {
        let mut series = self.changes[family as usize].iter();
        let (_, changes) = series.find(|(own, _)| own.iter().map(Name::as_str).eq(labels.iter().copied()))?;
        changes.iter().rev().find(|(at, _)| *at <= instant).map(|(_, value)| value)
    }

    /// Writes the values with their times: the Unix time of an instant is that of [`EPOCH_S`] and its time in the run.
    ///
    /// # Errors
    ///
    /// Returns the error of `out`.
    pub fn write(&self, out: &mut impl Write) -> io::Result<()> {
        let mut text = String::new();
        for family in Family::ALL {
            let series = &self.changes[family as usize];
            if series.is_empty() {
                continue;
            }
            TextFormat::OpenMetrics.head(family, &mut text);
            for (labels, changes) in series {
                for (at, (from, value)) in changes.iter().enumerate() {
                    let until = changes.get(at + 1).map_or(self.last + 1, |(next, _)| *next);
                    for instant in *from..until {
                        sample(&mut text, family, labels, value, &self.timestamp(instant));
                        out.write_all(text.as_bytes())?;
                        text.clear();
                    }
                }
            }
        }
        out.write_all(END.as_bytes())
    }

    fn timestamp(&self, instant: u64) -> String {
        let ms = instant * self.interval_us / 1_000;
        match ms % 1_000 {
            0 => format!(" {}", EPOCH_S + ms / 1_000),
            part => format!(" {}.{part:03}", EPOCH_S + ms / 1_000),
        }
    }
}

/// Returns all rows and moments in order of time.
fn places(records: &Records, moments: &[ServerMoment]) -> Vec<(u64, Place)> {
    let events = records.events.iter().enumerate().map(|(at, row)| (row.at_us, Place::Event(at)));
    let attempts = records.attempts.iter().enumerate().map(|(at, row)| (row.end_us, Place::Attempt(at)));
    let requests = records.requests.iter().enumerate();
    let requests = requests.map(|(at, row)| (row.done_us.unwrap_or(row.intended_us), Place::Request(at)));
    let moments = moments.iter().enumerate().map(|(at, moment)| (moment.at_us, Place::Moment(at)));
    let mut places: Vec<_> = moments.chain(events).chain(attempts).chain(requests).collect();
    places.sort_unstable();
    places
}

/// Returns whether a series has not changed. A distribution changes only by another value.
fn is_same(before: &Value, now: &Value) -> bool {
    match (before, now) {
        (Value::Distribution(before), Value::Distribution(now)) => before.count() == now.count(),
        _ => before == now,
    }
}

/// Returns the value without native buckets, which no text has.
fn classic(value: &Value) -> Value {
    match value {
        Value::Distribution(distribution) => Value::Distribution(distribution.classic()),
        other => other.clone(),
    }
}
