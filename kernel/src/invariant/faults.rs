//! Checks that faults begin and end when the scenario says, and that nothing passes a partitioned link or a half-open connection.

use std::collections::{BTreeMap, BTreeSet};

use super::{Evidence, Findings, Invariant, ROUNDING_US, attempts::Attempts, us};
use crate::{
    fault::{Direction, Fault, FaultKind, target_name},
    record::{Event, EventRow, Name, Rows},
    server::settings::Caller,
    status::Code,
};

pub(super) fn check(evidence: &Evidence<'_>, attempts: &Attempts, findings: &mut Findings) {
    let recorded = RecordedTimes::collect(evidence.rows, &evidence.scenario.faults);
    let pending = recorded.pending_restarts(&evidence.scenario.faults);
    let none = FaultTimes::default();
    let names = evidence.scenario.names();
    let late_us = evidence.late.map_or(0, us) * 2 + ROUNDING_US;
    let mut partitioned: BTreeMap<Name, PartitionedLink> = BTreeMap::new();
    for (index, fault) in evidence.scenario.faults.iter().enumerate() {
        for target in fault.targets.iter().map(|target| Name::from(target_name(*target, &names))) {
            let times = recorded.faults.get(&(index, target.clone())).unwrap_or(&none);
            let slack = Slack {
                late_us,
                end_us: recorded.end_us,
                restarts: recorded.restarts.get(&target),
                pending: pending.get(&target).copied(),
            };
            if let Some(what) = times.wrong(fault, &slack) {
                let what = format!("fault {index} on {target}: {what}");
                findings.add(Invariant::FaultsFollowSchedule, None, us(fault.at), what);
            }
            if let Some(direction) = cut(&fault.kind)
                && fault.caller.is_none_or(|caller| caller == Caller::Load)
                && let Some(start_us) = times.starts.first()
            {
                let mut heals_us = times.ends.first().copied().unwrap_or(u64::MAX);
                if matches!(fault.kind, FaultKind::HalfOpen { .. }) {
                    heals_us = heals_us.min(recorded.next_connection(&target, *start_us));
                }
                partitioned.entry(target).or_default().add(direction, *start_us, heals_us);
            }
        }
    }
    if partitioned.is_empty() {
        return;
    }
    partitioned.values_mut().for_each(PartitionedLink::sort);
    for row in evidence.rows.events() {
        if let Some(link) = partitioned.get(&row.source) {
            link.check(&row, attempts, findings);
        }
    }
}

/// Returns the direction in which nothing passes the link of a target while the fault lasts; none if something may pass. No connection
/// outlives a reset that lasts, so that no message is both sent and received while it does. With half-open connections nothing passes until
/// there is a new one.
fn cut(kind: &FaultKind) -> Option<Direction> {
    match *kind {
        FaultKind::Partition { direction, share: None, .. } => Some(direction),
        FaultKind::HalfOpen { share: None, .. } => Some(Direction::Both),
        FaultKind::Reset { duration: Some(_), share: None } => Some(Direction::Both),
        _ => None,
    }
}

/// The times at which one fault began and ended on one target, and at which it had no effect.
#[derive(Debug, Default)]
struct FaultTimes {
    starts: Vec<u64>,
    ends: Vec<u64>,
    no_effects: Vec<u64>,
    restarted: bool,
}

/// The times of all faults.
#[derive(Debug, Default)]
struct RecordedTimes {
    /// The times of each fault, by index and target.
    faults: BTreeMap<(usize, Name), FaultTimes>,
    /// The times at which each server was started again.
    restarts: BTreeMap<Name, BTreeSet<u64>>,
    /// The times at which the client had a new connection to each server, if a fault makes connections half-open.
    connections: BTreeMap<Name, BTreeSet<u64>>,
    /// The time of the last event of the run.
    end_us: u64,
}

/// The difference from the scenario that a fault may have.
struct Slack<'a> {
    /// The most by which two timers are late.
    late_us: u64,
    /// The time of the last event of the run.
    end_us: u64,
    /// The times at which the server was started again.
    restarts: Option<&'a BTreeSet<u64>>,
    /// When the server should have been started again, if the run ended before its process had exited.
    pending: Option<u64>,
}

