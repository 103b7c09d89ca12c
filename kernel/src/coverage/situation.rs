//! Situations: what happened while what was in force. Two or three things at once are what bugs of policies need, and what a state alone does
//! not say.

use std::collections::{BTreeMap, BTreeSet};

use super::{Milestone, State, first_stampede, state::Shown};
use crate::{
    fault::FaultName,
    record::{Event, EventRow, Name, Rows},
    scenario::Scenario,
    status::Outcome,
};

/// Something that lasts, at a server or at all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Condition {
    /// A fault of this kind.
    Fault(FaultName),
    /// A circuit breaker is open.
    BreakerOpen,
    /// A circuit breaker is half-open.
    BreakerHalfOpen,
    /// The server is ejected.
    Ejected,
    /// The client rates the server unhealthy.
    Unhealthy,
    /// The client has no connection to the server, and waits until it tries again.
    Disconnected,
}

/// The place at which a condition is in force, compared with the server that an event is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Relation {
    /// At the same server.
    Same,
    /// At another one, or the event is about no server.
    Other,
}

/// The meaning of an event for the situations of a run.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Shows {
    Reached(Milestone),
    Begins(Condition),
    Ends(Condition),
}

/// Something that happened, and up to two of the conditions that were in force then.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Situation {
    shows: Shows,
    during: [Option<(Condition, Relation)>; 2],
}

impl Situation {
    /// Returns what was reached, if that is all that the situation is about.
    pub(super) fn milestone(&self) -> Option<&Milestone> {
        match &self.shows {
            Shows::Reached(milestone) if self.during == [None, None] => Some(milestone),
            _ => None,
        }
    }
}

/// A situation, and when a run was first in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Moment {
    /// The situation.
    pub situation: Situation,
    /// The time since the run began, in microseconds.
    pub at_us: u64,
}

/// Returns the situations that a run of `scenario` with this seed and these rows was in, each with its first time, in order of time. It takes
/// one pass over the events and one over the requests, and with a cache one over the attempts.
pub fn moments(scenario: &Scenario, seed: u64, rows: &dyn Rows) -> Vec<Moment> {
    let mut found = Moments::default();
    let mut in_force = InForce::new(scenario);
    let mut shown = Shown::new(scenario);
    for row in rows.events() {
        let place = row.target.as_ref().and_then(|target| in_force.place_of(target));
        for state in shown.by(&row) {
            found.add(Shows::Reached(Milestone::State(state)), place, &in_force, row.at_us);
        }
        if let (Event::Reached, Some(cause)) = (row.event, &row.cause) {
            let place = in_force.place_of(&row.source);
            found.add(Shows::Reached(Milestone::Sometimes(cause.as_str().into())), place, &in_force, row.at_us);
        }
        match Change::shown_by(&row) {
            // Without the condition itself, which another server may have.
            Some(Change::Begins(condition)) => {
                found.add(Shows::Begins(condition), place, &in_force, row.at_us);
                in_force.change(Change::Begins(condition), place);
            }
            Some(Change::Ends(condition)) => {
                in_force.change(Change::Ends(condition), place);
                found.add(Shows::Ends(condition), place, &in_force, row.at_us);
            }
            None => {}
        }
    }
    let dropped = rows.requests().find(|row| row.status == Outcome::Dropped).map(|row| row.intended_us);
    let stampede = first_stampede(scenario, seed, rows);
    // When they are known, what was in force then is not.
    for (state, at_us) in [(State::Dropped, dropped), (State::CacheStampede, stampede)] {
        let Some(at_us) = at_us else { continue };
        let alone = Situation { shows: Shows::Reached(Milestone::State(state)), during: [None, None] };
        found.moments.push(Moment { situation: alone, at_us });
    }
    found.moments.sort_by_key(|moment| moment.at_us);
    found.moments
}

/// The situations that were found so far.
#[derive(Default)]
struct Moments {
    moments: Vec<Moment>,
    seen: BTreeSet<Situation>,
    /// The pairs of an event's meaning and all conditions in force. Most events repeat one of them, and need not be looked at in parts.
    seen_whole: BTreeSet<(Shows, Vec<(Condition, Relation)>)>,
}

impl Moments {
    fn add(&mut self, shows: Shows, place: Option<usize>, in_force: &InForce, at_us: u64) {
        let whole = (shows, in_force.around(place));
        if self.seen_whole.contains(&whole) {
            return;
        }
        let (shows, around) = &whole;
        let mut note = |during| {
            let situation = Situation { shows: shows.clone(), during };
            if self.seen.insert(situation.clone()) {
                self.moments.push(Moment { situation, at_us });
            }
        };
        note([None, None]);
        for (index, first) in around.iter().enumerate() {
            note([Some(*first), None]);
            around[index + 1..].iter().for_each(|second| note([Some(*first), Some(*second)]));
        }
        self.seen_whole.insert(whole);
    }
}

/// The conditions that are in force.
struct InForce {
    places: BTreeMap<Name, usize>,
    /// How often each condition is in force at each server; the last place is that of no server.
    counts: BTreeMap<Condition, Vec<u32>>,
}

impl InForce {
    fn new(scenario: &Scenario) -> Self {
        let places = scenario.server_names().enumerate().map(|(place, name)| (Name::from(name), place));
        Self { places: places.collect(), counts: BTreeMap::new() }
    }

    fn place_of(&self, server: &Name) -> Option<usize> {
        self.places.get(server).copied()
    }

