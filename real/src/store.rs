//! The store of a client's cache: a Redis of the user, or a process of the run.

use std::{env, io, net::SocketAddr, path::Path};

use kernel::{
    cli::Failure,
    entropy::Entropy,
    link::Link,
    scenario::Scenario,
    store::{self, Login, StoreAccess, StoreAddress},
    world::SharedWorld,
};
use serde::{Deserialize, Serialize};
use tokio::{io::AsyncBufReadExt, io::BufReader, sync::Mutex};

use crate::{
    clock::machine_ns,
    facts,
    message::Report,
    process::{Process, ProcessFailed},
    remote::{RemoteArgs, address},
    role::store::{ROLE, StoreArgs},
    tcp::{self, ReservedPort},
    timer::Timer,
};

/// The environment variable with the password of the store.
const PASSWORD: &str = "REHEARSAL_STORE_PASSWORD";

/// The name of the store's process.
const NAME: &str = store::NAME;

/// The number of values that a store holds, if the scenario does not say it.
const VALUES: usize = 100;

/// Where the store of a run is, as its client gets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StorePlace {
    /// The address at which it listens.
    pub(crate) address: SocketAddr,
    /// The prefix of the client's keys.
    prefix: String,
    /// The user that the client logs in as; `None` is the default user of the store.
    user: Option<String>,
}

impl StorePlace {
    /// The place of a store at `address`, whose keys of this run begin with the name of the scenario, its seed, and what no other run has.
    fn of_run(scenario: &Scenario, seed: u64, address: SocketAddr) -> Self {
        let user = match scenario.store() {
            Some(StoreAddress::Redis { user, .. }) => user.clone(),
            _ => None,
        };
        let name = &scenario.name;
        let begun = facts::now();
        let pid = std::process::id();
        let prefix = format!("rehearsal:{name}:{seed}:{begun}:{pid}:{:x}:", machine_ns());
        Self { address, prefix, user }
    }

    /// How the client of `world`, which knows the store by its name, reaches it. The password is in the environment.
    pub(crate) fn access(&self, world: &SharedWorld, entropy: Entropy) -> StoreAccess {
        let password = env::var(PASSWORD).ok().filter(|password| !password.is_empty());
        let login = password.map(|password| Login { user: self.user.clone(), password });
        StoreAccess { link: Link::new(world.clone(), entropy, store::NAME), prefix: self.prefix.clone(), login }
    }
}

/// The address of the Redis that `scenario` names; `None` if it names none.
///
/// # Errors
/// The host has no address, or there is a user without a password.
fn redis(scenario: &Scenario) -> Result<Option<SocketAddr>, Failure> {
    let Some(StoreAddress::Redis { user, host, port, .. }) = scenario.store() else { return Ok(None) };
    if user.is_some() && env::var_os(PASSWORD).is_none_or(|password| password.is_empty()) {
        let what =
            format!("`store` in [client.cache] names a user; set {PASSWORD} to the password, or leave the user out");
        return Err(Failure::wrong_input(what));
    }
    let text = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let found =
        address(&text).map_err(|error| format!("`{text}` of `store` in [client.cache] has no address: {error}"));
    found.map(Some).map_err(Failure::wrong_input)
}

/// Checks that the store of `scenario` may be used: one on another machine has to be allowed.
pub(crate) fn check(scenario: &Scenario, remote: RemoteArgs) -> Result<(), Failure> {
    match redis(scenario)? {
        Some(address) => remote.check("`store` in [client.cache]", address.ip()),
        None => Ok(()),
    }
}

/// The place of the store of a load on servers that run already, which has no processes of its own.
///
/// # Errors
/// The scenario has a store that a run would start, or one that may not be used.
pub(crate) fn of_load(scenario: &Scenario, seed: u64, remote: RemoteArgs) -> Result<Option<StorePlace>, Failure> {
    if scenario.store() == Some(&StoreAddress::Builtin) {
        return Err(Failure::wrong_input(
            "store = \"builtin\" in [client.cache] is started by runs of a scenario; name a Redis with \
             --set client.cache.store=redis://127.0.0.1:6379, or leave `store` out",
        ));
    }
    check(scenario, remote)?;
    Ok(redis(scenario)?.map(|address| StorePlace::of_run(scenario, seed, address)))
}

/// The store of a run.
pub(crate) struct RunStore {
    place: StorePlace,
    /// The process, of a store that the run has started, and its port.
    process: Option<(Mutex<Process>, ReservedPort)>,
}

impl RunStore {
    /// Finds the store of `scenario` or starts it, and waits until it listens; `None` if the scenario has none. A Redis that does not answer
    /// is no error, and is reported.
    pub(crate) async fn start(
        scenario: &Scenario,
        seed: u64,
        logs: &Path,
        timer: &Timer,
    ) -> Result<Option<Self>, StoreFailed> {
        let Some(named) = scenario.store() else { return Ok(None) };
        if let Some(address) = redis(scenario).map_err(|failure| StoreFailed::Address(failure.message))? {
            if let Err(error) = tcp::client(address).await {
                let what = format!("note: {named} does not answer ({error}); without it each look-up is a miss");
                kernel::cli::complain(&what);
            }
            return Ok(Some(Self { place: StorePlace::of_run(scenario, seed, address), process: None }));
        }
        let values = scenario.client.policies.cache.as_ref().map_or(VALUES, |cache| cache.size);
        let port = ReservedPort::any().map_err(StoreFailed::Port)?;
        let words: Vec<_> =
            [ROLE.to_owned()].into_iter().chain(StoreArgs::words(port.address().port(), values)).collect();
        let (mut process, streams) = Process::start(NAME, &words, logs)?;
        let ready = BufReader::new(streams.reports).lines().next_line().await.ok().flatten();
        if !matches!(ready.as_deref().map(serde_json::from_str::<Report>), Some(Ok(Report::Ready))) {
            return Err(process.end(timer).await.into());
        }
        let place = StorePlace::of_run(scenario, seed, port.address());
        Ok(Some(Self { place, process: Some((Mutex::new(process), port)) }))
    }

    /// Where it is.
    pub(crate) fn place(&self) -> &StorePlace {
        &self.place
    }

    /// Ends the process, if the run has started it. A Redis of the user stays as it is, and its values expire.
    pub(crate) async fn stop(&self) -> io::Result<()> {
        match &self.process {
            Some((process, _)) => process.lock().await.kill().await,
            None => Ok(()),
        }
    }
}

/// The store of a run that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreFailed {
    /// Its host has no address, or there is no password for its user.
    #[error("{0}")]
    Address(String),
    /// There is no port for it.
    #[error("cannot reserve a port on the loopback device: {0}")]
    Port(#[source] io::Error),
    /// Its process did not start.
    #[error(transparent)]
    Process(#[from] ProcessFailed),
}
