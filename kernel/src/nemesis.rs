//! The nemesis: runs the fault timeline of a scenario through the World's operations, and restarts crashed servers.
//!
//! Faults may overlap. Shapes of a link compose (see [`Shape::and`]); a server is frozen while any freeze lasts; injections
//! add up (see [`Injection::and`]); a crash ends the freezes and the injections of the process that it kills. To add a fault
//! kind, give it a variant in `fault::FaultKind`, an arm in [`Nemesis::play_one`], and, if the present operations are not
//! enough, an [`Operation`]. Module [`fault`](crate::fault) declares and draws faults.
//!
//! # Faults at one instant
//!
//! The starts and ends of the faults on one server are played in the order of their scripted instants, in both worlds. At
//! one instant:
//!
//! 1. Faults that began earlier end, in the order of the file: a freeze or partition is lifted, a crashed server is
//!    restarted.
//! 2. Faults start, in the order of the file.
//! 3. Servers that crashed at this instant and have `restart_after = "0s"` are restarted.
//!
//! So a fault acts from its instant to just before its end, and of two that follow each other without a gap the first is over
//! when the second starts. What a fault does depends on the process at its turn:
//!
//! | fault | the server is down | its process is starting | its process is frozen |
//! | --- | --- | --- | --- |
//! | `crash` | no effect, and no restart: that is up to the fault that crashed it | is killed | is killed |
//! | `drain` | no effect, as of a crash | ends once it serves, or is killed after the grace | is killed after the grace, unless it runs before |
//! | `freeze` | no effect | stops, and goes on starting when it is lifted | stays stopped until the last freeze is lifted |
//! | `errors`, `slow`, `certificate_expired`, `certificate_untrusted` | no effect | are in force once it serves | are in force once it runs again |
//! | faults on the link | act on the link, which has no process | the same | the same |
//!
//! The link to the store of a client's cache is one of the links; its target is [`STORE`].
//!
//! A fault without effect starts and ends at once, with an event that says so. Faults at 0 start before the first request is
//! sent. The run ends with its last call: what is due later is not played, and what lasts
//! until then is not lifted. Only a restart may take no time; a duration of 0 is refused.

mod active_faults;
mod operation;
mod timeline;

use std::{
    future::{pending, poll_fn},
    sync::{Arc, Mutex, MutexGuard},
    task::Poll,
};

use futures_util::{TryStreamExt, future::try_join, stream::FuturesOrdered};

use crate::{
    change::{OPERATOR, changes_of, record_change},
    fault::{Fault, FaultKind, STORE, target_name},
    link::Shape,
    planted::planted,
    record::{Event, EventBuilder, Recorder},
    scenario::{Caller, ChangeTarget, Epoch, Scenario, ServerNames},
    server::{InjectedErrors, Injection, Tuning},
    sync::lock,
    time::Instant,
    tls::Presented,
    world::SharedWorld,
};

use active_faults::ActiveFaults;
use timeline::{Step, Timeline};

pub use operation::{Effect, Operation, OperationFailed, Operations};

/// Runs the faults of one scenario.
pub struct Nemesis {
    world: SharedWorld,
    recorder: Recorder,
    supervisor: Recorder,
    operations: Arc<dyn Operations>,
    /// The callers of each server, by its index, with the shape of the links without faults.
    callers: Mutex<Vec<Vec<(Caller, Shape)>>>,
    names: ServerNames,
    /// Shape of the link to the store without faults.
    store_network: Mutex<Shape>,
    /// The changes of servers and links.
    changes: Vec<Epoch>,
    servers: Vec<FaultedServer>,
    /// The store of the client's cache, if it has one, of which only the link can fail.
    store: Option<FaultedServer>,
}

/// Returns who calls each server, with the shape of the links without faults.
fn callers_of(scenario: &Scenario) -> Vec<Vec<(Caller, Shape)>> {
    let callers = (0..scenario.replicas()).map(|server| {
        let callers = scenario.callers_of(server).into_iter();
        callers.map(|(caller, network)| (caller, network.shape())).collect()
    });
    callers.collect()
}

/// A server with the faults on it.
#[derive(Default)]
struct FaultedServer {
    active: Mutex<ActiveFaults>,
    timeline: Timeline,
}

/// A fault on one of its targets.
#[derive(Clone, Copy)]
struct TargetedFault<'a> {
    index: usize,
    fault: &'a Fault,
    target: usize,
}

