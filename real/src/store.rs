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
    location::{Location, Resolver},
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

/// Where a Redis is named.
const OPTION: &str = "`store` in [client.cache]";

/// The number of values that a store holds, if the scenario does not say it.
const VALUES: usize = 100;

/// Where the store of a run is, as its client gets it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct StorePlace {
    /// Its host and port: an address, or a name, which can move.
    host: String,
    /// The address at which it listened when the run was prepared.
    address: SocketAddr,
    /// Whether its name may move to another machine.
    remote: RemoteArgs,
    /// The prefix of the client's keys.
    prefix: String,
    /// The user that the client logs in as; `None` is the default user of the store.
    user: Option<String>,
}

impl StorePlace {
    /// The place of a store at `found`, whose keys of this run begin with the name of the scenario, its seed, and what no other run has.
    fn of_run(scenario: &Scenario, seed: u64, found: Found) -> Self {
        let Found { host, address, remote } = found;
        let user = match scenario.store() {
            Some(StoreAddress::Redis { user, .. }) => user.clone(),
            _ => None,
        };
        let name = &scenario.name;
        let begun = facts::now();
        let pid = std::process::id();
        let prefix = format!("rehearsal:{name}:{seed}:{begun}:{pid}:{:x}:", machine_ns());
        Self { host, address, remote, prefix, user }
    }

    /// Where it is, by the name that `world` of [`access`](Self::access) has it by.
    pub(crate) fn location(&self) -> (String, Location) {
        (NAME.to_owned(), Location::known(&self.host, self.address, resolver(self.remote)))
    }

    /// How the client of `world`, which knows the store by its name, reaches it. The password is in the environment.
    pub(crate) fn access(&self, world: &SharedWorld, entropy: Entropy) -> StoreAccess {
        let password = env::var(PASSWORD).ok().filter(|password| !password.is_empty());
        let login = password.map(|password| Login { user: self.user.clone(), password });
        StoreAccess { link: Link::new(world.clone(), entropy, store::NAME), prefix: self.prefix.clone(), login }
    }
}

/// Where a store was found.
struct Found {
    host: String,
    address: SocketAddr,
    remote: RemoteArgs,
}

/// Returns what resolves the name of a store again. Without `remote` it stays on this machine: the client sends its password there.
fn resolver(remote: RemoteArgs) -> Resolver {
    Box::new(move |host| {
        let address = address(host)?;
        remote.check(OPTION, address.ip()).map_err(|failure| failure.message)?;
        Ok(address)
    })
}

/// Finds the Redis that `scenario` names; `None` if it names none.
///
/// # Errors
/// The host has no address, or one on another machine that is not allowed, or there is a user without a password.
fn redis(scenario: &Scenario, remote: RemoteArgs) -> Result<Option<Found>, Failure> {
    let Some(StoreAddress::Redis { user, host, port, .. }) = scenario.store() else { return Ok(None) };
    if user.is_some() && env::var_os(PASSWORD).is_none_or(|password| password.is_empty()) {
        let what =
            format!("`store` in [client.cache] names a user; set {PASSWORD} to the password, or leave the user out");
        return Err(Failure::wrong_input(what));
    }
    let host = if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") };
    let address = address(&host)
        .map_err(|error| Failure::wrong_input(format!("`{host}` of {OPTION} has no address: {error}")))?;
    remote.check(OPTION, address.ip())?;
    Ok(Some(Found { host, address, remote }))
}

