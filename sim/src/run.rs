//! Runs a plan: the client and the servers of `kernel` on simulated hosts.

use std::{
    future::pending,
    pin::pin,
    sync::{Arc, atomic::AtomicU64},
    time::Duration,
};

use futures_util::future::{Either, select};
use kernel::{
    app::{App, Callee, Process},
    change::start_changes,
    client::Client,
    entropy::Entropy,
    load::{LoadGenerator, Requests},
    nemesis::Nemesis,
    record::ServerMoment,
    scenario::{Caller, Scenario, Workload},
    server::{self, ReplicaSettings},
    store::StoreAccess,
    workload::{self, Inputs, Oracle, Results, WorkloadRequests},
    world::BoxFuture,
};

use crate::{
    completed_run::{CompletedRun, RunSoFar},
    error::SimulationError,
    limits::Limits,
    machine::Ended,
    moments::Moments,
    plan::Plan,
    process::RuntimeKind,
    replica::{ReplicaProcess, Software},
    simulation::{Bounds, Hosts, Simulation},
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
/// use sim::Plan;
///
/// let text = "name = \"short\"\nduration = \"1s\"\nload = { rate = 5 }\nworkload = { sizes = [\"8x8\"] }\n";
/// let scenario = Scenario::parse("short.toml", text, &[])?;
/// let plan = Plan::new(scenario, 7);
/// let run = sim::run(&plan, &AtomicU64::new(0))?;
/// assert_eq!(run.records.requests.len(), 5);
/// assert_eq!(run, sim::run(&plan, &AtomicU64::new(0))?, "equal plans give equal runs");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run(plan: &Plan, progress: &AtomicU64) -> Result<CompletedRun, SimulationError> {
    run_within(plan, Limits::for_scenario(&plan.scenario), progress).and_then(RunSoFar::completed)
}

/// Runs `plan` as [`run`] does, for `real_time` at most, and returns what was recorded even if the run hits a limit.
///
/// # Errors
///
/// Returns the errors of [`run`] but that of a limit.
///
/// ```
/// use std::{sync::atomic::AtomicU64, time::Duration};
/// use kernel::scenario::Scenario;
/// use sim::Plan;
///
/// let text = "name = \"short\"\nduration = \"1s\"\nload = { rate = 5 }\nworkload = { sizes = [\"8x8\"] }\n";
/// let scenario = Scenario::parse("short.toml", text, &[])?;
/// let plan = Plan::new(scenario, 7);
/// let run = sim::run_so_far(&plan, Duration::from_secs(60), &AtomicU64::new(0))?;
/// assert!(run.stopped.is_none() && run.run.records.requests.len() == 5);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn run_so_far(plan: &Plan, real_time: Duration, progress: &AtomicU64) -> Result<RunSoFar, SimulationError> {
    run_within(plan, Limits { real_time, ..Limits::for_scenario(&plan.scenario) }, progress)
}

fn run_within(plan: &Plan, limits: Limits, progress: &AtomicU64) -> Result<RunSoFar, SimulationError> {
    let bounds = Bounds { limits, ..Bounds::default() };
    on_own_thread(plan.draws(), (limits.real_time, &bounds.watch), || simulate(plan, bounds.clone(), progress))
}

/// Runs `plan` as [`run_so_far`] does, and returns the moments of the calls at its servers, too.
pub(crate) fn run_and_measure(
    plan: &Plan,
    real_time: Duration,
    progress: &AtomicU64,
) -> Result<(RunSoFar, Vec<ServerMoment>), SimulationError> {
    let limits = Limits { real_time, ..Limits::for_scenario(&plan.scenario) };
    let bounds = Bounds { limits, ..Bounds::default() };
    on_own_thread(plan.draws(), (limits.real_time, &bounds.watch), || {
        let moments = Moments::begin();
        let run = simulate(plan, bounds.clone(), progress)?;
        Ok((run, moments.end()))
    })
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
/// use sim::Plan;
///
/// let text = "name = \"short\"\nduration = \"1s\"\nload = { rate = 5 }\nworkload = { sizes = [\"8x8\"] }\n";
/// let scenario = Scenario::parse("short.toml", text, &[])?;
/// let plan = Plan::new(scenario, 7);
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
    let bounds = Bounds { limits: Limits::for_scenario(&plan.scenario), ..Bounds::default() };
    on_own_thread(plan.draws(), (bounds.limits.real_time, &bounds.watch), || {
        let _listening = Listening::begin(listener);
        simulate(plan, bounds.clone(), progress)
    })
    .and_then(RunSoFar::completed)
}

