//! An isolation forest (Liu, Ting and Zhou, "Isolation Forest", ICDM 2008).

use rand::{Rng, seq::index::sample};

use super::{Detector, Step, Usual};
use crate::entropy::{Entropy, unit};

/// Number of trees, as in the paper.
const TREES: usize = 100;

/// Number of steps that a tree is made of, as in the paper.
const SAMPLE: usize = 256;

/// Number of features of a step.
const FEATURES: usize = 4;

/// Number of the newest usual steps from which trees are made.
const REMEMBERED: usize = 2_048;

/// Number of steps after which the forest is made again, at first; it doubles up to [`REMEMBERED`].
const FIRST_FOREST: usize = 30;

/// The score from which on a step is not remembered, as it may be part of an outage.
const UNUSUAL: f64 = 0.7;

/// The features of a step: calls compared with the usual number, the share of bad calls, the median and the 95th percentile.
type Features = [f64; FEATURES];

/// How easily a step is separated from others by random cuts: above 0.6 it is unusual, 1 is the most.
///
/// The forest is made of the newest usual steps, and made again from time to time. Its random cuts are of a fixed stream: the same results
/// give the same scores.
#[derive(Debug, Clone, Default)]
pub(super) struct IsolationForest {
    remembered: Vec<Features>,
    seen: usize,
    next_forest: usize,
    trees: Vec<Node>,
    smoothed: f64,
}

/// A part of a tree.
#[derive(Debug, Clone)]
enum Node {
    Cut { feature: usize, at: f64, below: Box<Node>, above: Box<Node> },
    Leaf { steps: usize },
}

impl Node {
    /// Makes a tree of `steps`, at most `depth` deep.
    fn grow(mut steps: Vec<Features>, depth: usize, rng: &mut impl Rng) -> Self {
        let varying: Vec<(usize, f64, f64)> = (0..FEATURES)
            .map(|feature| {
                let values = steps.iter().map(|step| step[feature]);
                (feature, values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max))
            })
            .filter(|(_, least, greatest)| least < greatest)
            .collect();
        if depth == 0 || varying.is_empty() {
            return Self::Leaf { steps: steps.len() };
        }
        let chosen = (unit(rng) * varying.len() as f64) as usize;
        let (feature, least, greatest) = varying[chosen];
        let at = least + (greatest - least) * unit(rng);
        let above = steps.extract_if(.., |step| step[feature] > at).collect();
        let below = Self::grow(steps, depth - 1, rng);
        let above = Self::grow(above, depth - 1, rng);
        Self::Cut { feature, at, below: below.into(), above: above.into() }
    }

    /// Returns the number of cuts until `step` is alone, with an estimate of those that were not made.
    fn path_length(&self, step: &Features) -> f64 {
        match self {
            Self::Leaf { steps } => mean_path(*steps),
            Self::Cut { feature, at, below, above } => {
                1.0 + if step[*feature] > *at { above } else { below }.path_length(step)
            }
        }
    }
}

/// Returns the mean number of cuts that separate one of `steps` from the others, as of a failed search in a binary tree.
fn mean_path(steps: usize) -> f64 {
    const EULER: f64 = 0.577_215_664_901_532_9;
    match steps {
        0 | 1 => 0.0,
        2 => 1.0,
        n => 2.0 * (((n - 1) as f64).ln() + EULER) - 2.0 * (n - 1) as f64 / n as f64,
    }
}

impl IsolationForest {
    fn features(step: &Step, usual: &Usual) -> Option<Features> {
        let calls = f64::from(step.calls);
        let log = |q| step.latencies.quantile_us(q).map(f64::ln);
        Some([
            calls / usual.calls().max(1.0),
            // A root spreads what is rare: one bad call differs from none as four do from one.
            (step.bad(usual.slow_us()) / calls.max(1.0)).sqrt(),
            log(0.5)?,
            log(0.95)?,
        ])
    }

    fn plant(&mut self) {
        let size = self.remembered.len().min(SAMPLE);
        let depth = (size as f64).log2().ceil() as usize;
        self.trees = (0..TREES)
            .map(|tree| {
                let mut rng = Entropy::new(0).stream_of("detect.forest", &[tree as u64, self.seen as u64]);
                let chosen = sample(&mut rng, self.remembered.len(), size);
                Node::grow(chosen.iter().map(|index| self.remembered[index]).collect(), depth, &mut rng)
            })
            .collect();
    }

    fn isolation(&self, step: &Features) -> f64 {
        let size = self.remembered.len().min(SAMPLE);
        let mean = self.trees.iter().map(|tree| tree.path_length(step)).sum::<f64>() / TREES as f64;
        (-mean / mean_path(size).max(1.0)).exp2()
    }

    fn remember(&mut self, step: Features) {
        let place = self.seen % REMEMBERED;
        self.seen += 1;
        if self.remembered.len() < REMEMBERED {
            self.remembered.push(step);
        } else {
            self.remembered[place] = step;
        }
        if self.seen >= self.next_forest.max(FIRST_FOREST) {
            self.plant();
            self.next_forest = self.seen + self.seen.clamp(FIRST_FOREST, REMEMBERED);
        }
    }
}

impl Detector for IsolationForest {
    fn score(&mut self, step: &Step, usual: &Usual) -> f64 {
        // A step in which no call succeeded has no latencies; with bad calls it is as unusual as can be.
        let Some(features) = Self::features(step, usual) else {
            let now = if step.calls > 0 { 1.0 } else { self.smoothed };
            self.smoothed = (self.smoothed + now) / 2.0;
            return self.smoothed;
        };
        let now = if self.trees.is_empty() { 0.0 } else { self.isolation(&features) };
        if now < UNUSUAL || self.trees.is_empty() {
            self.remember(features);
        }
        self.smoothed = (self.smoothed + now) / 2.0;
        self.smoothed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::detect::usual::tests::{calm, step};

    #[test]
    fn an_outage_is_isolated_sooner_than_what_was_seen() {
        let usual = calm(200);
        let mut forest = IsolationForest::default();
        let calm: Vec<f64> = (0..600_u32)
            .map(|i| forest.score(&step(90 + i * 7 % 21, u32::from(i % 5 == 0), u32::from(i % 3 == 0)), &usual))
            .collect();
        let usually = calm[300..].iter().copied().fold(0.0, f64::max);
        let outage = (0..6).map(|_| forest.score(&step(100, 60, 20), &usual)).fold(0.0, f64::max);
        assert!(outage > usually, "{outage} after {usually}");
    }

    #[test]
    fn the_same_results_give_the_same_scores() {
        let usual = calm(200);
        let scores = || {
            let mut forest = IsolationForest::default();
            (0..400_u32).map(|i| forest.score(&step(100 + i % 7, i % 3, i % 5), &usual)).collect::<Vec<_>>()
        };
        assert_eq!(scores(), scores());
    }

    #[test]
    fn an_outage_of_all_calls_has_a_high_score_although_it_has_no_latency() {
        let usual = calm(200);
        let mut forest = IsolationForest::default();
        (0..100_u32).for_each(|i| _ = forest.score(&step(100 + i % 7, 0, 0), &usual));
        let score = (0..6).map(|_| forest.score(&step(100, 100, 0), &usual)).fold(0.0, f64::max);
        assert!(score > 0.95, "{score}");
    }
}