/// Checks that the store of `scenario` may be used: one on another machine has to be allowed.
pub(crate) fn check(scenario: &Scenario, remote: RemoteArgs) -> Result<(), Failure> {
    redis(scenario, remote).map(|_| ())
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
    Ok(redis(scenario, remote)?.map(|found| StorePlace::of_run(scenario, seed, found)))
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
        remote: RemoteArgs,
        (logs, timer): (&Path, &Timer),
    ) -> Result<Option<Self>, StoreFailed> {
        let Some(named) = scenario.store() else { return Ok(None) };
        if let Some(found) = redis(scenario, remote).map_err(|failure| StoreFailed::Address(failure.message))? {
            if let Err(error) = tcp::client(found.address).await {
                let what = format!("note: {named} does not answer ({error}); without it each look-up is a miss");
                kernel::cli::complain(&what);
            }
            return Ok(Some(Self { place: StorePlace::of_run(scenario, seed, found), process: None }));
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
        let address = port.address();
        let found = Found { host: address.to_string(), address, remote };
        let place = StorePlace::of_run(scenario, seed, found);
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
    /// Its host has no address that is allowed, or there is no password for its user.
    #[error("{0}")]
    Address(String),
    /// There is no port for it.
    #[error("cannot reserve a port on the loopback device: {0}")]
    Port(#[source] io::Error),
    /// Its process did not start.
    #[error(transparent)]
    Process(#[from] ProcessFailed),
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net::Ipv4Addr, sync::Arc, time::Duration};

    use bytes::Bytes;
    use kernel::world::Stream;
    use tokio::runtime::Runtime;

    use super::*;
    use crate::{
        clock::Clock,
        host::Host,
        location::tests::{LONG, listening, named},
        tcp::Backlog,
    };

    /// The key of a value that says which store has it.
    const KEY: &str = "which";

    /// The place of a store at `host`, which is on this machine.
    fn place(host: &str, remote: RemoteArgs) -> StorePlace {
        let address = (Ipv4Addr::LOCALHOST, 6_379).into();
        StorePlace { host: host.to_owned(), address, remote, prefix: String::new(), user: None }
    }

    fn host() -> Host {
        Host::new(Clock::MACHINE, Timer::start().unwrap())
    }

    /// Sends a command over `link` on a connection of its own, and returns the answer.
    async fn ask(link: &Arc<Link>, command: &str) -> Bytes {
        let mut stream = link.connect().await.unwrap();
        let parts = command.split(' ').map(|part| format!("${}\r\n{part}\r\n", part.len())).collect::<Vec<_>>();
        let mut command = Bytes::from(format!("*{}\r\n{}", parts.len(), parts.concat()));
        while !command.is_empty() {
            poll_fn(|cx| stream.poll_write_chunk(cx, &mut command)).await.unwrap();
        }
        poll_fn(|cx| stream.poll_read_chunk(cx)).await.unwrap()
    }

    /// Serves a store at `backlog`, with `value` at [`KEY`].
    async fn serve(backlog: Backlog, value: &str) {
        let address = backlog.address().unwrap();
        let store = host().with_listener(backlog).shared();
        store.clone().spawn(Box::pin(async move { store::serve(store, 1).await.unwrap() }));
        let client = host().with_servers([(NAME.to_owned(), address)].into()).shared();
        assert_eq!(ask(&Link::new(client, Entropy::new(1), NAME), &format!("SET {KEY} {value}")).await, "+OK\r\n");
    }

    #[test]
    fn a_connection_goes_to_the_redis_that_the_name_has_now() {
        Runtime::new().unwrap().block_on(async {
            let ((before, first), (after, second)) = (listening(), listening());
            serve(before, "a").await;
            serve(after, "b").await;
            let moved = named(first, [Duration::ZERO, LONG], move |_| Ok(second));
            let stays = named(first, [LONG, LONG], |_| Err("no such host".to_owned()));
            for (location, expected) in [(stays, "a"), (moved, "b")] {
                let world = host().with_locations([(NAME.to_owned(), location)].into()).shared();
                let access = place("redis:6379", RemoteArgs::default()).access(&world, Entropy::new(1));
                assert_eq!(ask(&access.link, &format!("GET {KEY}")).await, format!("$1\r\n{expected}\r\n"));
            }
        });
    }

    #[test]
    fn the_client_has_the_name_of_a_redis() {
        let name_of = |host| place(host, RemoteArgs::default()).location().1.host().map(str::to_owned);
        assert_eq!(name_of("redis:6379"), Some("redis".to_owned()));
        assert_eq!(name_of("127.0.0.1:6379"), None);
        assert_eq!(name_of("[::1]:6379"), None);
    }

    #[test]
    fn a_name_moves_to_another_machine_only_if_those_are_allowed() {
        let elsewhere = "192.0.2.1:6379";
        assert_eq!(resolver(RemoteArgs::new(true))(elsewhere), Ok(elsewhere.parse().unwrap()));
        let refused = resolver(RemoteArgs::new(false))(elsewhere).unwrap_err();
        assert!(refused.contains("--allow-remote"), "{refused}");
        assert!(resolver(RemoteArgs::new(false))("localhost:6379").is_ok());
    }
}