/// Builds the simulation of `plan` and drives it, on the present thread.
fn simulate(plan: &Plan, bounds: Bounds, progress: &AtomicU64) -> Result<RunSoFar, SimulationError> {
    let scenario = plan.explicit();
    let store = scenario.client.policies.cache.as_ref().filter(|cache| cache.store.is_some()).map(|cache| cache.size);
    let bounds = Bounds { tls: scenario.tls.map(|tls| tls.mode), store, ..bounds };
    let names = scenario.names();
    let calibration = plan.calibration.of_workload(scenario.workload.name());
    let Some(app) = App::for_scenario(plan.app.as_ref(), &scenario)? else {
        let inputs = inputs(plan)?;
        let settings = ReplicaSettings::new(&scenario.servers, &scenario.workload);
        let server = server_software(settings.with_kinds(&scenario.load.request));
        let simulation = Simulation::new(&names, plan.seed, &calibration, &server, bounds, |hosts| {
            run_client(hosts, scenario, Asked::Workload(inputs))
        });
        return simulation.run(progress);
    };
    let calibration = match &scenario.workload {
        Workload::App(times) => &calibration.with_other_unit_time(times.compute_time),
        _ => &calibration,
    };
    let server = app_software(app.clone(), scenario.clone(), plan.seed);
    let simulation = Simulation::new(&names, plan.seed, calibration, &server, bounds, |hosts| {
        run_client(hosts, scenario, Asked::App(app.clone()))
    });
    simulation.run(progress)
}

/// The requests of a run.
enum Asked {
    /// The results of a workload, for these inputs.
    Workload(Inputs),
    /// The requests of the load of an app.
    App(App),
}

impl Asked {
    /// Returns whose runtime runs the client and its load.
    fn runtime(&self) -> RuntimeKind {
        match self {
            Self::Workload(_) => RuntimeKind::Shared,
            Self::App(app) => RuntimeKind::for_app(app),
        }
    }
}

/// Returns the inputs that the requests of `plan` are drawn from.
fn inputs(plan: &Plan) -> Result<Inputs, SimulationError> {
    let Scenario { workload, load, .. } = &plan.scenario;
    if !plan.calibration.knows(workload.name()) {
        let calibration = plan.calibration.name.clone();
        return Err(SimulationError::NotCalibrated { calibration, workload: workload.name() });
    }
    Ok(Inputs::for_kinds(workload, &load.request, Entropy::new(plan.seed))?)
}

/// Returns the software of every replica: a server with these settings, which runs until its process is killed or asked to end.
fn server_software(settings: ReplicaSettings) -> Software {
    let results = Arc::<Results>::default();
    Software::new(move |ReplicaProcess { world, recorder, name, injector, .. }| {
        let settings = settings.clone();
        let services = workload::services(&settings, Some(results.clone()));
        Box::pin(async move {
            let draining = injector.clone();
            let stop = async move { draining.until_drain().await };
            server::serve_services(world, recorder, &name, settings, services, injector, stop).await
        })
    })
}