    fn change(&mut self, change: Change, place: Option<usize>) {
        let places = self.places.len();
        let (Change::Begins(condition) | Change::Ends(condition)) = change;
        let counts = self.counts.entry(condition).or_insert_with(|| vec![0; places + 1]);
        let count = &mut counts[place.unwrap_or(places)];
        *count = match change {
            // Only faults of one kind may overlap.
            Change::Begins(Condition::Fault(_)) => *count + 1,
            Change::Begins(_) => 1,
            Change::Ends(_) => count.saturating_sub(1),
        };
        // A breaker is in one state.
        match change {
            Change::Begins(Condition::BreakerHalfOpen) => self.change(Change::Ends(Condition::BreakerOpen), place),
            Change::Begins(Condition::BreakerOpen) => self.change(Change::Ends(Condition::BreakerHalfOpen), place),
            _ => {}
        }
    }

    /// Returns what is in force around an event at this place, in order.
    fn around(&self, place: Option<usize>) -> Vec<(Condition, Relation)> {
        let mut around = Vec::new();
        for (condition, counts) in &self.counts {
            let at = |other: &usize| counts[*other] > 0;
            if place.filter(at).is_some() {
                around.push((*condition, Relation::Same));
            }
            if (0..counts.len()).filter(|other| Some(*other) != place).any(|other| at(&other)) {
                around.push((*condition, Relation::Other));
            }
        }
        around
    }
}

/// The beginning or the end of a condition.
#[derive(Clone, Copy)]
enum Change {
    Begins(Condition),
    Ends(Condition),
}

impl Change {
    fn shown_by(row: &EventRow) -> Option<Self> {
        let fault = || row.cause.as_deref().and_then(|cause| cause.parse().ok()).map(Condition::Fault);
        Some(match row.event {
            Event::FaultStart => Self::Begins(fault()?),
            Event::FaultEnd => Self::Ends(fault()?),
            Event::BreakerOpened => Self::Begins(Condition::BreakerOpen),
            Event::BreakerHalfOpened => Self::Begins(Condition::BreakerHalfOpen),
            Event::BreakerClosed => Self::Ends(Condition::BreakerHalfOpen),
            Event::Ejected => Self::Begins(Condition::Ejected),
            Event::Unejected => Self::Ends(Condition::Ejected),
            Event::Unhealthy => Self::Begins(Condition::Unhealthy),
            Event::Healthy => Self::Ends(Condition::Unhealthy),
            Event::TransientFailure => Self::Begins(Condition::Disconnected),
            Event::Ready => Self::Ends(Condition::Disconnected),
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Records;

    fn scenario() -> Scenario {
        let text = "name = \"x\"\nduration = \"1s\"\n[load]\nrate = 1\n[client.circuit_breaker]\nscope = \"server\"\n";
        Scenario::parse("x.toml", text, &[]).expect("a valid scenario")
    }

    fn event(at_us: u64, event: Event, target: &str, cause: &str) -> EventRow {
        EventRow {
            at_us,
            source: "client".into(),
            event,
            target: Some(target.into()),
            cause: Some(cause.to_owned()),
            fault: None,
            request: None,
            call: None,
            attempt: None,
            duration_us: None,
        }
    }

    fn found(events: Vec<EventRow>) -> Vec<Moment> {
        moments(&scenario(), 1, &Records { events, ..Records::default() })
    }

    fn state(state: State) -> Shows {
        Shows::Reached(Milestone::State(state))
    }

    #[test]
    fn a_state_is_found_with_up_to_two_of_the_conditions_in_force_at_its_server_or_at_others() {
        let frozen = Condition::Fault(FaultName::Freeze);
        let found = found(vec![
            event(1, Event::FaultStart, "server-0", "freeze"),
            event(2, Event::BreakerOpened, "server-1", "5 failures in a row"),
            event(3, Event::BreakerHalfOpened, "server-1", ""),
            event(4, Event::FaultEnd, "server-0", "freeze"),
            event(5, Event::BreakerOpened, "server-1", "5 failures in a row"),
        ]);
        let at = |shows: Shows, during: [Option<(Condition, Relation)>; 2]| {
            let wanted = Situation { shows, during };
            found.iter().find(|moment| moment.situation == wanted).map(|moment| moment.at_us)
        };
        let other = Some((frozen, Relation::Other));
        assert_eq!(at(Shows::Begins(frozen), [None, None]), Some(1));
        assert_eq!(at(state(State::BreakerOpen), [None, None]), Some(2), "the first time");
        assert_eq!(at(state(State::BreakerOpen), [other, None]), Some(2));
        assert_eq!(at(state(State::BreakerHalfOpen), [other, Some((Condition::BreakerOpen, Relation::Same))]), Some(3));
        assert_eq!(at(Shows::Ends(frozen), [Some((Condition::BreakerHalfOpen, Relation::Other)), None]), Some(4));
        assert_eq!(at(state(State::BreakerOpen), [Some((Condition::BreakerHalfOpen, Relation::Same)), None]), Some(5));
        assert_eq!(at(state(State::BreakerOpen), [Some((frozen, Relation::Same)), None]), None);
        assert!(found.is_sorted_by_key(|moment| moment.at_us));
    }

    #[test]
    fn faults_of_one_kind_on_one_server_end_one_by_one() {
        let frozen = Condition::Fault(FaultName::Freeze);
        let found = found(vec![
            event(1, Event::FaultStart, "server-0", "freeze"),
            event(2, Event::FaultStart, "server-0", "freeze"),
            event(3, Event::FaultEnd, "server-0", "freeze"),
            event(4, Event::Unhealthy, "server-0", "no reply"),
            event(5, Event::FaultEnd, "server-0", "freeze"),
            event(6, Event::Healthy, "server-0", ""),
        ]);
        let during = |wanted: Shows| {
            let same = [Some((frozen, Relation::Same)), None];
            found.iter().any(|moment| moment.situation == Situation { shows: wanted.clone(), during: same })
        };
        assert!(during(state(State::Unhealthy)) && !during(state(State::HealthyAgain)));
    }
}
