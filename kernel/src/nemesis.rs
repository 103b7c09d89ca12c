//! The nemesis: runs the fault timeline of a scenario through the World's operations, and restarts crashed servers.
//!
//! Faults may overlap. Shapes of a link compose (see [`Shape::and`]); a server is frozen while any freeze lasts; injections
//! add up (see [`Injection::and`]); a crash ends the freezes and the injections of the process that it kills. To add a fault
//! kind, give it a variant in `fault::FaultKind`, an arm in [`Nemesis::play_one`], and, if the present operations are not
//! enough, an [`Operation`]. Module [`fault`](crate::fault) declares and draws faults.

mod active_faults;
mod operation;

use std::{
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::try_join_all;

use crate::{
    fault::{Direction, Fault, FaultKind},
    link::Shape,
    planted::planted,
    record::{Event, EventBuilder, Recorder},
    scenario::Scenario,
    server::settings::server_name,
    server::{InjectedErrors, Injection},
    sync::lock,
    time::Instant,
    world::SharedWorld,
};

use active_faults::ActiveFaults;

pub use operation::{Effect, Operation, OperationFailed, Operations};

/// Runs the faults of one scenario.
pub struct Nemesis {
    world: SharedWorld,
    recorder: Recorder,
    supervisor: Recorder,
    operations: Arc<dyn Operations>,
    /// Shape of every link without faults, from the scenario's `[network]`.
    network: Shape,
    /// The active faults of each server.
    servers: Vec<Mutex<ActiveFaults>>,
}

impl Nemesis {
    /// Creates a nemesis for the servers of `scenario`. Its own events and those of the supervisor go to `recorder`.
    pub fn new(world: SharedWorld, recorder: &Recorder, operations: Arc<dyn Operations>, scenario: &Scenario) -> Self {
        Self {
            recorder: recorder.with_source(world.clone(), "nemesis"),
            supervisor: recorder.with_source(world.clone(), "supervisor"),
            world,
            operations,
            network: Shape {
                latency: scenario.network.latency,
                jitter: scenario.network.jitter,
                bandwidth: scenario.network.bandwidth,
                ..Shape::default()
            },
            servers: (0..scenario.servers.replicas).map(|_| Mutex::default()).collect(),
        }
    }

    /// Gives every link the scenario's network, then applies `faults`, each at its time. Returns when the last fault has
    /// ended; the run may end before.
    ///
    /// # Errors
    ///
    /// Returns the first error of an operation.
    pub async fn play(&self, faults: &[Fault]) -> Result<(), OperationFailed> {
        for server in 0..self.servers.len() {
            self.reshape(server).await?;
        }
        let plays = faults
            .iter()
            .enumerate()
            .flat_map(|(index, fault)| fault.targets.iter().map(move |target| self.play_one(index, fault, *target)));
        try_join_all(plays).await.map(drop)
    }

    /// Runs one fault on one of its targets, from its start to its end.
    async fn play_one(&self, index: usize, fault: &Fault, target: usize) -> Result<(), OperationFailed> {
        self.world.sleep_until(Instant::START + fault.at).await;
        self.event(Event::FaultStart, index, target).cause(fault.kind.name()).record();
        match &fault.kind {
            FaultKind::Crash { restart_after } => self.crash(index, target, *restart_after).await?,
            FaultKind::Freeze { duration } => self.freeze(index, target, *duration).await?,
            FaultKind::Reset => {
                self.apply(index, Operation::Reset(target), target).await?;
            }
            FaultKind::Errors { rate, status, duration } => {
                let errors = vec![InjectedErrors { fault: index, rate: *rate, status: *status }];
                self.inject(index, target, Injection { errors, ..Injection::default() }, *duration).await?;
            }
            FaultKind::Slow { factor, duration } => {
                let injection = Injection { slow: *factor, ..Injection::default() };
                self.inject(index, target, injection, *duration).await?;
            }
            link_fault => self.disturb_link(index, target, link_fault).await?,
        }
        self.event(Event::FaultEnd, index, target).cause(fault.kind.name()).record();
        Ok(())
    }

    async fn crash(&self, index: usize, target: usize, restart_after: Option<Duration>) -> Result<(), OperationFailed> {
        let crashed = self.world.now();
        let effect = self.apply(index, Operation::Crash(target), target).await?;
        self.active_faults(target).end_with_process();
        // A server that was down already is restarted by the fault that crashed it.
        if let Some(restart_after) = restart_after.filter(|_| effect == Effect::Applied) {
            self.world.sleep_until(crashed + restart_after).await;
            self.supervisor.event(Event::Restart).target(server_name(target)).fault(index).record();
            self.apply(index, Operation::Start(target), target).await?;
        }
        Ok(())
    }

    async fn freeze(&self, index: usize, target: usize, duration: Option<Duration>) -> Result<(), OperationFailed> {
        if self.apply(index, Operation::Freeze(target), target).await? == Effect::ServerIsDown {
            return Ok(());
        }
        self.active_faults(target).add_freeze(index);
        self.hold_for(duration).await;
        // A statement of its own, so that the lock is not held during the operation.
        let thaws = self.active_faults(target).remove_freeze(index);
        if thaws {
            self.apply(index, Operation::Resume(target), target).await?;
        }
        Ok(())
    }

    async fn inject(
        &self,
        index: usize,
        target: usize,
        injection: Injection,
        duration: Option<Duration>,
    ) -> Result<(), OperationFailed> {
        self.active_faults(target).add_injection(index, injection);
        if self.apply(index, self.injection(target), target).await? == Effect::ServerIsDown {
            // The server starts without injections later, so this fault must not come back with the next one.
            self.active_faults(target).remove_injection(index);
            return Ok(());
        }
        self.hold_for(duration).await;
        // A crash in the meantime has ended the injection with the process; the new process has nothing to end.
        let was_active = self.active_faults(target).remove_injection(index);
        if was_active {
            self.apply(index, self.injection(target), target).await?;
        }
        Ok(())
    }

    /// Returns the operation that makes the server inject all its active faults.
    fn injection(&self, target: usize) -> Operation {
        Operation::Inject(target, self.active_faults(target).injection())
    }

    async fn disturb_link(&self, index: usize, target: usize, kind: &FaultKind) -> Result<(), OperationFailed> {
        let (shape, duration) = link_shape(kind);
        self.active_faults(target).add_shape(index, shape);
        self.reshape(target).await?;
        self.hold_for(duration).await;
        self.active_faults(target).remove_shape(index);
        self.reshape(target).await
    }

    /// Waits for the duration of a fault that begins now; for ever if it has none.
    async fn hold_for(&self, duration: Option<Duration>) {
        let duration = planted!(Bug::ShortFault, duration.map(|duration| duration / 2), else duration);
        let end = duration.map_or(Instant::NEVER, |duration| self.world.now() + duration);
        self.world.sleep_until(end).await;
    }

    /// Gives the link the shape of the network and all active faults.
    async fn reshape(&self, target: usize) -> Result<(), OperationFailed> {
        let shape = self.active_faults(target).shape(self.network);
        self.operations.apply(Operation::Shape(target, shape)).await.map(drop)
    }

    /// Carries out `operation` for the fault `index`, and records it if it has no effect.
    async fn apply(&self, index: usize, operation: Operation, target: usize) -> Result<Effect, OperationFailed> {
        let effect = self.operations.apply(operation).await?;
        if effect == Effect::ServerIsDown {
            self.event(Event::NoEffect, index, target).cause("the server is down").record();
        }
        Ok(effect)
    }

    fn event(&self, event: Event, index: usize, target: usize) -> EventBuilder<'_> {
        self.recorder.event(event).target(server_name(target)).fault(index)
    }

    fn active_faults(&self, target: usize) -> MutexGuard<'_, ActiveFaults> {
        lock(&self.servers[target])
    }
}

/// Returns the shape of a link under a link fault, and the fault's duration. Other kinds do nothing to the link.
fn link_shape(kind: &FaultKind) -> (Shape, Option<Duration>) {
    let none = Shape::default();
    match *kind {
        FaultKind::Delay { latency, jitter, duration } => (Shape { latency, jitter, ..none }, duration),
        FaultKind::Partition { direction, duration } => {
            let cut_to = matches!(direction, Direction::Both | Direction::To);
            let cut_to = planted!(Bug::LeakyCut, false, else cut_to);
            let cut_from = matches!(direction, Direction::Both | Direction::From);
            (Shape { cut_to, cut_from, ..none }, duration)
        }
        FaultKind::Loss { rate, duration } => (Shape { loss: rate, ..none }, duration),
        FaultKind::Bandwidth { rate, duration } => (Shape { bandwidth: Some(rate), ..none }, duration),
        FaultKind::Crash { .. }
        | FaultKind::Freeze { .. }
        | FaultKind::Reset
        | FaultKind::Errors { .. }
        | FaultKind::Slow { .. } => (none, Some(Duration::ZERO)),
    }
}
