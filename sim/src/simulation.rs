//! A simulation: hosts, network and clock put together, and the driver that plays it.

use std::{
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use futures_util::future::{Either, select};
use kernel::{
    client::Client,
    entropy::Entropy,
    invariant::{self, Evidence, Violation},
    link::Link,
    load::Load,
    measure::{Label, Run, Summary},
    memory,
    nemesis::{Nemesis, Operations},
    record::{Recorder, Records},
    scenario::Scenario,
    server::{self, Settings},
    workload::{Inputs, Oracle, pictures::PictureFileError},
    world::SharedWorld,
};

use crate::{
    calibration::{Calibration, LinkTimes},
    clock::{Clock, HostId},
    compute::Compute,
    host::{Ended, Host, Shared},
    interpose::{EPOCH_SECONDS, Interposed},
    limits::{Limit, Limits},
    net::{Activity, Net, Times},
    operations::{Morgue, SimOperations},
    replica::{Replica, Software},
    system::System,
    trace::{self, Listener, Listening, Told},
};

/// Segments and connections that turmoil buffers per socket before it panics or holds back; what bounds them here is
/// HTTP/2's flow control and the backlog.
const TCP_CAPACITY: usize = 1 << 16;

/// What to simulate.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The story.
    pub scenario: Scenario,
    /// Decides all that is drawn.
    pub seed: u64,
    /// The host's times.
    pub calibration: Calibration,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub struct Played {
    /// Every request, attempt and event.
    pub records: Records,
    /// Turns of the driver.
    pub steps: u64,
    /// Times that the driver moved the clock between two steps; within a host's turn it moves by itself.
    pub instants: u64,
}

impl Played {
    /// The invariants that it breaks, being what came of `plan`.
    pub fn broken(&self, plan: &Plan) -> Vec<Violation> {
        let Plan { scenario, seed, calibration } = plan;
        let scenario = &scenario.explicit(*seed);
        let (duration, late) = (scenario.duration, Some(calibration.timers_late_max()));
        invariant::check(&Evidence { scenario, seed: *seed, duration, late, records: &self.records })
    }

    /// What it adds up to.
    pub fn summary(&self, plan: &Plan) -> Summary {
        let Plan { scenario, seed, .. } = plan;
        let run = Run::of(scenario, scenario.duration, &self.records);
        Summary::of(Label { scenario: &scenario.name, seed: *seed, world: "sim" }, &run, &scenario.expectations)
    }
}

/// A simulation that could not be played.
#[derive(Debug, thiserror::Error)]
pub enum SimulationError {
    /// The workload's pictures cannot be had.
    #[error(transparent)]
    Pictures(#[from] PictureFileError),
    /// The calibration knows nothing of the workload.
    #[error("the calibration `{calibration}` has no service_time for the workload `{workload}`; use one that has")]
    NotCalibrated {
        /// Its name.
        calibration: String,
        /// The scenario's workload.
        workload: &'static str,
    },
    /// Nothing is left to happen, but the load has not ended: a bug of this program.
    #[error("the simulation came to a standstill at {at}, {steps} steps in")]
    Standstill {
        /// Virtual time.
        at: String,
        /// Steps so far.
        steps: u64,
    },
    /// It grew beyond what is meant to be simulated, or would not end.
    #[error("the run with seed {seed} was stopped at {at}: it hit the limit of {limit}")]
    Limit {
        /// Of the run.
        seed: u64,
        /// Virtual time.
        at: String,
        /// The bound.
        limit: Limit,
    },
    /// A host's software or the nemesis failed.
    #[error("the simulation failed: {0}")]
    Failed(String),
}

/// Plays `plan`. `progress` is kept at the virtual time, in nanoseconds.
///
/// It runs on a thread of its own: what the thread remembers of another simulation could make a difference.
pub fn play(plan: &Plan, progress: &AtomicU64) -> Result<Played, SimulationError> {
    on_a_thread(plan.seed, || simulate(plan, Limits::of(&plan.scenario), progress))
}

/// Plays `plan` and tells `listener` of everything that happens.
pub fn play_told(plan: &Plan, progress: &AtomicU64, listener: Listener) -> Result<Played, SimulationError> {
    on_a_thread(plan.seed, || {
        let _listening = Listening::begin(listener);
        simulate(plan, Limits::of(&plan.scenario), progress)
    })
}

fn simulate(plan: &Plan, limits: Limits, progress: &AtomicU64) -> Result<Played, SimulationError> {
    let scenario = plan.scenario.explicit(plan.seed);
    let inputs = inputs(plan)?;
    let serve = software(Settings::of(&scenario.servers, &scenario.workload));
    let replicas = scenario.servers.replicas;
    let client = |cast: Cast| run_client(cast, scenario, inputs);
    Simulation::new(replicas, plan.seed, &plan.calibration, &serve, client).within(limits).run(progress)
}

/// A replica with these settings, until it is killed.
fn software(settings: Settings) -> Software {
    Arc::new(move |world, recorder, name, injector| {
        let (name, settings) = (name.to_owned(), settings.clone());
        let forever = std::future::pending();
        Box::pin(async move { server::serve(world, recorder, &name, settings, injector, forever).await })
    })
}

/// Runs `simulate` on a fresh thread that sees the virtual clock and the randomness of `seed`.
pub(crate) fn on_a_thread<T: Send>(
    seed: u64,
    simulate: impl FnOnce() -> Result<T, SimulationError> + Send,
) -> Result<T, SimulationError> {
    #[cfg(feature = "canaries")]
    if crate::canary::is(crate::canary::Canary::SharedThread) {
        let _interposed = Interposed::enter(seed);
        return simulate();
    }
    thread::scope(|scope| {
        let player = thread::Builder::new().name("simulation".to_owned()).spawn_scoped(scope, || {
            let _interposed = Interposed::enter(seed);
            memory::keep();
            simulate()
        });
        let played = player.map_err(|error| SimulationError::Failed(format!("no thread for it: {error}")))?.join();
        played.unwrap_or_else(|_| Err(panicked()))
    })
}

/// The panic hook has said where and why.
fn panicked() -> SimulationError {
    SimulationError::Failed("it panicked, which is a bug of this program".to_owned())
}

pub(crate) struct Simulation {
    turmoil: turmoil::Sim<'static>,
    clock: Arc<Clock>,
    activity: Activity,
    morgue: Morgue,
    replicas: Vec<Arc<Replica>>,
    /// Of all hosts.
    records: Arc<Mutex<Records>>,
    seed: u64,
    limits: Limits,
}

/// What the client's software has to work with.
pub(crate) struct Cast {
    pub(crate) world: SharedWorld,
    pub(crate) entropy: Entropy,
    pub(crate) recorder: Recorder,
    pub(crate) links: Vec<Arc<Link>>,
    pub(crate) operations: Arc<dyn Operations>,
}

impl Simulation {
    /// Replicas that run `software`, and a client that runs what `client` makes of the cast. The simulation is over
    /// when that ends.
    pub(crate) fn new<F>(
        replicas: usize,
        seed: u64,
        calibration: &Calibration,
        software: &Software,
        client: impl FnOnce(Cast) -> F,
    ) -> Self
    where
        F: Future<Output = Ended> + Send + 'static,
    {
        let entropy = Entropy::new(seed);
        let (clock, morgue) = (Arc::new(Clock::default()), Morgue::default());
        let [to_server, to_client] = calibration.delays();
        let LinkTimes { one_way_us: one_way, connect_us: connect } = calibration.link.clone();
        let net = Net::new(clock.clone(), entropy, Times { one_way, connect, to_server, to_client });
        let activity = net.activity.clone();
        let shared = Arc::new(Shared {
            clock: clock.clone(),
            compute: Compute::new(calibration.clone(), entropy),
            system: System::new(calibration.system(), entropy),
            net,
            addresses: OnceLock::new(),
        });
        let host = Arc::new(Host::new(HostId::CLIENT, shared.clone()));
        let world: SharedWorld = host.clone();
        let records = Arc::<Mutex<Records>>::default();
        let recorder = Recorder::new(world.clone(), "client", Arc::new(Told(records.clone())));
        let replicas: Vec<_> =
            (0..replicas).map(|index| Replica::new(index, &shared, &recorder, software.clone(), entropy)).collect();
        let links: Vec<_> = replicas.iter().map(|replica| Link::new(world.clone(), entropy, replica.name())).collect();
        let operations = Arc::new(SimOperations {
            replicas: replicas.clone(),
            links: links.clone(),
            shared: shared.clone(),
            activity: activity.clone(),
            morgue: morgue.clone(),
        });
        let mut turmoil = network(seed);
        // First in every step: see `Activity`.
        let client = client(Cast { world, entropy, recorder, links, operations });
        turmoil.client("client", {
            let clock = clock.clone();
            async move {
                host.run(async move {
                    let ended = client.await;
                    // Nothing that is later than its end belongs to the run.
                    clock.disturb();
                    ended
                })
                .await
            }
        });
        for replica in &replicas {
            let software = replica.clone();
            turmoil.host(replica.name(), move || software.clone().software());
        }
        let addresses = replicas.iter().map(|replica| (replica.name().to_owned(), turmoil.lookup(replica.name())));
        shared.addresses.set(addresses.collect()).expect("the addresses are set once");
        Self { turmoil, clock, activity, morgue, replicas, records, seed, limits: Limits::default() }
    }

    /// It ends with an error if it does not keep to `limits`.
    pub(crate) fn within(self, limits: Limits) -> Self {
        Self { limits, ..self }
    }

    /// Steps while anything is under way at this instant, then moves on to the next, until the client is done.
    pub(crate) fn run(mut self, progress: &AtomicU64) -> Result<Played, SimulationError> {
        let (mut steps, mut instants, mut advanced) = (0, 1, 0);
        loop {
            steps += 1;
            self.check_limits(steps - advanced)?;
            let done = self.turmoil.step().map_err(|error| SimulationError::Failed(error.to_string()))?;
            if self.activity.has_panicked() {
                return Err(panicked());
            }
            if done {
                trace::end();
                break;
            }
            let buried = self.bury_the_dead();
            if self.activity.take() || buried {
                self.clock.disturb();
                continue;
            }
            if !self.clock.advance() {
                return Err(SimulationError::Standstill { at: self.clock.now().to_string(), steps });
            }
            (instants, advanced) = (instants + 1, steps);
            progress.store(self.clock.now().as_nanos(), Ordering::Relaxed);
        }
        let mut records = std::mem::take(&mut *self.records.lock().unwrap_or_else(PoisonError::into_inner));
        records.sort();
        Ok(Played { records, steps, instants })
    }

    /// `steps` have been taken since the clock was moved.
    fn check_limits(&self, steps: u64) -> Result<(), SimulationError> {
        let events = {
            let records = self.records.lock().unwrap_or_else(PoisonError::into_inner);
            records.requests.len() + records.attempts.len() + records.events.len()
        };
        let now = self.clock.now();
        let hit = self.limits.hit(events, now, steps);
        hit.map_or(Ok(()), |limit| Err(SimulationError::Limit { seed: self.seed, at: now.to_string(), limit }))
    }

    /// Takes away the tasks and sockets of killed processes, which closes their connections. The host goes on without
    /// a process: were it just stopped, new connections to it would hang instead of being refused.
    fn bury_the_dead(&mut self) -> bool {
        let dead = self.morgue.take();
        for &replica in &dead {
            let replica = &self.replicas[replica];
            self.turmoil.crash(replica.name());
            replica.bury();
            self.turmoil.bounce(replica.name());
        }
        !dead.is_empty()
    }
}

/// Offers the load while the nemesis plays; ends with the load.
async fn run_client(cast: Cast, scenario: Scenario, inputs: Inputs) -> Ended {
    let Cast { world, entropy, recorder, links, operations } = cast;
    #[cfg(feature = "canaries")]
    world.spawn(Box::pin(crate::canary::depend(world.clone())));
    let nemesis = Nemesis::new(world.clone(), &recorder, operations, &scenario);
    let client = Client::start(world.clone(), entropy, recorder.clone(), scenario.client, &links);
    let oracle = Arc::new(Oracle::learning());
    let (settings, duration) = (scenario.load, scenario.duration);
    let load = Load { world, entropy, recorder, client, inputs, oracle, settings, duration };
    let faults = async {
        match nemesis.play(&scenario.faults).await {
            Ok(()) => std::future::pending().await,
            Err(failed) => failed,
        }
    };
    // The nemesis first: it shapes the links before anything passes them.
    match select(std::pin::pin!(faults), std::pin::pin!(load.run())).await {
        Either::Left((failed, _)) => Err(failed.into()),
        Either::Right(_) => Ok(()),
    }
}

/// turmoil without time of its own: every message arrives in the step it is sent in, or the next.
#[expect(clippy::disallowed_types, reason = "turmoil wants to be told what time it is")]
fn network(seed: u64) -> turmoil::Sim<'static> {
    let epoch = std::time::SystemTime::UNIX_EPOCH + Duration::from_secs(EPOCH_SECONDS);
    #[cfg(feature = "canaries")]
    let (seed, epoch) = crate::canary::of_turmoil(seed, epoch);
    turmoil::Builder::new()
        .rng_seed(seed)
        .epoch(epoch)
        .min_message_latency(Duration::ZERO)
        .max_message_latency(Duration::ZERO)
        // Counts steps, not time; see `Standstill` for what ends a simulation that does not end.
        .tick_duration(Duration::from_millis(1))
        .simulation_duration(Duration::MAX)
        .tcp_capacity(TCP_CAPACITY)
        .build()
}

fn inputs(plan: &Plan) -> Result<Inputs, SimulationError> {
    let workload = &plan.scenario.workload;
    if !plan.calibration.knows(workload.name()) {
        let calibration = plan.calibration.name.clone();
        return Err(SimulationError::NotCalibrated { calibration, workload: workload.name() });
    }
    Ok(Inputs::of(workload, Entropy::new(plan.seed))?)
}

#[cfg(test)]
mod tests {
    use kernel::time::Instant;

    use super::*;

    fn stopped(limits: Limits) -> String {
        let text = "name = \"story\"\nduration = \"5s\"\n[workload]\nsizes = [\"8x8\"]\n[load]\nrate = 10\n";
        let scenario = Scenario::parse("story.toml", text, &[]).unwrap();
        let plan = Plan { scenario, seed: 7, calibration: Calibration::default() };
        on_a_thread(plan.seed, || simulate(&plan, limits, &AtomicU64::new(0))).unwrap_err().to_string()
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

    /// Not the process, which may be playing others.
    #[test]
    fn a_panic_ends_its_simulation() {
        let scenario =
            Scenario::parse("story.toml", "name = \"story\"\nduration = \"5s\"\n[load]\nrate = 10\n", &[]).unwrap();
        let serve = software(Settings::of(&scenario.servers, &scenario.workload));
        let client = |cast: Cast| async move {
            let Cast { world, .. } = cast;
            world.sleep_until(Instant::START + Duration::from_secs(1)).await;
            world.spawn(Box::pin(async { panic!("planted") }));
            std::future::pending().await
        };
        let play = || Simulation::new(2, 7, &Calibration::default(), &serve, client).run(&AtomicU64::new(0));
        let failed = on_a_thread(7, play).unwrap_err().to_string();
        assert_eq!(failed, "the simulation failed: it panicked, which is a bug of this program");
    }
}
