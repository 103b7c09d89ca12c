//! Which faults of a run overlap, which is known before it is played.

use std::{collections::BTreeMap, time::Duration};

use kernel::scenario::{Fault, Scenario};

use super::{
    Recipe,
    profile::{Profile, Yields},
};

/// How long what a fault has done may last after its end: a server that comes back, a connection that is made again. It is the unit of the
/// times of overlaps.
const AFTERMATH: Duration = Duration::from_millis(300);

/// The shortest time that an overlap counts.
const TIME_MIN: Duration = Duration::from_millis(10);

/// Two or three faults that overlap, in the order of their starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Overlap {
    Pair {
        kinds: [&'static str; 2],
        same_server: bool,
        start: Start,
    },
    Triple {
        kinds: [&'static str; 3],
        /// True for each pair at one server: the first and the second, the first and the third, the second and the third.
        same_server: [bool; 3],
    },
}

/// How soon after the start of a fault another one begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Start {
    AtOnce,
    Soon,
    Late,
}

impl Start {
    fn from_gap(gap: Duration) -> Self {
        match gap.as_millis() {
            0..30 => Self::AtOnce,
            30..200 => Self::Soon,
            _ => Self::Late,
        }
    }
}

/// A fault at one of its servers.
#[derive(Debug, Clone, Copy)]
struct Span {
    kind: &'static str,
    server: usize,
    start: Duration,
    end: Duration,
    /// The place of the fault in the run.
    fault: usize,
}

impl Span {
    /// Returns the fault at this place in a run that lasts for `run`, at each of its servers.
    fn all(place: usize, fault: &Fault, run: Duration) -> impl Iterator<Item = Self> + '_ {
        // A fault without an end lasts to that of the run.
        let lasts = if fault.kind.is_over_at_once() { Some(Duration::ZERO) } else { fault.kind.lasts() };
        let end = fault.at + lasts.unwrap_or(run);
        let kind = fault.kind.name();
        fault.targets.iter().map(move |&server| Self { kind, server, start: fault.at, end, fault: place })
    }

    /// Returns whether this one, which begins later, overlaps `other`.
    fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end + AFTERMATH
    }
}

/// How long the proposed runs had each overlap, in units of [`AFTERMATH`].
#[derive(Debug, Default)]
pub(super) struct Overlaps(BTreeMap<Overlap, f64>);

/// The overlaps of a run that could be proposed.
#[derive(Debug)]
pub(super) struct Outlook {
    overlaps: Vec<Timed>,
    /// Those of the faults of the run, in its order.
    profiles: Vec<Profile>,
}

/// An overlap in a run.
#[derive(Debug)]
struct Timed {
    overlap: Overlap,
    /// How long all of its faults, or what they have done, last at once, in units of [`AFTERMATH`]. What needs calls needs time.
    time: f64,
    /// Its faults, by their places in the run; the last one again in a pair.
    faults: [usize; 3],
}

impl Timed {
    fn new(overlap: Overlap, [a, b, c]: [&Span; 3]) -> Self {
        let end = a.end.min(b.end).min(c.end) + AFTERMATH;
        let time = end.saturating_sub(c.start).max(TIME_MIN).as_secs_f64() / AFTERMATH.as_secs_f64();
        Self { overlap, time, faults: [a.fault, b.fault, c.fault] }
    }
}

impl Outlook {
    /// Returns the overlaps of a run of `scenario`, each time that it has them; behind a branch those alone in which a fault begins behind the
    /// last one.
    pub(super) fn new(scenario: &Scenario, recipe: &Recipe) -> Self {
        let run = scenario.explicit_with(recipe.seed, &recipe.branches);
        let places = run.faults.iter().enumerate();
        let mut spans: Vec<Span> = places.flat_map(|(place, fault)| Span::all(place, fault, run.duration)).collect();
        spans.sort_by_key(|span| span.start);
        let since = recipe.branches.last().map(|branch| branch.at);
        // They are in order, so that the last one of an overlap begins last.
        let is_new = |span: &Span| since.is_none_or(|since| span.start > since);
        let mut overlaps = Vec::new();
        for (index, a) in spans.iter().enumerate() {
            let others: Vec<&Span> = spans[index + 1..].iter().filter(|b| b.overlaps(a)).collect();
            for (place, b) in others.iter().enumerate() {
                let same_server = a.server == b.server;
                if is_new(b) {
                    let start = Start::from_gap(b.start - a.start);
                    let pair = Overlap::Pair { kinds: [a.kind, b.kind], same_server, start };
                    overlaps.push(Timed::new(pair, [a, b, b]));
                }
                for c in others[place + 1..].iter().filter(|c| is_new(c) && c.overlaps(b)) {
                    let same_server = [same_server, a.server == c.server, b.server == c.server];
                    let triple = Overlap::Triple { kinds: [a.kind, b.kind, c.kind], same_server };
                    overlaps.push(Timed::new(triple, [a, b, c]));
                }
            }
        }
        Self { overlaps, profiles: run.faults.iter().map(Profile::new).collect() }
    }

    /// Returns the profiles of the faults of the run, in its order.
    pub(super) fn into_profiles(self) -> Vec<Profile> {
        self.profiles
    }
}