impl TargetedFault<'_> {
    fn start(self) -> Step {
        Step::start(self.index, self.fault)
    }

    fn end(self) -> Option<Step> {
        Step::end(self.index, self.fault)
    }
}

impl Nemesis {
    /// Creates a nemesis for the servers of `scenario`. Its own events and those of the supervisor go to `recorder`.
    pub fn new(world: SharedWorld, recorder: &Recorder, operations: Arc<dyn Operations>, scenario: &Scenario) -> Self {
        Self {
            recorder: recorder.with_source(world.clone(), "nemesis"),
            supervisor: recorder.with_source(world.clone(), "supervisor"),
            world,
            operations,
            callers: Mutex::new(callers_of(scenario)),
            names: scenario.names(),
            changes: changes_of(scenario, |target| matches!(target, ChangeTarget::Network | ChangeTarget::Servers)),
            servers: (0..scenario.replicas()).map(|_| FaultedServer::default()).collect(),
            store: scenario.store().map(|_| FaultedServer::default()),
            store_network: Mutex::new(scenario.network.shape()),
        }
    }

    /// Gives every link the scenario's network, then applies `faults`, each at its time. Returns when the last fault has
    /// ended; the run may end before.
    ///
    /// # Errors
    ///
    /// Returns the first error of an operation.
    pub async fn play(&self, faults: &[Fault]) -> Result<(), OperationFailed> {
        self.reshape_all().await?;
        let plays: Vec<TargetedFault<'_>> = faults
            .iter()
            .enumerate()
            .flat_map(|(index, fault)| fault.targets.iter().map(move |&target| TargetedFault { index, fault, target }))
            .collect();
        // All steps before any is played, as each waits for those that are scripted before it.
        for TargetedFault { index, fault, target } in &plays {
            self.timeline(*target).add(*index, fault);
        }
        // Each is polled when its own timer fires, however few there are: what else is ready at that instant has its turn between
        // them, and the order of a run's events depends on it.
        let plays: FuturesOrdered<_> = plays.into_iter().map(|play| self.play_one(play)).collect();
        if self.changes.is_empty() {
            return plays.try_collect().await;
        }
        try_join(plays.try_collect(), self.play_changes()).await.map(|((), ())| ())
    }

    /// Changes the settings of servers and links, each at its time.
    async fn play_changes(&self) -> Result<(), OperationFailed> {
        let recorder = self.recorder.with_source(self.world.clone(), OPERATOR);
        for Epoch { at, change, settings } in &self.changes {
            self.world.sleep_until(Instant::START + *at).await;
            let Some(change) = change else { continue };
            record_change(&recorder, change);
            match change.target() {
                ChangeTarget::Network => {
                    *lock(&self.callers) = callers_of(settings);
                    *lock(&self.store_network) = settings.network.shape();
                    self.reshape_all().await?;
                }
                _ => {
                    for server in 0..self.servers.len() {
                        self.operations.apply(Operation::Tune(server, Tuning::new(&settings.servers))).await?;
                    }
                }
            }
        }
        Ok(())
    }

