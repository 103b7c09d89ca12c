//! Leaks planted on purpose, to test that `sim verify` catches them. Only in builds with the feature `canaries`.
//!
//! A leak lets something of the host process into the simulation. A canary removes one protection, or does what a careless
//! dependency would. Where no dependency uses what leaks at present, a task on the client's host does: the length of its
//! sleeps depends on it.

use std::{
    env,
    hash::{BuildHasher, DefaultHasher, Hash, Hasher},
    sync::OnceLock,
    thread,
    time::Duration,
};

use clap::ValueEnum;
use futures_util::future::ready;
use kernel::world::SharedWorld;

use crate::misuse;

/// A leak that can be planted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Canary {
    /// turmoil is seeded by the operating system.
    TurmoilSeed,
    /// turmoil begins at the real wall-clock time.
    TurmoilEpoch,
    /// The branch order of a `select!` in a runtime without a seed.
    SelectOrder,
    /// `getrandom` is the operating system's, and with it the order of hash maps.
    RandomState,
    /// The wall clock is real, to the second: hyper's `date` header would show it if it were on, and log lines.
    WallClock,
    /// `std::time::Instant` is real, as h2 sees it.
    Monotonic,
    /// foldhash seeds itself from addresses.
    Addresses,
    /// A prost `map<>` field that is a hash map with random keys.
    MapField,
    /// Numbers that are counted for the whole process, such as tokio's task ids.
    TaskIds,
    /// Work on a thread of the operating system.
    SpawnBlocking,
    /// Simulations share a thread, and so its thread-local variables.
    SharedThread,
    /// Timers with the same deadline fire in the order of addresses.
    TimerTies,
    /// The environment and the working directory.
    Environment,
    /// A sleep on tokio's clock, which counts steps.
    TokioClock,
    /// A task that is spawned past the World.
    EscapedTask,
    /// A thread of the operating system.
    ForeignThread,
    /// A socket of the operating system.
    ForeignSocket,
    /// fastrand, which seeds itself from the number of the thread.
    Fastrand,
    /// The key exchange of TLS is ring's, which takes its keys from the operating system.
    RingGroup,
}

static PLANTED: OnceLock<Canary> = OnceLock::new();

/// Plants `canary` in all simulations of this process.
///
/// # Panics
/// A canary has been planted before.
pub fn plant(canary: Canary) {
    PLANTED.set(canary).expect("one canary a process");
}

/// Returns true if `canary` is planted.
pub(crate) fn is(canary: Canary) -> bool {
    PLANTED.get() == Some(&canary)
}

/// Calls `ask` on a thread that runs no simulation.
pub(crate) fn outside<T: Send>(ask: impl FnOnce() -> T + Send) -> T {
    misuse::without_refusing(|| thread::scope(|scope| scope.spawn(ask).join().expect("it does not panic")))
}

/// Returns turmoil's seed and epoch, or those that it would use by default if that leak is planted.
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "what leaks is what is planted")]
pub(crate) fn turmoil_seed_and_epoch(seed: u64, epoch: std::time::SystemTime) -> (u64, std::time::SystemTime) {
    if is(Canary::TurmoilSeed) {
        (outside(keyed), epoch)
    } else if is(Canary::TurmoilEpoch) {
        (seed, outside(std::time::SystemTime::now))
    } else {
        (seed, epoch)
    }
}

/// Sleeps over and over, for virtual times that depend on the planted leak.
pub(crate) async fn depend(world: SharedWorld) {
    loop {
        let leak = leak().await % 1_000;
        world.sleep_until(world.now() + Duration::from_millis(100) + Duration::from_micros(leak)).await;
    }
}

/// Returns a number that the planted leak decides.
#[expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "what leaks is what is planted")]
async fn leak() -> u64 {
    let Some(canary) = PLANTED.get() else { return 0 };
    match canary {
        Canary::TurmoilSeed => branches().await,
        Canary::TurmoilEpoch => turmoil::since_epoch().map_or(0, |time| time.as_micros() as u64),
        Canary::SelectOrder => outside(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.expect("a runtime without drivers can be built").block_on(branches())
        }),
        Canary::RandomState => keyed(),
        Canary::Monotonic => {
            let uptime = std::time::Instant::now();
            hash(&format!("{uptime:?}"))
        }
        Canary::Addresses => foldhash::fast::RandomState::default().hash_one("key"),
        Canary::MapField => map_field(),
        Canary::TaskIds => hash(&tokio::task::id().to_string()),
        Canary::SpawnBlocking => tokio::task::spawn_blocking(|| 1).await.unwrap_or_default(),
        Canary::SharedThread => {
            thread_local!(static COUNT: std::cell::Cell<u64> = const { std::cell::Cell::new(0) });
            COUNT.set(COUNT.get() + 1);
            COUNT.get()
        }
        Canary::Environment => hash(&(env::vars_os().count(), env::current_dir().ok())),
        Canary::WallClock => std::time::SystemTime::UNIX_EPOCH.elapsed().map_or(0, |time| time.as_secs()),
        Canary::TimerTies | Canary::RingGroup => 0,
        Canary::TokioClock => {
            tokio::time::sleep(Duration::from_millis(50)).await;
            0
        }
        Canary::EscapedTask => {
            tokio::spawn(std::future::pending::<()>());
            0
        }
        Canary::ForeignThread => thread::Builder::new().spawn(|| ()).map_or(0, |_| 1),
        Canary::ForeignSocket => std::net::UdpSocket::bind("127.0.0.1:0").map_or(0, |_| 1),
        Canary::Fastrand => fastrand::u64(..),
    }
}

/// Returns a hash with the random keys that decide the order of a hash map.
fn keyed() -> u64 {
    std::collections::hash_map::RandomState::new().hash_one("key")
}

/// Returns a hash that is the same in every process.
fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

/// Returns which of two branches `select!` takes, sixteen times, as bits.
async fn branches() -> u64 {
    let mut taken = 0;
    for _ in 0..16 {
        let branch = tokio::select! {
            () = ready(()) => 0,
            () = ready(()) => 1,
        };
        taken = 2 * taken + branch;
    }
    taken
}

/// Returns a hash of an encoded map, whose order is not decided.
#[expect(clippy::disallowed_types, reason = "prost's own default is what is planted")]
fn map_field() -> u64 {
    use prost::encoding::{hash_map, uint64};
    let map: std::collections::HashMap<u64, u64> = (0..16).map(|key| (key, key)).collect();
    let mut bytes = Vec::new();
    hash_map::encode(uint64::encode, uint64::encoded_len, uint64::encode, uint64::encoded_len, 1, &map, &mut bytes);
    hash(&bytes)
}