impl Overlaps {
    /// Returns how much may be new in a run: the sum over its overlaps of their time, by one more than that of the runs that were proposed, and
    /// by what their faults promise.
    pub(super) fn novelty(&self, outlook: &Outlook, yields: &Yields) -> f64 {
        let promises: Vec<f64> = outlook.profiles.iter().map(|profile| yields.promise(profile)).collect();
        let novelty = |Timed { overlap, time, faults: [a, b, c] }: &Timed| {
            let third = if matches!(overlap, Overlap::Pair { .. }) { 1.0 } else { promises[*c] };
            let promise = promises[*a] * promises[*b] * third;
            time * promise / (1.0 + self.0.get(overlap).copied().unwrap_or_default())
        };
        outlook.overlaps.iter().map(novelty).sum()
    }

    /// Returns the number of different overlaps.
    #[cfg(test)]
    pub(super) fn kinds(&self) -> usize {
        self.0.len()
    }

    /// Notes that a run is proposed.
    pub(super) fn add(&mut self, outlook: &Outlook) {
        for Timed { overlap, time, .. } in &outlook.overlaps {
            *self.0.entry(*overlap).or_default() += time;
        }
    }
}

#[cfg(test)]
mod tests {
    use kernel::entropy::branch::Branch;

    use super::*;

    fn scenario(faults: &str) -> Scenario {
        let text =
            format!("name = \"x\"\nduration = \"9s\"\nload = {{ rate = 1 }}\nservers = {{ replicas = 3 }}\n{faults}");
        Scenario::parse("x.toml", &text, &[]).unwrap_or_else(|error| panic!("{error}"))
    }

    fn fault(kind: &str, at_ms: u64, lasts_ms: u64, target: usize) -> String {
        let lasts = if kind == "crash" { "restart_after" } else { "duration" };
        format!(
            "[[fault]]\nkind = \"{kind}\"\nat = \"{at_ms}ms\"\n{lasts} = \"{lasts_ms}ms\"\ntarget = \"server-{target}\"\n"
        )
    }

    fn overlaps(faults: &str) -> Vec<Timed> {
        Outlook::new(&scenario(faults), &Recipe::default()).overlaps
    }

    #[test]
    fn faults_overlap_in_pairs_and_triples_until_their_aftermath_is_over() {
        let last = 2_000 + AFTERMATH.as_millis() as u64;
        let faults =
            [fault("crash", 1_000, 1_000, 0), fault("freeze", 1_100, 300, 1), fault("crash", last, 100, 0)].concat();
        let overlaps = overlaps(&faults);
        let pair = |kinds, same_server, start| Overlap::Pair { kinds, same_server, start };
        let kinds: Vec<_> = overlaps.iter().map(|timed| timed.overlap).collect();
        assert_eq!(kinds, [pair(["crash", "freeze"], false, Start::Soon), pair(["crash", "crash"], true, Start::Late)]);
        let times: Vec<_> = overlaps.iter().map(|timed| timed.time).collect();
        assert_eq!(times, [2.0, 0.01 / 0.3], "to the end of the freeze and 300 ms more; not less than 10 ms");
        let faults = [fault("crash", 1_000, 500, 0), fault("freeze", 1_010, 500, 1), fault("crash", 1_100, 500, 1)];
        let overlaps = self::overlaps(&faults.concat());
        let triple = Overlap::Triple { kinds: ["crash", "freeze", "crash"], same_server: [false, false, true] };
        let found = overlaps.iter().find(|timed| timed.overlap == triple).expect("all three overlap");
        assert_eq!((overlaps.len(), found.faults), (4, [0, 1, 2]));
        let time = 700.0 / 300.0;
        assert!((found.time - time).abs() < 1e-9, "{} is not {time}", found.time);
    }

    #[test]
    fn what_was_there_before_a_branch_is_nothing_new_and_what_was_proposed_less() {
        let faults =
            [fault("crash", 1_000, 3_000, 0), fault("freeze", 1_100, 3_000, 1), fault("freeze", 2_000, 500, 2)];
        let scenario = scenario(&faults.concat());
        let behind = |ms| Recipe { seed: 1, branches: vec![Branch { at: Duration::from_millis(ms), salt: 1 }] };
        let outlook = |ms| Outlook::new(&scenario, &behind(ms));
        assert_eq!([500, 1_500, 2_500].map(|ms| outlook(ms).overlaps.len()), [4, 3, 0]);
        let mut overlaps = Overlaps::default();
        let mut yields = Yields::default();
        let first = outlook(500);
        let time = |timed: &Timed| timed.time;
        let all: f64 = first.overlaps.iter().map(time).sum();
        assert_eq!(overlaps.novelty(&first, &yields), all);
        overlaps.add(&first);
        let less: f64 = first.overlaps.iter().map(|timed| timed.time / (1.0 + timed.time)).sum();
        assert_eq!(overlaps.novelty(&first, &yields), less);
        (0..9).for_each(|_| yields.learn(&[], 100));
        yields.learn(&first.profiles[..1], 200);
        let more = overlaps.novelty(&first, &yields);
        assert!(more > 1.2 * less, "crashes promise more: {more} and {less}");
    }
}
