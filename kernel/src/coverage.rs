//! Coverage: which states of a scenario's policies and servers were ever reached, as in Antithesis's "sometimes" assertions.
//!
//! A sweep in which the breaker never opened says nothing about the breaker. So a sweep and a hunt list the states that the
//! scenario can reach, with the number of runs that reached each.

//! | module | content |
//! | --- | --- |
//! | `state` | [`State`], and the events that show it |
//! | `situation` | [`Situation`], what happened while what was in force |

mod situation;
mod state;

use std::{
    borrow::Cow,
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::{
    entropy::Entropy,
    record::{AttemptRow, Event, Name, Rows},
    scenario::Scenario,
    status::Outcome,
    workload::InputIdentities,
};

pub use situation::{Condition, Moment, Relation, Situation, moments};
use state::Shown;
pub use state::State;

/// Something that a run reached.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Milestone {
    /// A state of a policy or of a server.
    State(State),
    /// A place in the code of an app, by the name that it has in [`sometimes!`](crate::sometimes).
    Sometimes(Name),
}

impl fmt::Display for Milestone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::State(state) => state.fmt(f),
            Self::Sometimes(name) => f.pad(name),
        }
    }
}

/// The states and situations that a run reached.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Coverage(BTreeSet<Milestone>);

impl Coverage {
    /// Returns what a run of `scenario` with this seed and these rows reached, in one pass over its requests and one over its events, and with a
    /// cache one over its attempts.
    pub fn of_run(scenario: &Scenario, seed: u64, rows: &dyn Rows) -> Self {
        let mut reached = BTreeSet::new();
        let mut shown = Shown::new(scenario);
        for row in rows.events() {
            reached.extend(shown.by(&row).map(Milestone::State));
            if row.event == Event::Reached {
                reached.extend(row.cause.as_deref().map(|cause| Milestone::Sometimes(cause.into())));
            }
        }
        if rows.requests().any(|row| row.status == Outcome::Dropped) {
            reached.insert(Milestone::State(State::Dropped));
        }
        if first_stampede(scenario, seed, rows).is_some() {
            reached.insert(Milestone::State(State::CacheStampede));
        }
        Self(reached)
    }

    /// Returns the same of a run of which the [`moments`] are known.
    pub fn of_moments(moments: &[Moment]) -> Self {
        Self(moments.iter().filter_map(|moment| moment.situation.milestone().cloned()).collect())
    }

    /// Returns whether the state was reached.
    pub fn has(&self, state: State) -> bool {
        self.0.contains(&Milestone::State(state))
    }
}

/// Returns the first time, in microseconds, at which the servers were asked for one thing on behalf of two calls at once, in a run with a
/// cache; `None` if there is none, and if it is not known which calls ask for the same.
fn first_stampede(scenario: &Scenario, seed: u64, rows: &dyn Rows) -> Option<u64> {
    scenario.client.policies.cache.as_ref()?;
    let entropy = Entropy::new(seed);
    let identities = InputIdentities::for_kinds(&scenario.workload, &scenario.load.request, entropy)?;
    let mut attempts: Vec<AttemptRow> = rows.attempts().map(Cow::into_owned).collect();
    attempts.sort_by_key(|attempt| attempt.start_us);
    // For each input the call that is under way the longest, and until when.
    let mut under_way: BTreeMap<_, (u64, u64)> = BTreeMap::new();
    attempts.iter().find_map(|attempt| {
        let last = under_way.entry(identities.of_request(entropy, attempt.request)).or_default();
        let is_stampede = attempt.start_us < last.1 && attempt.request != last.0;
        if attempt.end_us > last.1 {
            *last = (attempt.request, attempt.end_us);
        }
        is_stampede.then_some(attempt.start_us)
    })
}

/// The number of runs that reached each state.
///
/// ```
/// use kernel::{coverage::{Coverage, CoverageTally}, scenario::Scenario};
///
/// let scenario = Scenario::load("../scenarios/breaker.toml".as_ref(), &[])?;
/// let mut tally = CoverageTally::default();
/// tally.add(&scenario, &Coverage::default());
/// assert!(tally.text().contains("breaker half-open"));
/// # Ok::<(), kernel::scenario::ScenarioError>(())
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct CoverageTally {
    /// Number of runs.
    pub runs: u64,
    /// Number of runs that reached each state; a state that the scenarios can reach, but no run did, has 0.
    pub states: BTreeMap<Milestone, u64>,
}

impl CoverageTally {
    /// Adds a run of `scenario` with this coverage.
    pub fn add(&mut self, scenario: &Scenario, coverage: &Coverage) {
        self.runs += 1;
        let possible =
            State::ALL.iter().filter(|state| state.applies_to(scenario)).map(|state| Milestone::State(*state));
        for state in possible {
            self.states.entry(state).or_default();
        }
        for reached in &coverage.0 {
            *self.states.entry(reached.clone()).or_default() += 1;
        }
    }