/// Returns the software of every replica: a process of its service of `app`.
fn app_software(app: App, scenario: Scenario, seed: u64) -> Software {
    let runtime = RuntimeKind::for_app(&app);
    let entropy = Entropy::new(seed);
    Software::new(move |ReplicaProcess { world, recorder, index, name, injector, shared }| {
        let service = scenario.service_of(index);
        let callees = service.map_or_else(Vec::new, |service| {
            let links = &shared.service_links;
            let link = |link: &_, to| links.add(Caller::Service(service), index, to, link);
            Callee::of_process(&scenario, service, &name, (&world, entropy), link)
        });
        let settings = ReplicaSettings::new(scenario.servers_of(index), &scenario.workload);
        let settings = settings.with_kinds(&scenario.load.request);
        let service = service.map(|service| scenario.services[service].name.clone());
        let app = app.clone();
        let draining = injector.clone();
        let process = Process { world, recorder, name, settings, injector, callees };
        Box::pin(async move {
            let stop = async move { draining.until_drain().await };
            app.serve(process, service.as_deref(), stop).await
        })
    })
    .in_runtime(runtime)
}

/// Offers the load while the faults are applied. Ends with the load.
async fn run_client(hosts: Hosts, scenario: Scenario, asked: Asked) -> Ended {
    // The nemesis is no part of the client's process.
    let world = hosts.world.clone();
    #[cfg(feature = "canaries")]
    world.spawn(Box::pin(crate::canary::depend(world.clone())));
    let faults = scenario.faults.clone();
    let (nemesis, load): (_, BoxFuture<'static, Ended>) = match asked.runtime() {
        RuntimeKind::Shared => {
            let nemesis = Nemesis::new(world, &hosts.recorder, hosts.operations.clone(), &scenario);
            let load = start_client(&hosts, &scenario, asked);
            (nemesis, Box::pin(async { Ok(load.run().await?) }))
        }
        RuntimeKind::Own => {
            let hosts = Arc::new(hosts.in_own_process());
            let nemesis = Nemesis::new(world, &hosts.recorder, hosts.operations.clone(), &scenario);
            let inner = hosts.clone();
            let software = async move { start_client(&inner, &scenario, asked).run().await };
            let running = async move {
                match hosts.run(software).await {
                    Some(ended) => ended.map_err(Into::into),
                    // The driver ends the simulation, which has failed.
                    None => pending().await,
                }
            };
            (nemesis, Box::pin(running))
        }
    };
    let faults = async {
        match nemesis.play(&faults).await {
            // The run goes on after its last fault.
            Ok(()) => pending().await,
            Err(failed) => failed,
        }
    };
    // `select` polls the faults first: they shape the links before anything is sent over them.
    match select(pin!(faults), load).await {
        Either::Left((failed, _)) => Err(failed.into()),
        Either::Right((ended, _)) => ended,
    }
}

