//! The timeline of a request: what happened to it and around it, in order of time.

use std::{cmp::Reverse, collections::BinaryHeap};

use kernel::{
    measure::text::{
        quantity::{duration, moment},
        table::{Align, TextTable},
    },
    record::{AttemptRow, Event, EventRow, RequestRow},
    status::Code,
    visible::Visible,
};
use serde::Serialize;

use crate::run::RecordedRun;

/// Time before a request during which events that may explain it are shown, in microseconds.
const BEFORE_US: u64 = 2_000_000;

/// Lateness from which a send is shown as late, in microseconds: less is that of any timer.
const LATE_US: u64 = 1_000;

/// The most lines of a timeline: a call with thousands of attempts is not read line by line.
const LINES_MAX: usize = 200;

/// A request with its attempts and with the events that may explain how it ended.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Timeline {
    /// The request.
    pub request: RequestRow,
    /// Its attempts, by number.
    pub attempts: Vec<AttemptRow>,
    /// The events of the request, and those of faults, health, breakers, ejections and servers from two seconds before it to its
    /// end, in order of time.
    pub events: Vec<EventRow>,
}

/// Returns the ids of the slowest requests of a run, the slowest first. A request that was dropped has no latency.
pub fn slowest(run: &RecordedRun, count: usize) -> Vec<u64> {
    // The least of those that are kept is at the top.
    let mut kept: BinaryHeap<Reverse<(u64, Reverse<u64>)>> = BinaryHeap::new();
    run.rows.requests.each(|row| {
        if let Some(latency_us) = row.latency_us {
            kept.push(Reverse((latency_us, Reverse(row.id))));
            if kept.len() > count {
                kept.pop();
            }
        }
    });
    // Ascending by what is reversed: the slowest first.
    kept.into_sorted_vec().into_iter().map(|Reverse((_, Reverse(id)))| id).collect()
}

impl Timeline {
    /// Collects the timelines of requests, in the order of `ids`, in one pass over each kind of row. An id that the run does not
    /// have is left out.
    pub fn collect(run: &RecordedRun, ids: &[u64]) -> Vec<Self> {
        let mut timelines: Vec<Option<Self>> = ids.iter().map(|_| None).collect();
        let places = |id: u64| ids.iter().enumerate().filter(move |(_, wanted)| **wanted == id).map(|(place, _)| place);
        run.rows.requests.each(|row| {
            for place in places(row.id) {
                let request = row.clone();
                timelines[place] = Some(Self { request, attempts: Vec::new(), events: Vec::new() });
            }
        });
        run.rows.attempts.each(|row| {
            for place in places(row.request) {
                timelines[place].iter_mut().for_each(|timeline| timeline.attempts.push(row.clone()));
            }
        });
        run.rows.events.each(|row| {
            for timeline in timelines.iter_mut().flatten().filter(|timeline| timeline.concerns(row)) {
                timeline.events.push(row.clone());
            }
        });
        timelines.into_iter().flatten().collect()
    }

    /// Returns whether an event is the request's own, or may explain how it ended.
    fn concerns(&self, row: &EventRow) -> bool {
        if row.request == Some(self.request.id) {
            return true;
        }
        let from_us = self.request.intended_us.saturating_sub(BEFORE_US);
        let to_us = self.request.done_us.unwrap_or(self.request.intended_us);
        row.request.is_none() && (from_us..=to_us).contains(&row.at_us)
    }

    /// Returns the timeline as text. It ends with a line break.
    pub fn text(&self) -> String {
        let mut lines: Vec<(u64, String, String)> = Vec::new();
        let request = &self.request;
        lines.push((request.intended_us, "load".to_owned(), "the request is intended".to_owned()));
        if let Some(sent_us) = request.sent_us.filter(|sent_us| *sent_us >= request.intended_us + LATE_US) {
            lines.push((sent_us, "load".to_owned(), "the call begins late".to_owned()));
        }
        lines.extend(self.events.iter().map(|row| (row.at_us, row.source.visible().to_string(), event(row))));
        // A failed attempt has an event, one that is answered has none.
        let answered = self.attempts.iter().filter(|row| row.status == Code::Ok);
        lines.extend(answered.map(|row| {
            let took = duration((row.end_us - row.start_us) as f64 / 1e6);
            (row.end_us, "client".to_owned(), format!("attempt {} to {} ends OK after {took}", row.attempt, row.server))
        }));
        if let Some(done_us) = request.done_us {
            lines.push((done_us, "load".to_owned(), format!("the call ends {}", request.status.name())));
        }
        // Lines of one instant stay in the order above, which is that of their causes.
        lines.sort_by_key(|(at_us, ..)| *at_us);
        let left_out = lines.len().saturating_sub(LINES_MAX);
        let mut table = TextTable::new(&[
            ("at", Align::Right),
            ("since intended", Align::Right),
            ("source", Align::Left),
            ("event", Align::Left),
        ]);
        for (at_us, source, what) in lines.into_iter().take(LINES_MAX) {
            table.row(vec![moment(at_us), since(at_us, request.intended_us), source, what]);
        }
        let more = if left_out > 0 { format!("  and {left_out} more\n") } else { String::new() };
        format!("{}\n{}{more}", self.head(), table.render())
    }

