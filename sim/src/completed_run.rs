//! The result of a simulation.

use std::time::Duration;

use kernel::{
    invariant::{self, Evidence, Violation},
    measure::{RunLabel, RunRows, Script, Summary},
    record::Records,
    time::Instant,
};

use crate::{SimulationError, limits::Limit, plan::Plan};

/// A run as far as it came: to its end, or to a limit.
#[derive(Debug, Clone, PartialEq)]
pub struct RunSoFar {
    /// The records. Calls that were under way when the run was stopped have no row of a request.
    pub run: CompletedRun,
    /// Where and why the run was stopped before its end; none if it was not.
    pub stopped: Option<Stopped>,
}

impl RunSoFar {
    /// Computes the metrics of this run of `plan` as far as it came, and compares them with what the scenario expects. A run that
    /// was stopped does not pass.
    pub fn summary(&self, plan: &Plan) -> Summary {
        let Some(stopped) = self.stopped else { return self.run.summary(plan) };
        self.run.summary_of(plan, self.offered(plan.scenario.duration), Some(&stopped.to_string()))
    }

    /// Returns for how long load was offered in a scenario of this `duration`: to its end, or until the run was stopped.
    pub(crate) fn offered(&self, duration: Duration) -> Duration {
        self.stopped.map_or(duration, |stopped| duration.min(stopped.at.since(Instant::START)))
    }

    /// Returns the run, or the error of one that was stopped.
    ///
    /// # Errors
    ///
    /// Returns the error of the limit that the run has hit.
    pub(crate) fn completed(self) -> Result<CompletedRun, SimulationError> {
        self.stopped.map_or(Ok(self.run), |stopped| Err(stopped.into()))
    }
}

/// The end of a run before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the run with seed {seed} was stopped at {at}: {limit}")]
pub struct Stopped {
    /// Seed of the run.
    pub seed: u64,
    /// Virtual time at which it was stopped.
    pub at: Instant,
    /// The bound that it hit, or that it was interrupted.
    pub limit: Limit,
}

/// A run that came to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct CompletedRun {
    /// All requests, attempts and events.
    pub records: Records,
    /// Steps that the driver took. It takes none for an instant at which it gives turns to processes with a runtime of their own only.
    pub steps: u64,
    /// Instants to which the driver moved the clock between two steps. Hosts also move it by themselves, within their
    /// turns, which is not counted.
    pub instants: u64,
}

impl CompletedRun {
    /// Returns the invariants that this run of `plan` violates.
    ///
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use kernel::scenario::Scenario;
    /// use sim::Plan;
    ///
    /// let text = "name = \"short\"\nduration = \"1s\"\nload = { rate = 5 }\nworkload = { sizes = [\"8x8\"] }\n";
    /// let scenario = Scenario::parse("short.toml", text, &[])?;
    /// let plan = Plan::new(scenario, 7);
    /// let run = sim::run(&plan, &AtomicU64::new(0))?;
    /// assert_eq!(run.violations(&plan), []);
    ///
    /// let mut altered = run.clone();
    /// altered.records.requests.pop();
    /// assert!(!altered.violations(&plan).is_empty(), "a request without an outcome");
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn violations(&self, plan: &Plan) -> Vec<Violation> {
        let Plan { seed, calibration, .. } = plan;
        let scenario = &plan.explicit();
        invariant::check(&Evidence {
            scenario,
            seed: *seed,
            branches: &plan.branches,
            duration: scenario.duration,
            late: calibration.timers_late_max(),
            rows: &self.records,
        })
    }

    /// Computes the metrics of this run of `plan`, and compares them with what the scenario expects.
    ///
    /// ```
    /// use std::sync::atomic::AtomicU64;
    /// use kernel::scenario::Scenario;
    /// use sim::Plan;
    ///
    /// let text = "name = \"short\"\nduration = \"1s\"\nload = { rate = 5 }\nexpect = [{ metric = \"latency_max\", max = \"1s\" }]\nworkload = { sizes = [\"8x8\"] }\n";
    /// let scenario = Scenario::parse("short.toml", text, &[])?;
    /// let plan = Plan::new(scenario, 7);
    /// let summary = sim::run(&plan, &AtomicU64::new(0))?.summary(&plan);
    /// assert!(summary.pass);
    /// assert_eq!(summary.overall.success_rate, Some(1.0));
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    pub fn summary(&self, plan: &Plan) -> Summary {
        self.summary_of(plan, plan.scenario.duration, None)
    }

    /// Does the same for a run in which load was offered for `offered`, and which was `stopped` for this reason.
    fn summary_of(&self, plan: &Plan, offered: Duration, stopped: Option<&str>) -> Summary {
        let scenario = &plan.explicit();
        let names = scenario.entry_names();
        let run = RunRows::on_servers(&names, offered, &self.records);
        let label = RunLabel {
            scenario: &scenario.name,
            seed: plan.seed,
            world: "sim",
            profile: Some(scenario.client.profile),
        };
        Summary::compute(label, &run, &Script { stopped, ..scenario.script() })
    }
}