    /// Runs one fault on one of its targets, from its start to its end.
    async fn play_one(&self, play: TargetedFault<'_>) -> Result<(), OperationFailed> {
        let TargetedFault { index, fault, target } = play;
        // A fault at 0 starts before the first request, whose instant it is: a timer would fire after both.
        if !fault.at.is_zero() {
            self.world.sleep_until(Instant::START + fault.at).await;
        }
        let is_delayed = self.timeline(target).turn(play.start()).await;
        self.event(Event::FaultStart, play).cause(fault.kind.name()).record();
        // A start that had to wait for another step must not delay the end: in a chain of faults without gaps, the lateness of
        // timers would add up.
        let started = if is_delayed { Instant::START + fault.at } else { self.world.now() };
        match &fault.kind {
            FaultKind::Crash { .. } => self.crash(play, started).await?,
            FaultKind::Drain { grace, .. } => {
                let grace = grace.unwrap_or_default();
                let effect = self.apply(play, play.start(), Operation::Drain(play.target, grace)).await?;
                // They have ended with the process.
                if effect == Effect::Applied {
                    self.active_faults(play.target).end_with_process();
                }
                self.restart(play, started, effect).await?;
            }
            FaultKind::Freeze { .. } => self.freeze(play, started).await?,
            FaultKind::Reset { duration: None, .. } => {
                let connections = fault.kind.link_effect().connections;
                let is_meant = |caller: &Caller| fault.caller.is_none_or(|of| of == *caller);
                for caller in self.callers(target).into_iter().map(|(caller, _)| caller).filter(is_meant) {
                    let reset = Operation::Reset(target, caller, index as u64, connections);
                    self.apply(play, play.start(), reset).await?;
                }
            }
            FaultKind::Errors { rate, status, delay, .. } => {
                let delay = delay.unwrap_or_default();
                let errors = vec![InjectedErrors { fault: index, rate: *rate, status: *status, delay }];
                self.inject(play, started, Injection { errors, ..Injection::default() }).await?;
            }
            FaultKind::Slow { factor, .. } => {
                self.inject(play, started, Injection { slow: *factor, ..Injection::default() }).await?;
            }
            FaultKind::CertificateExpired { .. } => {
                self.inject(play, started, Injection { presented: Presented::Expired, ..Injection::default() }).await?;
            }
            FaultKind::CertificateUntrusted { .. } => {
                self.inject(play, started, Injection { presented: Presented::Untrusted, ..Injection::default() })
                    .await?;
            }
            FaultKind::Delay { .. }
            | FaultKind::Partition { .. }
            | FaultKind::HalfOpen { .. }
            | FaultKind::Loss { .. }
            | FaultKind::Bandwidth { .. }
            | FaultKind::Reset { .. } => {
                self.disturb_link(play, started).await?;
            }
        }
        self.event(Event::FaultEnd, play).cause(fault.kind.name()).record();
        Ok(())
    }

    async fn crash(&self, play: TargetedFault<'_>, crashed: Instant) -> Result<(), OperationFailed> {
        // Before the process has exited: a freeze that ends meanwhile has no process to resume.
        self.active_faults(play.target).end_with_process();
        let effect = self.apply(play, play.start(), Operation::Crash(play.target)).await?;
        self.restart(play, crashed, effect).await
    }

    /// Starts a server again that the fault has ended, if it is restarted. The fault has begun at `began`, with this effect.
    async fn restart(&self, play: TargetedFault<'_>, began: Instant, effect: Effect) -> Result<(), OperationFailed> {
        // A server that was down already is restarted by the fault that crashed it.
        let restart = play.end().filter(|_| effect == Effect::Applied);
        let (Some(restart), Some(restart_after)) = (restart, play.fault.kind.lasts()) else {
            self.skip(play, play.end());
            return Ok(());
        };
        self.world.sleep_until(began + restart_after).await;
        self.timeline(play.target).turn(restart).await;
        self.supervisor.event(Event::Restart).target(self.names.name(play.target)).fault(play.index).record();
        self.apply(play, restart, Operation::Start(play.target)).await.map(drop)
    }

    async fn freeze(&self, play: TargetedFault<'_>, started: Instant) -> Result<(), OperationFailed> {
        let TargetedFault { index, target, .. } = play;
        // Added first, as a crash may end it before the operation is complete.
        self.active_faults(target).add_freeze(index);
        if self.apply(play, play.start(), Operation::Freeze(target)).await? == Effect::ServerIsDown {
            self.active_faults(target).remove_freeze(index);
            self.skip(play, play.end());
            return Ok(());
        }
        let end = self.hold_for(play, started).await;
        // A statement of its own, so that the lock is not held during the operation.
        let thaws = self.active_faults(target).remove_freeze(index);
        if thaws {
            self.apply(play, end, Operation::Resume(target)).await?;
        }
        self.skip(play, Some(end));
        Ok(())
    }

    async fn inject(
        &self,
        play: TargetedFault<'_>,
        started: Instant,
        injection: Injection,
    ) -> Result<(), OperationFailed> {
        let TargetedFault { index, target, .. } = play;
        self.active_faults(target).add_injection(index, injection);
        if self.apply(play, play.start(), self.injection(target)).await? == Effect::ServerIsDown {
            // The server starts without injections later, so this fault must not come back with the next one.
            self.active_faults(target).remove_injection(index);
            self.skip(play, play.end());
            return Ok(());
        }
        let end = self.hold_for(play, started).await;
        // A crash in the meantime has ended the injection with the process; the new process has nothing to end.
        let was_active = self.active_faults(target).remove_injection(index);
        if was_active {
            self.apply(play, end, self.injection(target)).await?;
        }
        self.skip(play, Some(end));
        Ok(())
    }