impl Slack<'_> {
    /// Returns whether what was due at `due_us` may have happened at `at_us`. A killed process takes its time to exit, and what
    /// is scripted after its restart waits for it.
    fn allows(&self, at_us: u64, due_us: u64) -> bool {
        at_us <= due_us.saturating_add(self.late_us) || self.restarts.is_some_and(|restarts| restarts.contains(&at_us))
    }

    /// Returns whether the run may have ended before what was due at `due_us`.
    fn allows_end_before(&self, due_us: u64) -> bool {
        self.end_us <= due_us.saturating_add(self.late_us)
            || self.pending.is_some_and(|pending_us| pending_us <= due_us)
    }
}

impl RecordedTimes {
    /// Returns for each server the first restart of `faults` that should have been and was not, although the crash had an
    /// effect.
    fn pending_restarts(&self, faults: &[Fault]) -> BTreeMap<Name, u64> {
        let mut pending: BTreeMap<Name, u64> = BTreeMap::new();
        for ((index, target), times) in &self.faults {
            let Some(FaultKind::Crash { restart_after: Some(time) }) = faults.get(*index).map(|fault| &fault.kind)
            else {
                continue;
            };
            if !times.restarted && times.ends.is_empty() {
                let due_us = us(faults[*index].at + *time);
                let first = pending.entry(target.clone()).or_insert(due_us);
                *first = due_us.min(*first);
            }
        }
        pending
    }

    /// Returns the time of the first new connection to `server` from `start_us` on; `u64::MAX` if there is none.
    fn next_connection(&self, server: &Name, start_us: u64) -> u64 {
        self.connections.get(server).and_then(|times| times.range(start_us..).next().copied()).unwrap_or(u64::MAX)
    }

    fn collect(rows: &dyn Rows, faults: &[Fault]) -> Self {
        let mut times = Self::default();
        let has_half_open = faults.iter().any(|fault| matches!(fault.kind, FaultKind::HalfOpen { .. }));
        for row in rows.events() {
            times.end_us = row.at_us;
            if let (Event::Ready, true, Some(target)) = (row.event, has_half_open, &row.target) {
                times.connections.entry(target.clone()).or_default().insert(row.at_us);
            }
            let (Some(fault), Some(target)) = (row.fault, &row.target) else { continue };
            let own = times.faults.entry((fault, target.clone())).or_default();
            match row.event {
                Event::FaultStart => own.starts.push(row.at_us),
                Event::FaultEnd => own.ends.push(row.at_us),
                Event::Restart => {
                    own.restarted = true;
                    times.restarts.entry(target.clone()).or_default().insert(row.at_us);
                }
                Event::NoEffect => own.no_effects.push(row.at_us),
                _ => {}
            }
        }
        times
    }
}

impl FaultTimes {
    /// Returns in what these times differ from the scenario.
    fn wrong(&self, fault: &Fault, slack: &Slack<'_>) -> Option<String> {
        let at_us = us(fault.at);
        let (start_us, rest) = match &self.starts[..] {
            // The run may have ended before.
            [] if slack.allows_end_before(at_us) => return None,
            [] => return Some("it does not begin".to_owned()),
            [start_us, rest @ ..] => (*start_us, rest),
        };
        if !rest.is_empty() || start_us < at_us || !slack.allows(start_us, at_us) {
            return Some(format!("it begins at {:?} µs instead of {at_us} µs", self.starts));
        }
        if self.ends.len() > 1 || self.ends.first().is_some_and(|lifted_us| *lifted_us < start_us) {
            return Some(format!("it begins at {start_us} µs, and ends at {:?} µs", self.ends));
        }
        // A process that is down when it should be frozen is left alone, and the fault ends when it ends.
        if self.no_effects.contains(&start_us) {
            return None;
        }
        let (least_us, most_us) = match (&fault.kind, fault.kind.lasts()) {
            // A process takes its time to exit, and one that is started to listen.
            (FaultKind::Crash { .. } | FaultKind::Drain { .. }, lasts) => (lasts.map_or(0, us), u64::MAX),
            (FaultKind::Reset { duration: None, .. }, _) => (0, 0),
            (_, Some(lasts)) => (us(lasts), us(lasts)),
            (_, None) => (u64::MAX, u64::MAX),
        };
        let due_us = start_us.saturating_add(most_us);
        match self.ends.first() {
            None => (!slack.allows_end_before(due_us)).then(|| format!("it does not end at {due_us} µs")),
            Some(lifted_us) => {
                // A fault that had to wait for its turn ends when it is scripted to.
                let is_early = lifted_us.saturating_add(ROUNDING_US) < at_us.saturating_add(least_us);
                let is_wrong = is_early || !slack.allows(*lifted_us, due_us);
                is_wrong.then(|| {
                    format!(
                        "it begins at {start_us} µs, should last {:?}, and ends at {lifted_us} µs",
                        fault.kind.lasts()
                    )
                })
            }
        }
    }
}

