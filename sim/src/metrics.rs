//! The metrics of a simulated run over its virtual time.

use std::{sync::atomic::AtomicU64, time::Duration};

use kernel::{
    export::{Observer, Timeline},
    record::ServerMoment,
};

use crate::{RunSoFar, SimulationError, plan::Plan, run::run_and_measure};

/// A run, with what its metrics need beside its records.
#[derive(Debug)]
pub struct MeasuredRun {
    /// The run.
    pub run: RunSoFar,
    moments: Vec<ServerMoment>,
}

/// Runs `plan` as [`run_so_far`](crate::run_so_far) does, and measures the calls at its servers, too. The records are the same.
///
/// # Errors
///
/// Returns the errors of [`run_so_far`](crate::run_so_far).
///
/// ```
/// use std::{sync::atomic::AtomicU64, time::Duration};
/// use kernel::{export::{Family, Value}, scenario::Scenario};
/// use sim::Plan;
///
/// let text = "name = \"short\"\nduration = \"2s\"\nload = { rate = 5 }\nworkload = { sizes = [\"8x8\"] }\n";
/// let scenario = Scenario::parse("short.toml", text, &[])?;
/// let plan = Plan::new(scenario, 7);
/// let measured = sim::run_measured(&plan, Duration::from_secs(60), &AtomicU64::new(0))?;
/// let timeline = measured.timeline(&plan, Duration::from_secs(1));
/// assert_eq!(timeline.value(Family::Requests, &["OK"], 0), Some(&Value::Count(0)));
/// assert_eq!(timeline.value(Family::Requests, &["OK"], 2), Some(&Value::Count(10)));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run_measured(plan: &Plan, real_time: Duration, progress: &AtomicU64) -> Result<MeasuredRun, SimulationError> {
    let (run, moments) = run_and_measure(plan, real_time, progress)?;
    Ok(MeasuredRun { run, moments })
}

impl MeasuredRun {
    /// Returns the metrics of this run of `plan` every `interval` of virtual time, from its start to its end.
    pub fn timeline(&self, plan: &Plan, interval: Duration) -> Timeline {
        let scenario = plan.explicit();
        let observer = Observer::of_run(&scenario, plan.seed, "sim");
        let end = self.run.offered(scenario.duration);
        Timeline::of_run(observer, &self.run.run.records, &self.moments, (interval, end))
    }
}
