#![doc = include_str!("../README.md")]

#[cfg(feature = "service")]
pub mod app;
#[cfg(feature = "canaries")]
pub mod bug;
#[cfg(feature = "service")]
pub mod change;
pub mod cli;
#[cfg(feature = "service")]
pub mod client;
pub mod coldness;
#[cfg(feature = "service")]
mod context;
pub mod coverage;
pub mod detect;
pub mod dice;
pub mod distribution;
pub mod entropy;
pub mod experiment;
pub mod export;
pub mod fault;
pub mod fuzzing;
#[cfg(feature = "service")]
pub mod grpc;
pub mod http2;
pub mod input;
pub mod invariant;
pub mod json;
pub mod link;
pub mod load;
pub mod measure;
pub mod memory;
#[cfg(feature = "service")]
pub mod nemesis;
pub mod object_folder;
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
pub mod sizes;
pub mod slo;
pub mod status;
pub mod store;
pub mod sync;
pub mod time;
#[cfg(feature = "service")]
pub mod tls;
#[cfg(feature = "service")]
mod transport;
pub mod variation;
pub mod visible;
pub mod workload;
pub mod world;

/// The settings of the client. The client itself needs the feature `service`.
#[cfg(not(feature = "service"))]
pub mod client {
    pub mod settings;
}

/// The settings of TLS. TLS itself needs the feature `service`.
#[cfg(not(feature = "service"))]
pub mod tls {
    pub mod settings;
}

/// The settings of the servers. The servers themselves need the feature `service`.
#[cfg(not(feature = "service"))]
pub mod server {
    pub mod settings;
}
