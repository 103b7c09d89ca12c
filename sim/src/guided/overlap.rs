//! Which faults of a run overlap, which is known before it is played.

use std::{collections::BTreeMap, time::Duration};

use kernel::scenario::{Fault, Scenario};

use super::Recipe;

/// How long what a fault has done may last after its end: a server that comes back, a connection that is made again.
const AFTERMATH: Duration = Duration::from_millis(300);

/// Two or three faults that overlap, in the order of their starts.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
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
}

impl Span {
    fn all(fault: &Fault, run: Duration) -> impl Iterator<Item = Self> + '_ {
        // A fault without an end lasts to that of the run.
        let lasts = if fault.kind.is_over_at_once() { Some(Duration::ZERO) } else { fault.kind.lasts() };
        let end = fault.at + lasts.unwrap_or(run);
        fault.targets.iter().map(move |&server| Self { kind: fault.kind.name(), server, start: fault.at, end })
    }

    /// Returns whether this one, which begins later, overlaps `other`.
    fn overlaps(&self, other: &Self) -> bool {
        self.start <= other.end + AFTERMATH
    }
}

/// How many of the proposed runs had each overlap.
#[derive(Debug, Default)]
pub(super) struct Overlaps(BTreeMap<Overlap, u32>);

/// The overlaps of a run that could be proposed.
#[derive(Debug)]
pub(super) struct Outlook(Vec<Overlap>);

impl Outlook {
    /// Returns the overlaps of a run of `scenario`, each time that it has them; behind a branch those alone in which a fault begins behind the
    /// last one.
    pub(super) fn new(scenario: &Scenario, recipe: &Recipe) -> Self {
        let run = scenario.explicit_with(recipe.seed, &recipe.branches);
        let mut spans: Vec<Span> = run.faults.iter().flat_map(|fault| Span::all(fault, run.duration)).collect();
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
                    overlaps.push(Overlap::Pair { kinds: [a.kind, b.kind], same_server, start });
                }
                for c in others[place + 1..].iter().filter(|c| is_new(c) && c.overlaps(b)) {
                    let same_server = [same_server, a.server == c.server, b.server == c.server];
                    overlaps.push(Overlap::Triple { kinds: [a.kind, b.kind, c.kind], same_server });
                }
            }
        }
        Self(overlaps)
    }
}

impl Overlaps {
    /// Returns how much may be new in a run: the sum over its overlaps of one by the number of proposed runs that had it, this one included.
    pub(super) fn novelty(&self, outlook: &Outlook) -> f64 {
        outlook.0.iter().map(|overlap| 1.0 / f64::from(1 + self.0.get(overlap).copied().unwrap_or_default())).sum()
    }

    /// Returns the number of different overlaps.
    #[cfg(test)]
    pub(super) fn kinds(&self) -> usize {
        self.0.len()
    }

    /// Notes that a run is proposed.
    pub(super) fn add(&mut self, outlook: Outlook) {
        for overlap in outlook.0 {
            let runs = self.0.entry(overlap).or_default();
            *runs = runs.saturating_add(1);
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

    #[test]
    fn faults_overlap_in_pairs_and_triples_until_their_aftermath_is_over() {
        let last = 2_000 + AFTERMATH.as_millis() as u64;
        let faults =
            [fault("crash", 1_000, 1_000, 0), fault("freeze", 1_100, 300, 1), fault("crash", last, 100, 0)].concat();
        let Outlook(overlaps) = Outlook::new(&scenario(&faults), &Recipe::default());
        let pair = |kinds, same_server, start| Overlap::Pair { kinds, same_server, start };
        assert_eq!(
            overlaps,
            [pair(["crash", "freeze"], false, Start::Soon), pair(["crash", "crash"], true, Start::Late)]
        );
        let faults = [fault("crash", 1_000, 500, 0), fault("freeze", 1_010, 500, 1), fault("crash", 1_100, 500, 1)];
        let Outlook(overlaps) = Outlook::new(&scenario(&faults.concat()), &Recipe::default());
        let triple = Overlap::Triple { kinds: ["crash", "freeze", "crash"], same_server: [false, false, true] };
        assert!(overlaps.len() == 4 && overlaps.contains(&triple), "{overlaps:?}");
    }

    #[test]
    fn what_was_there_before_a_branch_is_nothing_new_and_what_was_proposed_less() {
        let faults =
            [fault("crash", 1_000, 3_000, 0), fault("freeze", 1_100, 3_000, 1), fault("freeze", 2_000, 500, 2)];
        let scenario = scenario(&faults.concat());
        let behind = |ms| Recipe { seed: 1, branches: vec![Branch { at: Duration::from_millis(ms), salt: 1 }] };
        let count = |ms| Outlook::new(&scenario, &behind(ms)).0.len();
        assert_eq!([500, 1_500, 2_500].map(count), [4, 3, 0]);
        let mut overlaps = Overlaps::default();
        let outlook = || Outlook::new(&scenario, &behind(500));
        assert_eq!(overlaps.novelty(&outlook()), 4.0);
        overlaps.add(outlook());
        assert_eq!(overlaps.novelty(&outlook()), 2.0);
    }
}
