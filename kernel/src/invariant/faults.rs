//! Checks that faults begin and end when the scenario says, and that nothing passes a partitioned link.

use super::{Evidence, Findings, Invariant, ROUNDING_US, find_attempt, us};
use crate::{
    fault::{Direction, Fault, FaultKind},
    record::{Event, EventRow},
    server::settings::server_name,
    status::Code,
};

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let end_us = evidence.records.events.last().map_or(0, |row| row.at_us);
    let late_us = evidence.late.map_or(0, us) * 2 + ROUNDING_US;
    let rows: Vec<&EventRow> = evidence.records.events.iter().filter(|row| row.fault.is_some()).collect();
    for (index, fault) in evidence.scenario.faults.iter().enumerate() {
        for target in fault.targets.iter().map(|target| server_name(*target)) {
            let times = FaultTimes::collect(&rows, index, &target);
            if let Some(what) = times.wrong(fault, end_us, late_us) {
                let what = format!("fault {index} on {target}: {what}");
                findings.add(Invariant::FaultsFollowSchedule, None, us(fault.at), what);
            }
            if let FaultKind::Partition { direction, .. } = fault.kind
                && let Some(start_us) = times.starts.first()
            {
                let heals_us = times.ends.first().copied().unwrap_or(u64::MAX);
                PartitionedLink { server: &target, direction, start_us: *start_us, heals_us }.check(evidence, findings);
            }
        }
    }
}

/// The times at which one fault began and ended on one target, and at which it had no effect.
struct FaultTimes {
    starts: Vec<u64>,
    ends: Vec<u64>,
    no_effects: Vec<u64>,
}

impl FaultTimes {
    /// Collects the times from `rows`, which are those of all faults.
    fn collect(rows: &[&EventRow], fault: usize, target: &str) -> Self {
        let mut times = Self { starts: Vec::new(), ends: Vec::new(), no_effects: Vec::new() };
        let own = rows.iter().filter(|row| row.fault == Some(fault) && row.target.as_deref() == Some(target));
        for row in own {
            match row.event {
                Event::FaultStart => times.starts.push(row.at_us),
                Event::FaultEnd => times.ends.push(row.at_us),
                Event::NoEffect => times.no_effects.push(row.at_us),
                _ => {}
            }
        }
        times
    }

    /// Returns in what these times differ from the scenario. `end_us` is the time of the last event of the run.
    fn wrong(&self, fault: &Fault, end_us: u64, late_us: u64) -> Option<String> {
        let at_us = us(fault.at);
        let (start_us, rest) = match &self.starts[..] {
            // The run may have ended before.
            [] if end_us <= at_us + late_us => return None,
            [] => return Some("it does not begin".to_owned()),
            [start_us, rest @ ..] => (*start_us, rest),
        };
        if !rest.is_empty() || start_us < at_us || start_us > at_us + late_us {
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
            // A killed process takes its time to exit, and one that is started to listen.
            (FaultKind::Crash { .. }, lasts) => (lasts.map_or(0, us), u64::MAX),
            (FaultKind::Reset, _) => (0, 0),
            (_, Some(lasts)) => (us(lasts), us(lasts)),
            (_, None) => (u64::MAX, u64::MAX),
        };
        let latest_us = start_us.saturating_add(most_us).saturating_add(late_us);
        match self.ends.first() {
            None => (end_us > latest_us).then(|| format!("it does not end until {latest_us} µs")),
            Some(lifted_us) => {
                let is_early = lifted_us.saturating_add(ROUNDING_US) < start_us.saturating_add(least_us);
                let is_wrong = is_early || *lifted_us > latest_us;
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

/// A link that is partitioned from `start_us` to `heals_us`.
struct PartitionedLink<'a> {
    server: &'a str,
    direction: Direction,
    start_us: u64,
    heals_us: u64,
}

impl PartitionedLink<'_> {
    /// Returns whether both times are within the partition. Events at its first and last instant may be outside.
    fn holds(&self, from_us: u64, to_us: u64) -> bool {
        self.start_us < from_us && to_us < self.heals_us
    }

    /// Checks that no message is both sent and received during the partition.
    fn check(&self, evidence: &Evidence<'_>, findings: &mut Findings) {
        let records = evidence.records;
        let from = records.events.partition_point(|row| row.at_us <= self.start_us);
        let during = records.events[from..].iter().take_while(|row| row.at_us < self.heals_us);
        for row in during.filter(|row| row.source == self.server) {
            let (Some(request), Some(number)) = (row.request, row.attempt) else { continue };
            let attempt = find_attempt(records, request, number).filter(|attempt| attempt.server == self.server);
            let Some(attempt) = attempt else { continue };
            let done_us = row.at_us;
            let passes_there = self.direction != Direction::From && self.holds(attempt.start_us, done_us);
            let is_answer = row.event == Event::Finished && attempt.status == Code::Ok;
            let passes_back = self.direction != Direction::To && is_answer && self.holds(done_us, attempt.end_us);
            if passes_there || passes_back {
                let way = if passes_there { "to" } else { "from" };
                let what = format!("attempt {number} passes the link {way} {} while that is cut", self.server);
                findings.add(Invariant::PartitionHolds, Some(request), done_us, what);
            }
        }
    }
}
