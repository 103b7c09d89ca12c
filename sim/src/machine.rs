//! A machine: a turmoil host, which runs the tasks of many processes.
//!
//! A step of turmoil looks at every host and at every pair of hosts, whether they have something to do or not. So there are
//! few turmoil hosts: one for the client, and one for all replicas. A process is a port, a [gate](crate::gate) and a set of
//! [tasks](crate::tasks) on one of them.

use std::{
    error::Error,
    sync::{Arc, Mutex},
};

use kernel::sync::lock;
use tokio::sync::Notify;

use crate::{
    activity::Activity,
    clock::Clock,
    host_id::{HostId, MachineId},
    turn::Turn,
};

/// The result of a host's software.
pub(crate) type Ended = Result<(), Box<dyn Error + Send + Sync>>;

/// Work that has to be done in the turn of a machine.
type Job = Box<dyn FnOnce() + Send>;

/// One machine.
pub(crate) struct Machine {
    turn: Arc<Turn>,
    jobs: Mutex<Vec<Job>>,
    has_jobs: Notify,
}

impl Machine {
    pub(crate) fn new(id: MachineId, clock: Arc<Clock>, activity: Activity) -> Arc<Self> {
        Arc::new(Self { turn: Turn::new(id, clock, activity), jobs: Mutex::default(), has_jobs: Notify::new() })
    }

    /// Runs a machine that has nothing of its own to do but the jobs that it is given.
    pub(crate) async fn run(self: Arc<Self>) -> turmoil::Result {
        let machine = self.clone();
        self.run_software(None, async move { machine.do_jobs().await }).await
    }

    /// Does the jobs that the machine is given, for ever. A machine that runs software does them in a task beside it.
    pub(crate) async fn do_jobs<T>(&self) -> T {
        loop {
            self.has_jobs.notified().await;
            let jobs = std::mem::take(&mut *lock(&self.jobs));
            jobs.into_iter().for_each(|job| job());
        }
    }

    /// Runs `software` as a task of `host`, and ends with it. It is a task like those that it spawns, so that all tasks run
    /// in the order in which they are woken.
    #[expect(clippy::disallowed_methods, reason = "turns are not behind a gate")]
    pub(crate) async fn run_software(
        &self,
        host: Option<HostId>,
        software: impl Future<Output = Ended> + Send + 'static,
    ) -> turmoil::Result {
        tokio::spawn(self.turn.clone().go_on());
        tokio::spawn(self.turn.clone().counted(host, software)).await?.map_err(|error| -> Box<dyn Error> { error })
    }

    /// Does `job` in this machine's next turn, which may be later in the present step. Jobs are done in order.
    ///
    /// Sockets are opened and closed, and tasks are spawned, on the machine whose turn it is. The fault operations are
    /// applied in the client's turn, so that they have to leave to the servers' machine what concerns its processes.
    pub(crate) fn in_turn(&self, job: impl FnOnce() + Send + 'static) {
        lock(&self.jobs).push(Box::new(job));
        self.has_jobs.notify_one();
    }

    /// Spawns a task of `host`. It must be the turn of this machine.
    #[expect(clippy::disallowed_methods, reason = "this is what all others have to go through")]
    pub(crate) fn spawn(&self, host: HostId, task: impl Future<Output = ()> + Send + 'static) {
        tokio::spawn(self.turn.clone().counted(Some(host), task));
    }
}
