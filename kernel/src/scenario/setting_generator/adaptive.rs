//! Random settings of what adapts, in addition to the others.

use super::{Draw, Scenario, sample_sets, sets, table_at};
use crate::{entropy::Entropy, policy::LimitAlgorithm};

/// Sets tables and keys that adapt, drawn from `seed`, in `drawn`, which [`settings`](super::settings) has drawn for `scenario`. None of them
/// contradicts the others.
///
/// They are drawn from a stream of their own, so that a seed draws the same of the others with and without them.
///
/// ```
/// use kernel::scenario::{Scenario, setting_generator};
///
/// let file = "../scenarios/baseline.toml";
/// let scenario = Scenario::load(file.as_ref(), &[])?;
/// let settings = setting_generator::settings(&scenario, 7);
/// Scenario::load(file.as_ref(), &setting_generator::with_adaptive(&scenario, settings, 7))?;
/// # Ok::<(), kernel::scenario::ScenarioError>(())
/// ```
pub fn with_adaptive(scenario: &Scenario, drawn: Vec<String>, seed: u64) -> Vec<String> {
    // The odds of a table are better than those of the others: there are few of them.
    let mut draw = Draw { rng: Entropy::new(seed).stream("scenario.swarm.adaptive"), odds: 0.5, settings: drawn };
    // Of the limits on attempts there may be one.
    match draw.any(&["none", "throttling", "gradient2", "aimd"]) {
        "throttling" => draw.whole("client.adaptive_throttling", 0, ""),
        "gradient2" => draw.whole("client.adaptive_concurrency", 0, ""),
        "aimd" => {
            let algorithm = format!("algorithm = \"{}\"", LimitAlgorithm::Aimd.name());
            draw.whole("client.adaptive_concurrency", 1, &algorithm);
        }
        _ => {}
    }
    // Bounds that leave room below any fixed time.
    if draw.is_on() {
        draw.whole("client.adaptive_timeout", 0, "min = \"1ns\"");
    }
    if draw.has("client.hedging={") && draw.is_on() {
        draw.whole("client.adaptive_hedging", 0, "min = \"0ms\"");
    }
    let is_by_calls = draw
        .settings
        .iter()
        .any(|set| sets(set, "client.retry_budget") && (set.contains("ttl = ") || set.contains("min_per_second = ")));
    if is_by_calls && draw.is_on() {
        draw.set("client.retry_budget.deposit", "success");
    }
    if draw.is_on() {
        let admission = &scenario.servers.admission;
        let has_limit = draw.has("max_queue_time") || admission.as_ref().is_some_and(|it| it.max_queue_time.is_some());
        // It is another limit on the time in the queue.
        draw.whole("servers.adaptive_queue", 0, if has_limit { "drop_late = false" } else { "" });
    }
    draw.settings
}

impl<R: rand::Rng> Draw<R> {
    fn has(&self, text: &str) -> bool {
        self.settings.iter().any(|setting| setting.contains(text))
    }

    /// Sets the table at `path` to `first` and a random half of its keys of this set.
    fn whole(&mut self, path: &str, set: usize, first: &str) {
        let keys = sample_sets(table_at(path), path).into_iter().nth(set).unwrap_or_default();
        let table = self.table(&keys, first);
        self.replace(path, &table);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::scenario::setting_generator::{settings, tests::scenarios};

    #[test]
    fn whatever_is_drawn_of_whatever_scenario_is_right_and_adds_to_what_was_drawn_without() {
        let mut on = BTreeSet::new();
        for (path, scenario) in scenarios() {
            for seed in 0..40 {
                let plain = settings(&scenario, seed);
                let mut drawn = with_adaptive(&scenario, plain.clone(), seed);
                assert_eq!(drawn, with_adaptive(&scenario, plain.clone(), seed));
                let others = |all: &[String]| {
                    let others = all.iter().filter(|set| !set.contains("adaptive_") && !set.contains(".deposit="));
                    others.cloned().collect::<Vec<_>>()
                };
                assert_eq!(others(&drawn), others(&plain));
                drawn.push("expect=[]".to_owned());
                let run = Scenario::load(&path, &drawn).unwrap_or_else(|wrong| panic!("{drawn:#?}\n{wrong}"));
                let policies = &run.client.policies;
                on.extend(policies.adaptive_throttling.iter().map(|_| "throttling"));
                on.extend(policies.adaptive_concurrency.iter().map(|limit| limit.algorithm.name()));
                on.extend(policies.adaptive_timeout.iter().map(|_| "timeout"));
                on.extend(policies.adaptive_hedging.iter().map(|_| "hedging"));
                on.extend(policies.retry_budget.iter().filter_map(|budget| budget.deposit).map(|_| "deposit"));
                on.extend(run.servers.adaptive_queue.iter().map(|_| "queue"));
            }
        }
        assert_eq!(
            on.into_iter().collect::<Vec<_>>(),
            ["aimd", "deposit", "gradient2", "hedging", "queue", "throttling", "timeout"]
        );
    }
}
