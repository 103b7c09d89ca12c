//! The orchestrator's view of the load process.

use std::{collections::BTreeMap, io, net::SocketAddr, path::Path};

use kernel::{entropy::branch::Branch, scenario::Scenario};
use tokio::{
    io::{AsyncBufReadExt, AsyncWriteExt, BufReader, Lines},
    process::{ChildStdin, ChildStdout},
    sync::Mutex,
};
use tracing::debug;

use crate::{
    message::{LoadCommand, Report, line},
    process::{Process, ProcessFailed},
    role::generator::{GeneratorArgs, ROLE},
    store::StorePlace,
    timer::Timer,
    tls::ProcessTls,
};

const NAME: &str = "load";

/// The process that offers the load. It carries commands out in the order in which they are sent.
pub(crate) struct Generator {
    process: Mutex<Process>,
    commands: Mutex<ChildStdin>,
    timer: Timer,
}

/// The output of the load process, line by line.
pub(crate) type Reports = Lines<BufReader<ChildStdout>>;

impl Generator {
    /// Starts the process, which measures its attempts for `metrics`, and waits until it is ready to begin.
    pub(crate) async fn start(
        scenario: &Scenario,
        (seed, branches): (u64, &[Branch]),
        (servers, tls, store): (BTreeMap<String, SocketAddr>, Option<ProcessTls>, Option<StorePlace>),
        (logs, metrics): (&Path, bool),
        timer: Timer,
    ) -> Result<(Self, Reports), ProcessFailed> {
        let words: Vec<_> = [ROLE.to_owned()].into_iter().chain(GeneratorArgs::words(metrics)).collect();
        let (process, streams) = Process::start(NAME, &words, logs)?;
        let mut reports = BufReader::new(streams.reports).lines();
        let generator = Self { process: Mutex::new(process), commands: Mutex::new(streams.commands), timer };
        let scenario = scenario.to_toml();
        let branches = branches.to_vec();
        generator.send(&LoadCommand::Prepare { scenario, seed, branches, servers, tls, store }).await?;
        let ready = reports.next_line().await.ok().flatten();
        match ready.as_deref().map(serde_json::from_str::<Report>) {
            Some(Ok(Report::Ready)) => Ok((generator, reports)),
            _ => Err(generator.failure().await),
        }
    }

    /// Sends a command. Fails if the process has ended.
    pub(crate) async fn send(&self, command: &LoadCommand) -> Result<(), ProcessFailed> {
        debug!(?command, "command to the load generator");
        let sent = self.commands.lock().await.write_all((line(command) + "\n").as_bytes()).await;
        match sent {
            Ok(()) => Ok(()),
            Err(_) => Err(self.failure().await),
        }
    }

    /// The failure of a process that has ended too early.
    pub(crate) async fn failure(&self) -> ProcessFailed {
        self.process.lock().await.end(&self.timer).await
    }

    /// Kills the process.
    pub(crate) async fn kill(&self) -> io::Result<()> {
        self.process.lock().await.kill().await
    }
}
