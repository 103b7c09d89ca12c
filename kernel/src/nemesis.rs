//! Plays the fault timeline of a scenario through the World's fault operations, and supervises crashed servers.
//!
//! Faults may overlap. What acts on a link composes (see [`Shape::and`]); a server stands still while any freeze
//! lasts; what is injected into it adds up (see [`Injection::and`]); a crash ends the freezes and the injections of the
//! process it kills. To add a fault kind, give it a variant in
//! `scenario::FaultKind`, an arm in [`Nemesis::play_one`], and, if it is not made of the operations there are, an
//! [`Operation`]. What seeds draw faults from is in [`menu`].

mod menu;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::try_join_all;

use crate::{
    link::Shape,
    planted::planted,
    record::{Event, EventBuilder, Recorder},
    scenario::{Direction, Fault, FaultKind, Scenario, server_name},
    server::{Errors, Injection},
    sync::lock,
    time::Instant,
    world::{BoxFuture, SharedWorld},
};

pub use menu::{Menu, Reach};

/// What a world can do to a server, by its index.
#[derive(Debug, Clone, PartialEq)]
pub enum Operation {
    /// Kill the process: SIGKILL.
    Crash(usize),
    /// Start it again. Done when it listens.
    Start(usize),
    /// Stop it: SIGSTOP.
    Freeze(usize),
    /// Let it go on: SIGCONT.
    Resume(usize),
    /// Give its link this shape, in place of the one before.
    Shape(usize, Shape),
    /// Reset the connections to it.
    Reset(usize),
    /// Have it inject this, in place of what it did before.
    Inject(usize, Injection),
}

/// What an operation did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effect {
    /// What it says.
    Applied,
    /// Nothing, because the process was not running.
    ServerIsDown,
}

/// A world could not do what it was told; the run has failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{operation:?} failed: {reason}", operation = .operation)]
pub struct OperationFailed {
    /// What was told.
    pub operation: String,
    /// Why it could not be done.
    pub reason: String,
}

/// A world's fault operations.
pub trait Operations: Send + Sync {
    /// Does it, as soon as it can.
    fn apply(&self, operation: Operation) -> BoxFuture<'_, Result<Effect, OperationFailed>>;
}

/// The player.
pub struct Nemesis {
    world: SharedWorld,
    recorder: Recorder,
    supervisor: Recorder,
    operations: Arc<dyn Operations>,
    /// What the scenario's network does to every link, faults or not.
    network: Shape,
    servers: Vec<Mutex<Afflictions>>,
}

/// The faults that a server suffers now, by index.
#[derive(Default)]
struct Afflictions {
    freezes: BTreeSet<usize>,
    shapes: BTreeMap<usize, Shape>,
    injections: BTreeMap<usize, Injection>,
}

impl Nemesis {
    /// A nemesis whose events and whose supervisor's go to the rows of `recorder`.
    pub fn new(world: SharedWorld, recorder: &Recorder, operations: Arc<dyn Operations>, scenario: &Scenario) -> Self {
        Self {
            recorder: recorder.of(world.clone(), "nemesis"),
            supervisor: recorder.of(world.clone(), "supervisor"),
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

    /// Gives every link the scenario's network, then plays `faults`, each at its time. Returns once the last has been
    /// lifted; the run may end before.
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
                let errors = vec![Errors { fault: index, rate: *rate, status: *status }];
                self.inject(index, target, Injection { errors, ..Injection::default() }, *duration).await?;
            }
            FaultKind::Slow { factor, duration } => {
                let injection = Injection { slow: *factor, ..Injection::default() };
                self.inject(index, target, injection, *duration).await?;
            }
            link_fault => self.afflict_link(index, target, link_fault).await?,
        }
        self.event(Event::FaultEnd, index, target).cause(fault.kind.name()).record();
        Ok(())
    }

    async fn crash(&self, index: usize, target: usize, restart_after: Option<Duration>) -> Result<(), OperationFailed> {
        let crashed = self.world.now();
        let effect = self.apply(index, Operation::Crash(target), target).await?;
        {
            let mut afflictions = self.afflictions(target);
            afflictions.freezes.clear();
            afflictions.injections.clear();
        }
        // One that was down already has whoever crashed it first to start it again.
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
        self.afflictions(target).freezes.insert(index);
        self.last(duration).await;
        let thawed = {
            let mut afflictions = self.afflictions(target);
            // A crash meanwhile has ended the freeze with the process.
            afflictions.freezes.remove(&index) && afflictions.freezes.is_empty()
        };
        if thawed {
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
        self.afflictions(target).injections.insert(index, injection);
        if self.apply(index, self.injected(target), target).await? == Effect::ServerIsDown {
            self.afflictions(target).injections.remove(&index);
            return Ok(());
        }
        self.last(duration).await;
        // A crash meanwhile has ended the injection with the process.
        let lasted = self.afflictions(target).injections.remove(&index).is_some();
        if lasted {
            self.apply(index, self.injected(target), target).await?;
        }
        Ok(())
    }

    /// What has the server inject all that it is to.
    fn injected(&self, target: usize) -> Operation {
        let afflictions = self.afflictions(target);
        Operation::Inject(target, afflictions.injections.values().fold(Injection::default(), Injection::and))
    }

    async fn afflict_link(&self, index: usize, target: usize, kind: &FaultKind) -> Result<(), OperationFailed> {
        let (shape, duration) = shape_of(kind);
        self.afflictions(target).shapes.insert(index, shape);
        self.reshape(target).await?;
        self.last(duration).await;
        self.afflictions(target).shapes.remove(&index);
        self.reshape(target).await
    }

    /// Waits until a fault that begins now is over; for ever if it has no end.
    async fn last(&self, duration: Option<Duration>) {
        let duration = planted!(Bug::ShortFault, duration.map(|duration| duration / 2), else duration);
        let end = duration.map_or(Instant::NEVER, |duration| self.world.now() + duration);
        self.world.sleep_until(end).await;
    }

    async fn reshape(&self, target: usize) -> Result<(), OperationFailed> {
        let shape = self.afflictions(target).shapes.values().fold(self.network, |all, shape| all.and(*shape));
        self.operations.apply(Operation::Shape(target, shape)).await.map(drop)
    }

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

    fn afflictions(&self, target: usize) -> MutexGuard<'_, Afflictions> {
        lock(&self.servers[target])
    }
}

/// What a link fault does to the link, and for how long.
fn shape_of(kind: &FaultKind) -> (Shape, Option<Duration>) {
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
