//! The load process as the orchestrator has it.

use std::{collections::BTreeMap, io, net::SocketAddr, path::Path};

use kernel::scenario::Scenario;
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{ChildStdin, ChildStdout},
    sync::Mutex,
};

use crate::{
    message::{Order, Report, line},
    process::{Process, ProcessFailed},
    role::load::{LoadArgs, ROLE},
    timer::Timer,
};

const NAME: &str = "load";

/// The process that offers the load. Everything it is told, it is told in order.
pub(crate) struct Generator {
    process: Mutex<Process>,
    orders: Mutex<ChildStdin>,
    timer: Timer,
}

/// What it says, line by line.
pub(crate) type Reports = Lines<BufReader<ChildStdout>>;

impl Generator {
    /// Starts it; done when it awaits the beginning.
    pub(crate) async fn start(
        scenario: &Scenario,
        seed: u64,
        servers: BTreeMap<String, SocketAddr>,
        logs: &Path,
        timer: Timer,
    ) -> Result<(Self, Reports), ProcessFailed> {
        let words: Vec<_> = [ROLE.to_owned()].into_iter().chain(LoadArgs::words()).collect();
        let (process, streams) = Process::start(NAME, &words, logs)?;
        let mut reports = BufReader::new(streams.reports).lines();
        let generator = Self { process: Mutex::new(process), orders: Mutex::new(streams.orders), timer };
        generator.tell(&Order::Prepare { scenario: scenario.to_toml(), seed, servers }).await?;
        let ready = reports.next_line().await.ok().flatten();
        match ready.as_deref().map(serde_json::from_str::<Report>) {
            Some(Ok(Report::Ready)) => Ok((generator, reports)),
            _ => Err(generator.failure().await),
        }
    }

    /// Gives it an order.
    pub(crate) async fn tell(&self, order: &Order) -> Result<(), ProcessFailed> {
        let told = self.orders.lock().await.write_all((line(order) + "\n").as_bytes()).await;
        match told {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// What to say of it if it has ended too early.
    pub(crate) async fn failure(&self) -> ProcessFailed {
        self.process.lock().await.end(&self.timer).await
    }

    /// Kills it, whatever it is doing.
    pub(crate) async fn kill(&self) -> io::Result<()> {
        self.process.lock().await.kill().await
    }
}
