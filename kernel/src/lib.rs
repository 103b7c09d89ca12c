//! Everything of a rehearsal that runs in both worlds.
//!
//! The same server and client run under a simulated network or as real processes; this crate is that code, and knows
//! neither turmoil nor processes. It never asks the operating system for time, randomness, threads or sockets: it asks
//! the [`World`](world::World) it was given.
//!
//! | module | what is in it |
//! | --- | --- |
//! | [`scenario`] | scenario files: schema, validation, error messages |
//! | [`world`], [`time`], [`entropy`] | the seam: clock, network, computing, tasks; seeded randomness |
//! | [`proto`] | the gRPC services and their messages |
//! | [`workload`] | what servers compute |
//! | [`server`] | a replica: workers, queue, deadlines, health, metrics |
//! | [`client`] | the resilient client: connections, health, balancing, retries |
//! | [`policy`] | the policies that a scenario switches on: tables, state machines, their order |
//! | [`load`] | the arrival schedule and the open loop that follows it |
//! | [`link`] | the shaping layer: delay, loss, bandwidth, partitions, resets |
//! | [`nemesis`] | plays the fault timeline |
//! | [`record`] | rows of requests, attempts and events |
//! | [`measure`] | metrics, phases, recovery, the verdict |
//! | [`run_folder`] | what a run leaves on disk, written so that a failure never leaves half of it |
//! | [`experiment`] | experiments of many runs: a sweep of seeds and settings, the threshold of a setting |
//! | [`invariant`] | what holds of every run, whatever its scenario |
//! | [`memory`] | what becomes of memory that is freed |
//! | [`sync`] | locks that ignore poisoning |
//! | [`cli`] | options, exit codes and the report that is printed when a run ends |
//! | [`http2`] | flow control and limits of connections |
//! | `bug`, `planted` | bugs planted on purpose, and the macro at their places; only with the feature `canaries` |
//!
//! Without the feature `service`, which is on by default, the crate has no client, server, nemesis, load generator or gRPC, and
//! needs neither hyper nor tonic. It keeps scenarios, records, measures and experiments, which is what a program needs that only
//! reads runs.

#[cfg(feature = "canaries")]
pub mod bug;
pub mod cli;
#[cfg(feature = "service")]
pub mod client;
pub mod distribution;
pub mod entropy;
pub mod experiment;
pub mod fault;
pub mod http2;
pub mod invariant;
pub mod link;
pub mod load;
pub mod measure;
pub mod memory;
#[cfg(feature = "service")]
pub mod nemesis;
mod planted;
#[cfg_attr(not(feature = "service"), expect(dead_code, unused_imports, reason = "only the client consults policies"))]
pub mod policy;
#[cfg(feature = "service")]
pub mod proto;
pub mod record;
pub mod run_folder;
pub mod scenario;
#[cfg(feature = "service")]
pub mod server;
pub mod settings;
pub mod status;
pub mod sync;
pub mod time;
#[cfg(feature = "service")]
mod transport;
pub mod workload;
pub mod world;

/// The settings of the client. The client itself needs the feature `service`.
#[cfg(not(feature = "service"))]
pub mod client {
    pub mod settings;
}

/// The settings of the servers. The servers themselves need the feature `service`.
#[cfg(not(feature = "service"))]
pub mod server {
    pub mod settings;
}
