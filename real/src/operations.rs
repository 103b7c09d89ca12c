//! The nemesis's operations on real processes: signals, and orders to the process that has the links.

use std::{path::PathBuf, sync::Arc};

use kernel::{
    nemesis::{Effect, Operation, OperationFailed, Operations},
    world::{BoxFuture, SharedWorld},
};

use crate::{generator::Generator, message::Order, replica::Replica};

/// Does to processes and links what the nemesis says.
pub(crate) struct RealOperations {
    pub(crate) world: SharedWorld,
    pub(crate) replicas: Vec<Arc<Replica>>,
    pub(crate) generator: Arc<Generator>,
    pub(crate) logs: PathBuf,
}

impl Operations for RealOperations {
    fn apply(&self, operation: Operation) -> BoxFuture<'_, Result<Effect, OperationFailed>> {
        Box::pin(async move {
            let named = format!("{operation:?}");
            let done = match operation {
                Operation::Crash(server) => self.replicas[server].crash().await.map_err(|error| error.to_string()),
                Operation::Start(server) => {
                    self.replicas[server].start(&self.world, &self.logs).await.map_err(|error| error.to_string())
                }
                Operation::Freeze(server) => self.replicas[server].freeze().map_err(|error| error.to_string()),
                Operation::Resume(server) => self.replicas[server].resume().map_err(|error| error.to_string()),
                Operation::Shape(server, shape) => self.order(Order::Shape { server, shape }).await,
                Operation::Reset(server) => self.order(Order::Reset { server }).await,
                Operation::Inject(server, injection) => {
                    self.replicas[server].inject(injection).await.map_err(|error| error.to_string())
                }
            };
            done.map_err(|reason| OperationFailed { operation: named, reason })
        })
    }
}

impl RealOperations {
    async fn order(&self, order: Order) -> Result<Effect, String> {
        self.generator.tell(&order).await.map(|()| Effect::Applied).map_err(|error| error.to_string())
    }
}
