//! Runs a plan: the client and the servers of `kernel` on simulated hosts.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
};

use futures_util::future::{Either, select};
use kernel::{
    client::Client,
    entropy::Entropy,
    load::LoadGenerator,
    nemesis::Nemesis,
    scenario::Scenario,
    server::{self, ReplicaSettings},
    workload::{Inputs, Oracle},
};

use crate::{
    completed_run::CompletedRun,
    error::SimulationError,
    host::Ended,
    limits::Limits,
    plan::Plan,
    replica::Software,
    simulation::{Hosts, Simulation},
    thread::on_own_thread,
    trace::{Listener, Listening},
};

/// Runs `plan` to its end, on a thread of its own. `progress` is kept at the virtual time, in nanoseconds.
///
/// # Errors
///
/// Returns an error if the workload's pictures cannot be read, the calibration does not have the workload, or the run does
/// not come to its end; see [`SimulationError`].
///
/// ```
/// use std::sync::atomic::AtomicU64;
/// use kernel::scenario::Scenario;
/// use sim::{Plan, calibration::Calibration};
///
/// let text = "name = \"short\"\nduration = \"1s\"\nload = { rate = 5 }\nworkload = { sizes = [\"8x8\"] }\n";
/// let scenario = Scenario::parse("short.toml", text, &[])?;
/// let plan = Plan { scenario, seed: 7, calibration: Calibration::default() };
/// let run = sim::run(&plan, &AtomicU64::new(0))?;
/// assert_eq!(run.records.requests.len(), 5);
/// assert_eq!(run, sim::run(&plan, &AtomicU64::new(0))?, "equal plans give equal runs");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run(plan: &Plan, progress: &AtomicU64) -> Result<CompletedRun, SimulationError> {
    on_own_thread(plan.seed, || simulate(plan, Limits::for_scenario(&plan.scenario), progress))
}

/// Runs `plan` as [`run`] does, and calls `listener` for everything that happens.
///
/// # Errors
///
/// Returns the errors of [`run`].
///
/// ```
/// use std::sync::{Arc, atomic::{AtomicU64, Ordering}};
/// use kernel::scenario::Scenario;
/// use sim::{Plan, calibration::Calibration};
///
/// let text = "name = \"short\"\nduration = \"1s\"\nload = { rate = 5 }\nworkload = { sizes = [\"8x8\"] }\n";
/// let scenario = Scenario::parse("short.toml", text, &[])?;
/// let plan = Plan { scenario, seed: 7, calibration: Calibration::default() };
/// let entries = Arc::new(AtomicU64::new(0));
/// let counted = entries.clone();
/// let listener = Box::new(move |_| {
///     counted.fetch_add(1, Ordering::Relaxed);
/// });
/// sim::run_with_listener(&plan, &AtomicU64::new(0), listener)?;
/// assert!(entries.load(Ordering::Relaxed) > 100, "every turn, timer and segment");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run_with_listener(
    plan: &Plan,
    progress: &AtomicU64,
    listener: Listener,
) -> Result<CompletedRun, SimulationError> {
    on_own_thread(plan.seed, || {
        let _listening = Listening::begin(listener);
        simulate(plan, Limits::for_scenario(&plan.scenario), progress)
    })
}

/// Builds the simulation of `plan` and drives it, on the present thread.
fn simulate(plan: &Plan, limits: Limits, progress: &AtomicU64) -> Result<CompletedRun, SimulationError> {
    let scenario = plan.scenario.explicit(plan.seed);
    let inputs = inputs(plan)?;
    let server = server_software(ReplicaSettings::new(&scenario.servers, &scenario.workload));
    let replicas = scenario.servers.replicas;
    Simulation::new(replicas, plan.seed, &plan.calibration, &server, |hosts| run_client(hosts, scenario, inputs))
        .within(limits)
        .run(progress)
}

