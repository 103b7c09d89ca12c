//! Tests against a foreign gRPC stack: grpcio, which is gRPC's C-core with a Python interface, as a client and as a server.
//!
//! Most of them play one load with both clients, ours and grpcio's, on the same servers, and compare counts; none compares times.
//! `.ci/peers` installs grpcio into `target/peers` and runs them. Where it is not installed, they say on standard error that they
//! are skipped, and pass.
//!
//! | module | contents |
//! | --- | --- |
//! | `profile` | the rows of the profile table: faulty servers under each balancer, outlier detection |
//! | `endings` | connections that end: by age, by a server that drains, half-open ones |
//! | `health` | health checks of a service config |
//! | `sequences` | retries, pushback, throttling and hedging, attempt by attempt |
//! | `streams` | replies in tiles: streams that grpcio leaves, and streams that a server of grpcio breaks off |
//! | `checks` | calls of grpcio to our servers, and to a server of grpcio that should answer the same |
//! | `alerts`, `live_alerts` | alert rules, as Debian's Prometheus evaluates them: over imported runs, and while it scrapes one |
//! | `events` | event streams: a run's rows through a broker |
//! | `prometheus` | Debian's Prometheus, which scrapes a run and imports a simulated one |
//! | `redis` | Debian's Redis as the store of a cache |
//! | `tls` | TLS and mTLS with grpcio, as a client and as a server, and with `openssl s_client`, by certificates of openssl |
//! | `clients`, `servers` | both clients under one load; grpcio's server |
//! | `figures` | counts side by side |
//! | `environment` | the interpreter that finds grpcio, and its processes |

#[path = "../it/child.rs"]
#[allow(dead_code, reason = "shared with the other integration tests, which use the rest")]
mod child;
#[path = "../it/command.rs"]
mod command;
#[path = "../it/user.rs"]
#[allow(dead_code, reason = "shared with the other integration tests, which use the rest")]
mod user;

mod alerts;
mod checks;
mod clients;
mod endings;
mod environment;
#[cfg(feature = "events")]
mod events;
mod figures;
mod health;
mod live_alerts;
mod profile;
mod prometheus;
mod redis;
mod reflection;
mod sequences;
mod servers;
mod streams;
mod tls;