    fn head(&self) -> String {
        let RequestRow { id, size, status, latency_us, attempts, failovers, server, .. } = &self.request;
        let size = if size.is_empty() { String::new() } else { format!(" ({})", size.visible()) };
        let Some(latency_us) = latency_us else {
            return format!("request {id}{size}: {}, never sent\n", status.name());
        };
        let by = server.as_ref().map(|server| format!(" by {}", server.visible())).unwrap_or_default();
        let after = duration(*latency_us as f64 / 1e6);
        let attempts = if *attempts == 1 { "1 attempt".to_owned() } else { format!("{attempts} attempts") };
        let failovers = match failovers {
            0 => String::new(),
            1 => ", 1 failover".to_owned(),
            count => format!(", {count} failovers"),
        };
        format!("request {id}{size}: {}{by} after {after}, {attempts}{failovers}\n", status.name())
    }
}

/// Returns a time as the difference to when the request was intended.
fn since(at_us: u64, intended_us: u64) -> String {
    match at_us.checked_sub(intended_us) {
        Some(after_us) => duration(after_us as f64 / 1e6),
        None => format!("-{}", duration((intended_us - at_us) as f64 / 1e6)),
    }
}

/// Returns what an event says, in words.
pub(crate) fn event(row: &EventRow) -> String {
    let target = row.target.as_deref().unwrap_or_default().visible().to_string();
    let cause = row.cause.as_deref().unwrap_or_default().visible().to_string();
    let attempt = row.attempt.map(|attempt| format!("attempt {attempt}")).unwrap_or_default();
    let fault = row.fault.map(|fault| format!("fault-{fault}")).unwrap_or_default();
    let lasts = row.duration_us.map(|us| duration(us as f64 / 1e6)).unwrap_or_default();
    match row.event {
        Event::FaultStart => format!("{fault} begins on {target}: {cause}"),
        Event::FaultEnd => format!("{fault} is lifted from {target}"),
        Event::NoEffect => format!("{fault} has no effect on {target}: {cause}"),
        Event::SettingChanged => cause,
        Event::Restart => format!("{target} is started again"),
        Event::Listening => "it listens".to_owned(),
        Event::Finished => format!("it has finished the work of {attempt}"),
        Event::Skipped => format!("it drops the work of {attempt}: {cause}"),
        Event::Refused => format!("it refuses {attempt}: {cause}"),
        Event::Aborted => format!("it fails {attempt} on purpose: {cause}"),
        Event::Computed => format!("it computes {cause} for {attempt} in {lasts}"),
        Event::Cancelled => format!("it drops {attempt} after {lasts}: caller left"),
        Event::Pick => format!("{attempt} goes to {target}"),
        Event::AttemptFailed => format!("{attempt} to {target} fails: {cause}"),
        Event::Backoff => format!("it waits {lasts} before the next attempt"),
        Event::Failover => format!("{attempt} fails over to {target}"),
        Event::GiveUp => format!("it gives up: {cause}"),
        Event::Hedge => format!("{attempt} is a hedge, to {target}"),
        Event::Rejected => format!("an attempt is rejected: {cause}"),
        Event::TransparentRetry => format!("{target} has not seen the attempt: {cause}; it is sent again"),
        Event::Throttled => format!("there is no other attempt: {cause}"),
        Event::Queued => format!("it waits: {cause}"),
        Event::BreakerOpened => format!("the breaker{} opens for {lasts}: {cause}", owner(&target)),
        Event::BreakerHalfOpened => format!("the breaker{} is half-open", owner(&target)),
        Event::BreakerClosed => format!("the breaker{} closes", owner(&target)),
        Event::Ejected => format!("{target} is ejected for {lasts}: {cause}"),
        Event::Unejected => format!("{target} is no longer ejected"),
        Event::LimitChanged => cause,
        Event::SlowStart => format!("{target} starts slowly, for {lasts}"),
        Event::CacheHit => format!("it is answered from the cache: {cause}"),
        Event::StoreFailed => format!("the store does not answer it, which counts as a miss: {cause}"),
        Event::Fallback => format!("it gets a fallback: {cause}"),
        Event::WrongResult => "the answer is wrong".to_owned(),
        Event::Unhealthy => format!("{target} is rated unhealthy: {cause}"),
        Event::Healthy => format!("{target} is rated healthy"),
        Event::Connecting => format!("it connects to {target}"),
        Event::Ready => format!("the connection to {target} is ready"),
        Event::TransientFailure => format!("the connection to {target} fails; next try in {lasts}"),
        Event::Idle => format!("the connection to {target} is gone"),
        Event::StoreLost => format!("the {target} is away: {cause}; it is left alone for {lasts} at a time"),
        Event::StoreRestored => format!("the {target} answers again"),
        Event::Reached => format!("reached: {cause}"),
    }
}

/// Returns ` of TARGET`; nothing for the breaker of the service.
fn owner(target: &str) -> String {
    if target.is_empty() { String::new() } else { format!(" of {target}") }
}