/// Returns the inputs that the requests of `plan` are drawn from.
fn inputs(plan: &Plan) -> Result<Inputs, SimulationError> {
    let workload = &plan.scenario.workload;
    if !plan.calibration.knows(workload.name()) {
        let calibration = plan.calibration.name.clone();
        return Err(SimulationError::NotCalibrated { calibration, workload: workload.name() });
    }
    Ok(Inputs::for_workload(workload, Entropy::new(plan.seed))?)
}

/// Returns the software of every replica: a server with these settings, which runs until its process is killed.
fn server_software(settings: ReplicaSettings) -> Software {
    Arc::new(move |world, recorder, name, injector| {
        let name = name.to_owned();
        let settings = settings.clone();
        Box::pin(async move { server::serve(world, recorder, &name, settings, injector, pending()).await })
    })
}

/// Offers the load while the faults are applied. Ends with the load.
async fn run_client(hosts: Hosts, scenario: Scenario, inputs: Inputs) -> Ended {
    let Hosts { world, entropy, recorder, links, operations } = hosts;
    #[cfg(feature = "canaries")]
    world.spawn(Box::pin(crate::canary::depend(world.clone())));
    let nemesis = Nemesis::new(world.clone(), &recorder, operations, &scenario);
    let client = Client::start(world.clone(), entropy, recorder.clone(), scenario.client, &links);
    let load = LoadGenerator {
        world,
        entropy,
        recorder,
        client,
        inputs,
        oracle: Arc::new(Oracle::learning()),
        settings: scenario.load,
        duration: scenario.duration,
    };
    let faults = async {
        match nemesis.play(&scenario.faults).await {
            // The run goes on after its last fault.
            Ok(()) => pending().await,
            Err(failed) => failed,
        }
    };
    // `select` polls the faults first: they shape the links before anything is sent over them.
    match select(pin!(faults), pin!(load.run())).await {
        Either::Left((failed, _)) => Err(failed.into()),
        Either::Right(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kernel::time::Instant;

    use super::*;
    use crate::calibration::Calibration;

    /// Runs a scenario that exceeds one of `limits`, and returns the error's message.
    fn stopped(limits: Limits) -> String {
        let text = "name = \"story\"\nduration = \"5s\"\n[workload]\nsizes = [\"8x8\"]\n[load]\nrate = 10\n";
        let scenario = Scenario::parse("story.toml", text, &[]).unwrap();
        let plan = Plan { scenario, seed: 7, calibration: Calibration::default() };
        on_own_thread(plan.seed, || simulate(&plan, limits, &AtomicU64::new(0))).unwrap_err().to_string()
    }

    #[test]
    fn a_run_that_hits_a_limit_says_which_and_with_what_seed() {
        let events = stopped(Limits { events: 40, ..Limits::default() });
        assert!(events.starts_with("the run with seed 7 was stopped at "), "{events}");
        assert!(events.ends_with("the limit of 40 recorded events; lower load.rate or duration"), "{events}");
        let until = Instant::START + Duration::from_secs(2);
        let time = stopped(Limits { until, ..Limits::default() });
        assert!(time.contains("the limit of 2.000000 s of virtual time"), "{time}");
        let steps = stopped(Limits { idle_steps: 0, ..Limits::default() });
        assert!(steps.contains("the limit of 0 steps at one instant"), "{steps}");
    }

    /// A panic must not end the process, which may run other simulations.
    #[test]
    fn a_panic_ends_its_simulation() {
        let scenario =
            Scenario::parse("story.toml", "name = \"story\"\nduration = \"5s\"\n[load]\nrate = 10\n", &[]).unwrap();
        let server = server_software(ReplicaSettings::new(&scenario.servers, &scenario.workload));
        let failed = on_own_thread(7, || {
            Simulation::new(2, 7, &Calibration::default(), &server, panicking_client).run(&AtomicU64::new(0))
        });
        assert_eq!(
            failed.unwrap_err().to_string(),
            "the simulation failed: it panicked, which is a bug of this program"
        );
    }

    async fn panicking_client(hosts: Hosts) -> Ended {
        hosts.world.sleep_until(Instant::START + Duration::from_secs(1)).await;
        hosts.world.spawn(Box::pin(async { panic!("planted") }));
        pending().await
    }
}
