//! The store of answers that clients share: a key-value server that speaks Redis's protocol (RESP2).
//!
//! `[client.cache]` keeps answers in the memory of a client, or in such a store. The client asks it over the network, within a time
//! limit of its own, and no call fails because of it: a store that is away, hangs, answers something else or is full counts as a cache
//! without the answer, and is left alone for a while after a failure.
//!
//! * [`StoreAddress`] is where the store is, as a scenario names it;
//! * `resp` has the codec, `entry` the value that is stored for an answer;
//! * `connection` is a connection whose commands are pipelined, `client` what a client makes of it;
//! * [`serve`] is a small server, which is the store in a simulation, and in real runs that have no Redis.

mod address;
#[cfg(feature = "service")]
mod client;
#[cfg(feature = "service")]
mod connection;
#[cfg(feature = "service")]
mod entry;
#[cfg(feature = "service")]
mod resp;
#[cfg(feature = "service")]
mod server;
#[cfg(all(test, feature = "service"))]
mod tests;

pub use address::StoreAddress;
#[cfg(feature = "service")]
pub use client::{Login, StoreAccess};
#[cfg(feature = "service")]
pub(crate) use client::{Store, StoreSettings};
#[cfg(feature = "service")]
pub use server::{COMMAND, serve};

/// The name of the store as a host: worlds connect to it by this name, and faults of its link have it as their target.
pub const NAME: &str = "store";