/// Starts the client, and returns the load that calls through it.
fn start_client(hosts: &Hosts, scenario: &Scenario, asked: Asked) -> LoadGenerator {
    let Hosts { world, entropy, recorder, links, store, .. } = hosts;
    let settings = match asked {
        Asked::Workload(_) => scenario.client.clone(),
        Asked::App(_) => App::client_settings(scenario.client.clone()),
    };
    let store = store.clone().map(|link| StoreAccess { link, prefix: "rehearsal:".to_owned(), login: None });
    let client =
        Client::start_with_store(world.clone(), *entropy, recorder.clone(), settings, (links.as_slice(), store));
    start_changes(world, recorder, &client, scenario);
    let requests: Arc<dyn Requests> = match asked {
        Asked::Workload(inputs) => Arc::new(WorkloadRequests::new(inputs, *entropy, Oracle::learning())),
        Asked::App(app) => app.requests(world.clone(), recorder.clone(), *entropy, scenario, links),
    };
    LoadGenerator {
        world: world.clone(),
        entropy: *entropy,
        recorder: recorder.clone(),
        client,
        requests,
        settings: scenario.offered_load(),
        duration: scenario.duration,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kernel::{record::Event, scenario::ServerNames, time::Instant};

    use super::*;
    use crate::calibration::Calibration;

    fn run_of_50(limits: Limits) -> RunSoFar {
        let text = "name = \"story\"\nduration = \"5s\"\n[workload]\nsizes = [\"8x8\"]\n[load]\nrate = 10\n";
        let scenario = Scenario::parse("story.toml", text, &[]).unwrap();
        let plan = Plan::new(scenario, 7);
        run_within(&plan, limits, &AtomicU64::new(0)).unwrap()
    }

    /// Runs a scenario that exceeds one of `limits`, and returns the error's message.
    fn stopped(limits: Limits) -> String {
        run_of_50(limits).completed().unwrap_err().to_string()
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
        let timers = stopped(Limits { timers: 100, ..Limits::default() });
        assert!(timers.contains("the limit of 100 timers; lower load.rate or duration"), "{timers}");
        let real_time = stopped(Limits { real_time: Duration::ZERO, ..Limits::default() });
        assert!(real_time.contains("the limit of 0s of real time"), "{real_time}");
    }

    #[test]
    fn a_run_that_hits_a_limit_keeps_what_was_recorded() {
        let whole = run_of_50(Limits::default());
        assert!(whole.stopped.is_none());
        let until = Instant::START + Duration::from_secs(2);
        let part = run_of_50(Limits { until, ..Limits::default() });
        let requests = part.run.records.requests.len();
        assert!((20..=21).contains(&requests), "{requests}");
        assert_eq!(part.run.records.requests[..], whole.run.records.requests[..requests]);
        assert!(part.run.records.events.len() > 20, "events, too");
    }

    /// Scenarios of extreme values come to their end or to a limit, and none panics.
    #[test]
    fn extreme_values_end_within_the_limits() {
        let limits = Limits { events: 3_000, timers: 20_000, ..Limits::default() };
        let times = ["0s", "1ns", "1us", "1ms", "10ms", "1s", "24h"];
        let keys = [
            "network.latency",
            "network.jitter",
            "client.deadline",
            "client.attempt_timeout",
            "client.retry.initial_backoff",
            "client.retry.max_backoff",
            "client.hedging",
            "client.health_check.interval",
            "client.health_check.timeout",
            "servers.service_time_min",
            "servers.restart_after",
            "fault.0.at",
            "fault.0.restart_after",
            "client.rate_limit.refresh_period",
            "client.outlier_detection.interval",
            "client.slow_start.slow_start_window",
        ];
        let others = [
            "client.retry.max_attempts=100",
            "load.max_in_flight=1",
            "load.rate=1000",
            "servers.workers=1",
            "servers.queue=0",
            "network.bandwidth=1bit",
            "client.wait_for_ready=true",
            "client.load_balancing.policy=peak_ewma",
            "fault.0={ at = \"0s\", kind = \"loss\", rate = 1.0, target = \"*\" }",
            "servers.replicas=64",
        ];
        let text = "name = \"extreme\"\nduration = \"500ms\"\n[workload]\nsizes = [\"1x1\"]\n[load]\nrate = 20\n\
            [[fault]]\nat = \"0s\"\nkind = \"crash\"\ntarget = \"server-0\"\n";
        let mut played = 0;
        for seed in 0..120 {
            let mut rng = Entropy::new(seed).stream("extreme values");
            let mut settings: Vec<_> =
                (0..3).map(|_| format!("{}={}", any(&keys, &mut rng), any(&times, &mut rng))).collect();
            settings.push(any(&others, &mut rng).to_owned());
            let Ok(scenario) = Scenario::parse("extreme.toml", text, &settings) else { continue };
            let plan = Plan::new(scenario, seed);
            let limits = Limits { until: Limits::for_scenario(&plan.scenario).until, ..limits };
            let run =
                run_within(&plan, limits, &AtomicU64::new(0)).unwrap_or_else(|error| panic!("{settings:?}: {error}"));
            played += 1;
            let Some(stopped) = run.stopped else { continue };
            // The other limits are of bugs.
            let is_of_size = matches!(stopped.limit, crate::Limit::Events(_) | crate::Limit::Timers(_));
            assert!(is_of_size, "{settings:?}: {stopped}");
        }
        assert!(played > 40, "{played}");
    }

    fn any<'a>(items: &[&'a str], rng: &mut impl rand::Rng) -> &'a str {
        items[rng.next_u64() as usize % items.len()]
    }

    /// Without a limit that is counted in a machine's turn, such a run would take for ever: its checks are recorded nowhere. They
    /// overlap, so that none can be skipped.
    #[test]
    fn work_without_a_record_is_limited_too() {
        let text = "name = \"idle\"\nduration = \"24h\"\n[load]\nrate = 0.001\n[servers]\nreplicas = 3\n\
            [client.health_check]\ninterval = \"100ms\"\n[network]\nlatency = \"100ms\"\njitter = \"50ms\"\n";
        let scenario = Scenario::parse("idle.toml", text, &[]).unwrap();
        let plan = Plan::new(scenario, 7);
        let run = run_within(&plan, Limits { timers: 10_000, ..Limits::default() }, &AtomicU64::new(0)).unwrap();
        assert_eq!(run.stopped.map(|stopped| stopped.limit), Some(crate::Limit::Timers(10_000)));
    }

    /// A day of waiting for an answer costs what happens in it, which is nothing.
    #[test]
    fn checks_that_cannot_have_another_result_are_skipped() {
        let text = "name = \"idle\"\nduration = \"250ms\"\n[load]\nrate = 20\n[workload]\nsizes = [\"1x1\"]\n\
            [servers]\nreplicas = 64\nservice_time_min = \"23h\"\n[client]\ndeadline = \"24h\"\nattempt_timeout = \"24h\"\n";
        let scenario = Scenario::parse("idle.toml", text, &[]).unwrap();
        let plan = Plan::new(scenario, 7);
        let run = run_within(&plan, Limits { timers: 5_000, ..Limits::default() }, &AtomicU64::new(0)).unwrap();
        assert_eq!(run.stopped, None);
        assert!(run.run.records.requests.iter().all(|row| row.latency_us > Some(23 * 3_600_000_000)));
    }

    /// A server that stops to answer while all is calm is noticed by the next check, as without the skipping of checks.
    #[test]
    fn a_check_is_not_skipped_after_something_has_happened() {
        let text = "name = \"idle\"\nduration = \"60s\"\n[load]\nrate = 0.02\n[workload]\nsizes = [\"1x1\"]\n\
            [servers]\nreplicas = 2\n[client.health_check]\ninterval = \"1s\"\ntimeout = \"500ms\"\n\
            [[fault]]\nat = \"20.3s\"\nkind = \"freeze\"\ntarget = \"server-1\"\nduration = \"10s\"\n";
        let scenario = Scenario::parse("idle.toml", text, &[]).unwrap();
        let plan = Plan::new(scenario, 7);
        let run = run_within(&plan, Limits::default(), &AtomicU64::new(0)).unwrap().run;
        let seen = run.records.events.iter().filter(|row| matches!(row.event, Event::Unhealthy | Event::Healthy));
        let seen: Vec<_> = seen.map(|row| (row.event, row.at_us / 100_000)).collect();
        assert_eq!(seen, [(Event::Unhealthy, 215), (Event::Healthy, 303)], "in tenths of a second");
    }

    /// A panic must not end the process, which may run other simulations.
    #[test]
    fn a_panic_ends_its_simulation() {
        let scenario =
            Scenario::parse("story.toml", "name = \"story\"\nduration = \"5s\"\n[load]\nrate = 10\n", &[]).unwrap();
        let server = server_software(
            ReplicaSettings::new(&scenario.servers, &scenario.workload).with_kinds(&scenario.load.request),
        );
        let bounds = Bounds::default();
        let failed = on_own_thread((7, &[]), (bounds.limits.real_time, &bounds.watch), || {
            Simulation::new(
                &ServerNames::of_group(2),
                7,
                &Calibration::default(),
                &server,
                bounds.clone(),
                panicking_client,
            )
            .run(&AtomicU64::new(0))
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
