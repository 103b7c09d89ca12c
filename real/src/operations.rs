//! The nemesis's operations on real processes: signals, and commands to the load process, which has the links.

use std::{ops::Range, path::PathBuf, sync::Arc};

use kernel::{
    nemesis::{Effect, Operation, OperationFailed, Operations},
    scenario::Caller,
    world::{BoxFuture, SharedWorld},
};

use crate::{generator::Generator, message::LoadCommand, replica::Replica};

/// Applies operations to processes and links.
pub(crate) struct RealOperations {
    /// The orchestrator's `World`.
    pub(crate) world: SharedWorld,
    /// The replicas, by index.
    pub(crate) replicas: Vec<Arc<Replica>>,
    /// The indices of the replicas of each service, if there are several.
    pub(crate) services: Vec<Range<usize>>,
    /// The load process.
    pub(crate) generator: Arc<Generator>,
    /// Folder for the logs of processes that are started.
    pub(crate) logs: PathBuf,
}

impl Operations for RealOperations {
    fn apply(&self, operation: Operation) -> BoxFuture<'_, Result<Effect, OperationFailed>> {
        Box::pin(async move {
            let named = format!("{operation:?}");
            let done = match operation {
                Operation::Crash(server) => self.replicas[server].crash().await.map_err(|error| error.to_string()),
                Operation::Drain(server, grace) => {
                    self.replicas[server].drain(&self.world, grace).await.map_err(|error| error.to_string())
                }
                Operation::Start(server) => {
                    self.replicas[server].start(&self.world, &self.logs).await.map_err(|error| error.to_string())
                }
                Operation::Freeze(server) => self.replicas[server].freeze().map_err(|error| error.to_string()),
                Operation::Resume(server) => self.replicas[server].resume().map_err(|error| error.to_string()),
                Operation::Shape(server, Caller::Load, shape) => self.send(LoadCommand::Shape { server, shape }).await,
                Operation::Shape(server, Caller::Service(service), shape) => {
                    let callers = &self.replicas[self.services[service].clone()];
                    callers.iter().for_each(|caller| caller.shape(server, &shape));
                    Ok(Effect::Applied)
                }
                Operation::Reset(server, Caller::Service(service), fault, connections) => {
                    let callers = &self.replicas[self.services[service].clone()];
                    callers.iter().for_each(|caller| caller.reset(server, fault, connections));
                    Ok(Effect::Applied)
                }
                Operation::Reset(server, Caller::Load, fault, connections) => {
                    self.send(LoadCommand::Reset { server, fault, connections }).await
                }
                Operation::Tune(server, tuning) => {
                    self.replicas[server].tune(tuning);
                    Ok(Effect::Applied)
                }
                Operation::Inject(server, injection) => Ok(self.replicas[server].inject(injection)),
            };
            done.map_err(|reason| OperationFailed { operation: named, reason })
        })
    }
}

impl RealOperations {
    async fn send(&self, command: LoadCommand) -> Result<Effect, String> {
        self.generator.send(&command).await.map(|()| Effect::Applied).map_err(|error| error.to_string())
    }
}