    /// Returns lines of at most 100 columns: the states that were reached, each with its number of runs, and those that never
    /// were. They are empty if there is no run.
    pub fn text(&self) -> String {
        if self.runs == 0 {
            return String::new();
        }
        let reached = self.states.iter().filter(|(_, runs)| **runs > 0);
        let reached: Vec<String> = reached.map(|(state, runs)| format!("{state} {runs}")).collect();
        let never = self.states.iter().filter(|(_, runs)| **runs == 0);
        let never: Vec<String> = never.map(|(state, _)| state.to_string()).collect();
        list("  states reached, by runs: ", &reached) + &list("  states never reached: ", &never)
    }
}

/// Returns a list as lines of at most 100 columns; nothing if it is empty.
fn list(head: &str, items: &[String]) -> String {
    let mut text = String::new();
    let mut line = head.to_owned();
    for (index, item) in items.iter().enumerate() {
        let end = if index + 1 < items.len() { ", " } else { "" };
        if line.len() + item.len() + end.len() > 100 {
            text += line.trim_end();
            text += "\n";
            line = "    ".to_owned();
        }
        line += item;
        line += end;
    }
    if items.is_empty() { text } else { text + line.trim_end() + "\n" }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::{EventRow, Name, Records};

    fn scenario(text: &str) -> Scenario {
        let text = format!("name = \"x\"\nduration = \"1s\"\n[load]\nrate = 1\n{text}");
        Scenario::parse("x.toml", &text, &[]).expect("a valid scenario")
    }

    fn event(event: Event, cause: &str) -> EventRow {
        EventRow {
            at_us: 0,
            source: Name::from("client"),
            event,
            target: None,
            cause: Some(cause.to_owned()),
            fault: None,
            request: None,
            call: None,
            attempt: None,
            duration_us: None,
        }
    }

    fn coverage(scenario: &Scenario, events: Vec<EventRow>) -> Coverage {
        Coverage::of_run(scenario, 1, &Records { events, ..Records::default() })
    }

    #[test]
    fn only_states_of_policies_that_are_on_can_be_missing() {
        let plain = scenario("");
        let breaker = scenario("[client.circuit_breaker]\n");
        assert!(!State::BreakerHalfOpen.applies_to(&plain) && State::BreakerHalfOpen.applies_to(&breaker));
        let mut tally = CoverageTally::default();
        tally.add(&breaker, &coverage(&breaker, vec![event(Event::BreakerOpened, "5 failures in a row")]));
        tally.add(&breaker, &Coverage::default());
        let runs = |state| tally.states[&Milestone::State(state)];
        assert_eq!((runs(State::BreakerOpen), runs(State::BreakerHalfOpen)), (1, 0));
        assert!(!tally.states.contains_key(&Milestone::State(State::Hedge)));
        assert!(tally.text().starts_with("  states reached, by runs: breaker open 1\n  states never reached: "));
    }

    #[test]
    fn moments_have_the_coverage_of_their_run() {
        let shedding = scenario("[servers.admission]\nmax_queue_time = \"1s\"\nretry_pushback = \"1s\"\n");
        let events = vec![
            event(Event::FaultStart, "freeze"),
            event(Event::Refused, "the request waited for a worker too long"),
            event(Event::Reached, "out of stock"),
            event(Event::Unhealthy, "no reply"),
        ];
        let records = Records { events, ..Records::default() };
        let reached = Coverage::of_run(&shedding, 1, &records);
        assert_eq!(Coverage::of_moments(&moments(&shedding, 1, &records)), reached);
        assert_eq!(reached.0.len(), 4, "load shed, pushback, the app's, unhealthy: {reached:?}");
    }

    #[test]
    fn a_refusal_is_a_full_queue_or_shed_load_and_a_pushback_if_it_says_how_long_to_wait() {
        let shedding = scenario("[servers.admission]\nmax_queue_time = \"1s\"\nretry_pushback = \"1s\"\n");
        let full = || vec![event(Event::Refused, "all workers are busy and the queue of 64 is full")];
        let shed = vec![event(Event::Refused, "the request waited for a worker too long")];
        let reached = coverage(&shedding, full());
        assert!(reached.has(State::QueueFull) && reached.has(State::Pushback) && !reached.has(State::LoadShed));
        assert!(coverage(&shedding, shed).has(State::LoadShed));
        assert!(!coverage(&scenario(""), full()).has(State::Pushback));
    }

    #[test]
    fn a_long_list_is_broken_at_100_columns() {
        let items: Vec<String> = (0..40).map(|index| format!("state {index}")).collect();
        let text = list("  never: ", &items);
        assert!(text.lines().count() > 3 && text.lines().all(|line| line.len() <= 100 && !line.ends_with(' ')));
        assert!(text.contains("state 0,") && text.ends_with("state 39\n"));
        assert_eq!(list("  never: ", &[]), "");
    }
}
