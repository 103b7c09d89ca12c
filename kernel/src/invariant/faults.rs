//! Faults: they begin and end as the scenario has them, and nothing passes a link that is cut.

use super::{Evidence, Findings, Invariant, ROUNDING_US, us};
use crate::{
    record::{Event, EventRow},
    scenario::{Direction, Fault, FaultKind, server_name},
    status::Code,
};

pub(super) fn check(evidence: &Evidence<'_>, findings: &mut Findings) {
    let end_us = evidence.records.events.last().map_or(0, |row| row.at_us);
    let late_us = evidence.late.map_or(0, us) * 2 + ROUNDING_US;
    let of_faults: Vec<&EventRow> = evidence.records.events.iter().filter(|row| row.fault.is_some()).collect();
    for (index, fault) in evidence.scenario.faults.iter().enumerate() {
        for target in fault.targets.iter().map(|target| server_name(*target)) {
            let own =
                of_faults.iter().filter(|row| row.fault == Some(index) && row.target.as_deref() == Some(&*target));
            let of = |event| own.clone().filter(move |row| row.event == event).map(|row| row.at_us).collect::<Vec<_>>();
            let course =
                Course { starts: of(Event::FaultStart), ends: of(Event::FaultEnd), nothings: of(Event::NoEffect) };
            if let Some(what) = course.wrong(fault, end_us, late_us) {
                let what = format!("fault {index} on {target}: {what}");
                findings.add(Invariant::FaultsFollowSchedule, None, us(fault.at), what);
            }
            if let FaultKind::Partition { direction, .. } = fault.kind
                && let Some(start_us) = course.starts.first()
            {
                let heals_us = course.ends.first().copied().unwrap_or(u64::MAX);
                Cut { server: &target, direction, start_us: *start_us, heals_us }.check(evidence, findings);
            }
        }
    }
}

/// What is on record of one fault and one target.
struct Course {
    starts: Vec<u64>,
    ends: Vec<u64>,
    nothings: Vec<u64>,
}

impl Course {
    /// `end_us` is the last that is on record.
    fn wrong(&self, fault: &Fault, end_us: u64, late_us: u64) -> Option<String> {
        let at_us = us(fault.at);
        let (start_us, rest) = match &self.starts[..] {
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
        // A process that is down when it is to be frozen is left alone; one that dies later had the fault end with it.
        if self.nothings.contains(&start_us) {
            return None;
        }
        let (least_us, most_us) = match (&fault.kind, fault.kind.lasts()) {
            // A killed process takes its time to go, and one that is started to listen.
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
                        "it begins at {start_us} µs, is to last {:?}, and ends at {lifted_us} µs",
                        fault.kind.lasts()
                    )
                })
            }
        }
    }
}

/// A link that is cut.
struct Cut<'a> {
    server: &'a str,
    direction: Direction,
    start_us: u64,
    heals_us: u64,
}

impl Cut<'_> {
    /// Whether that was within it. What happens at its first and last instant may be outside.
    fn holds(&self, from_us: u64, to_us: u64) -> bool {
        self.start_us < from_us && to_us < self.heals_us
    }

    /// What was sent during it did not arrive during it.
    fn check(&self, evidence: &Evidence<'_>, findings: &mut Findings) {
        let records = evidence.records;
        let of = |row: &EventRow| Some((row.request?, row.attempt?));
        let from = records.events.partition_point(|row| row.at_us <= self.start_us);
        let during = records.events[from..].iter().take_while(|row| row.at_us < self.heals_us);
        for row in during.filter(|row| row.source == self.server) {
            let Some(key) = of(row) else { continue };
            let attempts = &records.attempts;
            let attempt = attempts.binary_search_by_key(&key, |row| (row.request, row.attempt)).map(|at| &attempts[at]);
            let Some(attempt) = attempt.ok().filter(|attempt| attempt.server == self.server) else { continue };
            let (sent_us, done_us) = (attempt.start_us, row.at_us);
            let there = self.direction != Direction::From && self.holds(sent_us, done_us);
            let is_answer = row.event == Event::Finished && attempt.status == Code::Ok;
            let back = self.direction != Direction::To && is_answer && self.holds(done_us, attempt.end_us);
            if there || back {
                let way = if there { "to" } else { "from" };
                let what = format!("attempt {} passes the link {way} {} while that is cut", key.1, self.server);
                findings.add(Invariant::PartitionHolds, Some(key.0), done_us, what);
            }
        }
    }
}