    /// Returns the operation that makes the server inject all its active faults.
    fn injection(&self, target: usize) -> Operation {
        Operation::Inject(target, self.active_faults(target).injection())
    }

    async fn disturb_link(&self, play: TargetedFault<'_>, started: Instant) -> Result<(), OperationFailed> {
        let TargetedFault { index, fault, target } = play;
        self.active_faults(target).add_link_effect(index, fault.caller, fault.kind.link_effect());
        self.apply_shapes(play, play.start()).await?;
        let end = self.hold_for(play, started).await;
        self.active_faults(target).remove_link_effect(index);
        self.apply_shapes(play, end).await
    }

    /// Waits for the duration of a fault that has `started`, and for the turn of its end, which is returned; for ever if it
    /// has no duration.
    async fn hold_for(&self, play: TargetedFault<'_>, started: Instant) -> Step {
        let duration = play.fault.kind.duration();
        let duration = planted!(Bug::ShortFault, duration.map(|duration| duration / 2), else duration);
        self.world.sleep_until(duration.map_or(Instant::NEVER, |duration| started + duration)).await;
        let Some(end) = play.end() else { return pending().await };
        self.timeline(play.target).turn(end).await;
        end
    }

    /// Gives every link the shape of its network.
    async fn reshape_all(&self) -> Result<(), OperationFailed> {
        for target in (0..self.servers.len()).chain(self.store.iter().map(|_| STORE)) {
            self.reshape(target).await?;
        }
        Ok(())
    }

    /// Gives the links to the server the shapes of the network and all active faults.
    async fn reshape(&self, target: usize) -> Result<(), OperationFailed> {
        for shape in self.shapes(target) {
            self.operations.apply(shape).await?;
        }
        Ok(())
    }

    /// Does the same as the given step of a fault.
    async fn apply_shapes(&self, play: TargetedFault<'_>, step: Step) -> Result<(), OperationFailed> {
        for shape in self.shapes(play.target) {
            self.apply(play, step, shape).await?;
        }
        Ok(())
    }

    /// Returns the operations that give the links to the server the shapes of the network and all active faults, one for each caller.
    fn shapes(&self, target: usize) -> Vec<Operation> {
        let active = self.active_faults(target);
        let callers = self.callers(target).into_iter();
        callers.map(|(caller, network)| Operation::Shape(target, caller, active.shape(caller, network))).collect()
    }

    /// Returns who calls the server, with the shape of the links without faults.
    fn callers(&self, target: usize) -> Vec<(Caller, Shape)> {
        if target == STORE {
            return vec![(Caller::Load, *lock(&self.store_network))];
        }
        lock(&self.callers)[target].clone()
    }

    /// Carries out `operation` as the given step of a fault, and records it if it has no effect.
    async fn apply(
        &self,
        play: TargetedFault<'_>,
        step: Step,
        operation: Operation,
    ) -> Result<Effect, OperationFailed> {
        let mut applying = self.operations.apply(operation);
        // The first poll decides on the effect; the rest, such as waiting for a process to exit, must not delay the next step.
        let begun = poll_fn(|cx| Poll::Ready(applying.as_mut().poll(cx))).await;
        self.timeline(play.target).finish(step);
        let effect = match begun {
            Poll::Ready(effect) => effect?,
            Poll::Pending => applying.await?,
        };
        if effect == Effect::ServerIsDown {
            self.event(Event::NoEffect, play).cause("the server is down").record();
        }
        Ok(effect)
    }

    /// Lets the steps behind `step` have their turn, if `step` has nothing to do.
    fn skip(&self, play: TargetedFault<'_>, step: Option<Step>) {
        step.into_iter().for_each(|step| self.timeline(play.target).finish(step));
    }

    fn event(&self, event: Event, play: TargetedFault<'_>) -> EventBuilder<'_> {
        self.recorder.event(event).target(target_name(play.target, &self.names)).fault(play.index)
    }

    fn faulted(&self, target: usize) -> &FaultedServer {
        match &self.store {
            Some(store) if target == STORE => store,
            _ => &self.servers[target],
        }
    }

    fn active_faults(&self, target: usize) -> MutexGuard<'_, ActiveFaults> {
        lock(&self.faulted(target).active)
    }

    fn timeline(&self, target: usize) -> &Timeline {
        &self.faulted(target).timeline
    }
}
