//! What servers did, against what was done to them.

use std::collections::{BTreeMap, BTreeSet};

use super::{Evidence, Findings, Invariant, ROUNDING_US, calls::most_at_once, us};
use crate::{
    record::{Event, EventRow, Records},
    status::Code,
};

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let mut lives = Lives::default();
    for row in &evidence.records.events {
        if let Some(why) = lives.forbid(row) {
            let did: &str = row.event.into();
            let what = format!("{} says `{did}`, but {why}", row.source);
            findings.add(Invariant::NoResponseFromDeadServer, row.request, row.at_us, what);
        }
        lives.note(row);
    }
    answers_are_finished_work(evidence.records, findings);
    work_is_asked_for(evidence.records, findings);
    workers(evidence, findings);
}

/// How servers are, by name. One that nothing was done to is well.
#[derive(Default)]
pub(super) struct Lives<'a>(BTreeMap<&'a str, Life>);

/// How a server is.
#[derive(Debug, Default)]
struct Life {
    /// Since when it is dead; it lives again once it listens.
    dead_us: Option<u64>,
    /// The freezes it suffers, and since when the first of them.
    freezes: BTreeSet<usize>,
    frozen_us: u64,
}

impl<'a> Lives<'a> {
    /// Takes in what was done to a server, or that it listens.
    pub(super) fn note(&mut self, row: &'a EventRow) {
        match (row.event, row.target.as_deref(), row.fault) {
            (Event::Listening, ..) => {
                if let Some(life) = self.0.get_mut(&*row.source) {
                    life.dead_us = None;
                }
            }
            (Event::FaultStart, Some(server), Some(fault)) => match row.cause.as_deref() {
                Some("crash") => {
                    let life = self.0.entry(server).or_default();
                    life.dead_us.get_or_insert(row.at_us);
                    life.freezes.clear();
                }
                Some("freeze") => {
                    let life = self.0.entry(server).or_default();
                    if life.freezes.is_empty() {
                        life.frozen_us = row.at_us;
                    }
                    life.freezes.insert(fault);
                }
                _ => {}
            },
            (Event::FaultEnd | Event::NoEffect, Some(server), Some(fault)) => {
                if let Some(life) = self.0.get_mut(server) {
                    life.freezes.remove(&fault);
                }
            }
            _ => {}
        }
    }

    /// Since when a server is dead.
    pub(super) fn is_dead(&self, server: &str) -> bool {
        self.0.get(server).is_some_and(|life| life.dead_us.is_some())
    }

    /// Why the source of this row cannot have recorded it. What happens at the instant of a fault may happen before it.
    fn forbid(&self, row: &EventRow) -> Option<String> {
        let life = self.0.get(&*row.source)?;
        match life.dead_us {
            Some(dead_us) if row.event != Event::Listening && dead_us < row.at_us => {
                Some(format!("it was killed at {dead_us} µs"))
            }
            _ if !life.freezes.is_empty() && life.frozen_us < row.at_us => {
                Some(format!("it stands still since {} µs", life.frozen_us))
            }
            _ => None,
        }
    }
}

/// What a server has answered OK, it has finished before.
fn answers_are_finished_work(records: &Records, findings: &mut Findings) {
    let of = |row: &EventRow| Some((row.request?, row.attempt?));
    let finished = records.events.iter().filter(|row| row.event == Event::Finished);
    let mut finished: Vec<_> = finished.filter_map(|row| Some((of(row)?, row.at_us, &*row.source))).collect();
    finished.sort_unstable();
    for row in records.attempts.iter().filter(|row| row.status == Code::Ok) {
        let key = (row.request, row.attempt);
        let from = finished.partition_point(|(finished, ..)| *finished < key);
        let mut same = finished[from..].iter().take_while(|(finished, ..)| *finished == key);
        if !same.any(|(_, at_us, server)| row.server == **server && *at_us <= row.end_us) {
            let what = format!("attempt {} is OK, but {} had not finished it", row.attempt, row.server);
            findings.add(Invariant::NoResponseFromDeadServer, Some(row.request), row.end_us, what);
        }
    }
}

/// Nobody works on what was not sent to him, nor before it was, nor twice.
fn work_is_asked_for(records: &Records, findings: &mut Findings) {
    type Sent<'a> = ((u64, u32), &'a str, u64);
    let of = |row: &EventRow| Some((row.request?, row.attempt?));
    let picks = records.events.iter().filter(|row| row.event == Event::Pick);
    let mut sent: Vec<Sent<'_>> = picks.filter_map(|row| Some((of(row)?, row.target.as_deref()?, row.at_us))).collect();
    sent.sort_unstable();
    let is_work = |row: &&EventRow| {
        matches!(row.event, Event::Finished | Event::Aborted | Event::Skipped | Event::Refused) && row.request.is_some()
    };
    let mut handled = vec![false; sent.len()];
    for row in records.events.iter().filter(is_work) {
        let began_us = row.at_us.saturating_sub(row.duration_us.unwrap_or_default());
        let at =
            of(row).and_then(|key| sent.binary_search_by_key(&(key, &*row.source), |(key, to, _)| (*key, to)).ok());
        let what = match at {
            None => format!("{} was not asked for it", row.source),
            Some(at) if began_us + ROUNDING_US < sent[at].2 => {
                format!("{} worked on it before it was sent", row.source)
            }
            Some(at) if std::mem::replace(&mut handled[at], true) => format!("{} worked on it twice", row.source),
            Some(_) => continue,
        };
        findings.add(Invariant::ConsistentLog, row.request, row.at_us, what);
    }
}

/// Work that ends as other work begins does not overlap with it.
fn workers(evidence: &Evidence<'_>, findings: &mut Findings) {
    let servers = &evidence.scenario.servers;
    let least_us = us(servers.service_time_min).saturating_sub(ROUNDING_US);
    let mut spans: BTreeMap<&str, Vec<(u64, u64)>> = BTreeMap::new();
    for row in evidence.records.events.iter().filter(|row| row.event == Event::Finished) {
        let took_us = row.duration_us.unwrap_or_default();
        if took_us < least_us {
            let what = format!("{} worked {took_us} µs on it, and each takes {least_us} µs at least", row.source);
            findings.add(Invariant::Capacity, row.request, row.at_us, what);
        }
        let start_us = (row.at_us + ROUNDING_US).saturating_sub(took_us).min(row.at_us);
        spans.entry(&row.source).or_default().push((start_us, row.at_us));
    }
    for (server, spans) in spans {
        let (most, at_us) = most_at_once(spans.into_iter());
        let admitted = servers.admission.as_ref().and_then(|admission| admission.max_concurrent_requests);
        let room = admitted.map_or(servers.workers, |admitted| admitted.min(servers.workers));
        if most > room {
            let what = format!("{server} worked on {most} at once and has room for {room}");
            findings.add(Invariant::Capacity, None, at_us, what);
        }
    }
}
