//! The fault operations on simulated hosts and links.

use std::{pin::pin, sync::Arc, time::Duration};

use futures_util::future::select;

use kernel::{
    link::Link,
    nemesis::{Effect, Operation, OperationFailed, Operations},
    scenario::{Caller, STORE},
    world::BoxFuture,
};

use crate::{activity::Activity, host::Shared, host_id::HostId, process::Process, replica::Replica};

/// Applies the operations of the nemesis to simulated hosts and links.
#[derive(Clone)]
pub(crate) struct SimOperations {
    pub(crate) replicas: Vec<Arc<Replica>>,
    pub(crate) links: Vec<Arc<Link>>,
    /// The link to the store of the client's cache, if it has one.
    pub(crate) store: Option<Arc<Link>>,
    /// The process that has the client's end of the links, if the client has a runtime of its own.
    pub(crate) client: Option<Arc<Process>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) activity: Activity,
}

impl SimOperations {
    /// Waits until the process of this number has ended, and kills it after `grace`. Another fault may have killed it before.
    async fn end(&self, server: usize, number: u64, grace: Duration) {
        let replica = &self.replicas[server];
        let clock = &self.shared.clock;
        let grace = clock.sleep_until(HostId::CLIENT, clock.now() + grace);
        select(pin!(replica.until_end(number)), grace).await;
        self.activity.happened();
        if replica.has_process(number) && replica.crash() == Effect::Applied {
            self.wait(self.shared.system.exit(server, clock.now())).await;
            replica.exit();
        }
    }

    /// Changes the link to a target, in a turn of the process that has its end: the tasks of a process wake there. No task of the process
    /// runs before at this instant, but those that it has run already.
    fn change_link(&self, target: usize, change: impl FnOnce(&Link) + Send + 'static) -> Effect {
        let link = match &self.store {
            Some(store) if target == STORE => store.clone(),
            _ => self.links[target].clone(),
        };
        match &self.client {
            Some(process) => process.in_turn(move || change(&link)),
            None => change(&link),
        }
        Effect::Applied
    }

    /// Waits for the operating system of a server. The wait is a timer of the client's host, where the nemesis runs, but
    /// a plain one: the client's late timers do not delay it.
    async fn wait(&self, time: Duration) {
        if !time.is_zero() {
            let clock = &self.shared.clock;
            clock.sleep_until(HostId::CLIENT, clock.now() + time).await;
            self.activity.happened();
        }
    }
}

impl Operations for SimOperations {
    fn apply(&self, operation: Operation) -> BoxFuture<'_, Result<Effect, OperationFailed>> {
        self.activity.happened();
        Box::pin(async move {
            Ok(match operation {
                Operation::Crash(server) => {
                    let effect = self.replicas[server].crash();
                    if effect == Effect::Applied {
                        self.wait(self.shared.system.exit(server, self.shared.clock.now())).await;
                        self.replicas[server].exit();
                    }
                    effect
                }
                Operation::Drain(server, grace) => match self.replicas[server].drain() {
                    None => Effect::ServerIsDown,
                    Some(number) => {
                        self.end(server, number, grace).await;
                        Effect::Applied
                    }
                },
                Operation::Start(server) => self.replicas[server].start().await,
                Operation::Freeze(server) => self.replicas[server].freeze(),
                Operation::Resume(server) => self.replicas[server].resume(),
                Operation::Shape(server, Caller::Load, shape) => {
                    self.change_link(server, move |link| link.set_shape(shape))
                }
                Operation::Shape(server, caller, shape) => {
                    for (from, link) in self.shared.service_links.reshape(caller, server, &shape) {
                        let shape = shape.clone();
                        self.replicas[from].in_turn(move || link.set_shape(shape));
                    }
                    Effect::Applied
                }
                Operation::Inject(server, injection) => self.replicas[server].inject(injection),
                Operation::Tune(server, tuning) => {
                    self.replicas[server].tune(tuning);
                    Effect::Applied
                }
                Operation::Reset(server, Caller::Load, fault, connections) => {
                    self.change_link(server, move |link| link.reset_some(fault, connections))
                }
                Operation::Reset(server, caller, fault, connections) => {
                    for (from, link) in self.shared.service_links.all(caller, server) {
                        self.replicas[from].in_turn(move || link.reset_some(fault, connections));
                    }
                    Effect::Applied
                }
            })
        })
    }
}