/// The times at which nothing passes a link in one direction, as the starts and ends of its partitions. They may overlap.
#[derive(Default)]
struct Cuts(Vec<(u64, u64)>);

impl Cuts {
    /// Sorts them by start, and gives each the latest end of those up to it. There may be a hundred thousand, and as many messages.
    fn sort(&mut self) {
        self.0.sort_unstable();
        let mut latest_us = 0;
        for (_, end_us) in &mut self.0 {
            latest_us = latest_us.max(*end_us);
            *end_us = latest_us;
        }
    }

    /// Returns whether one partition holds both times. Events at its first and last instant may be outside.
    fn hold(&self, from_us: u64, to_us: u64) -> bool {
        let begun = &self.0[..self.0.partition_point(|(start_us, _)| *start_us < from_us)];
        begun.last().is_some_and(|(_, end_us)| to_us < *end_us)
    }
}

/// A link that is partitioned at times.
#[derive(Default)]
struct PartitionedLink {
    there: Cuts,
    back: Cuts,
}

impl PartitionedLink {
    fn add(&mut self, direction: Direction, start_us: u64, heals_us: u64) {
        if direction != Direction::From {
            self.there.0.push((start_us, heals_us));
        }
        if direction != Direction::To {
            self.back.0.push((start_us, heals_us));
        }
    }

    fn sort(&mut self) {
        self.there.sort();
        self.back.sort();
    }

    /// Checks that the message which the link's server records with `row` is not both sent and received during a partition.
    fn check(&self, row: &EventRow, attempts: &Attempts, findings: &mut Findings) {
        let done_us = row.at_us;
        if !self.there.hold(done_us, done_us) && !self.back.hold(done_us, done_us) {
            return;
        }
        let (Some(request), Some(number)) = (row.request, row.attempt) else { return };
        let attempt = attempts.find(request, number).filter(|attempt| row.source == *attempts.server(attempt));
        let Some(attempt) = attempt else { return };
        let passes_there = self.there.hold(attempt.start_us, done_us);
        let is_answer = row.event == Event::Finished && attempt.status == Code::Ok;
        let passes_back = is_answer && self.back.hold(done_us, attempt.end_us);
        if passes_there || passes_back {
            let way = if passes_there { "to" } else { "from" };
            let what = format!("attempt {number} passes the link {way} {} while that is cut", row.source);
            findings.add(Invariant::PartitionHolds, Some(request), done_us, what);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cuts_hold_what_one_of_them_holds(
            cuts in prop::collection::vec((0..20_u64, 0..20_u64), 0..8),
            from_us in 0..25_u64,
            span_us in 0..10_u64,
        ) {
            let to_us = from_us + span_us;
            let all = cuts.iter().map(|(start_us, span_us)| (*start_us, start_us + span_us));
            let one_holds = all.clone().any(|(start_us, end_us)| start_us < from_us && to_us < end_us);
            let mut sorted = Cuts(all.collect());
            sorted.sort();
            prop_assert_eq!(sorted.hold(from_us, to_us), one_holds);
        }
    }
}
