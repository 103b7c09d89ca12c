//! The nemesis's operations in the simulation.

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use kernel::{
    link::Link,
    nemesis::{Effect, Operation, OperationFailed, Operations},
    world::BoxFuture,
};

use crate::{clock::HostId, host::Shared, net::Activity, replica::Replica};

/// Does to simulated hosts and links what the nemesis says.
pub(crate) struct SimOperations {
    pub(crate) replicas: Vec<Arc<Replica>>,
    pub(crate) links: Vec<Arc<Link>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) activity: Activity,
    pub(crate) morgue: Morgue,
}

/// Replicas that were killed and whose tasks and sockets the driver has yet to take away: turmoil cannot do it while it
/// runs a host.
#[derive(Debug, Clone, Default)]
pub(crate) struct Morgue(Arc<Mutex<Vec<usize>>>);

impl Morgue {
    pub(crate) fn take(&self) -> Vec<usize> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn add(&self, replica: usize) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(replica);
    }
}

impl SimOperations {
    /// Waits for the operating system, which is none of the nemesis's host's.
    async fn pass(&self, time: Duration) {
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
                        self.pass(self.shared.system.exit(server, self.shared.clock.now())).await;
                        self.morgue.add(server);
                    }
                    effect
                }
                Operation::Start(server) => self.replicas[server].start().await,
                Operation::Freeze(server) => self.replicas[server].freeze(),
                Operation::Resume(server) => self.replicas[server].resume(),
                Operation::Shape(server, shape) => {
                    self.links[server].set_shape(shape);
                    Effect::Applied
                }
                Operation::Inject(server, injection) => self.replicas[server].inject(injection),
                Operation::Reset(server) => {
                    self.links[server].reset();
                    Effect::Applied
                }
            })
        })
    }
}
