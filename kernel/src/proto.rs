//! The messages and services of `proto/`, generated when the crate is built.

#![allow(missing_docs, unreachable_pub, clippy::all)]

/// The Rehearsal service and its messages: `proto/rehearsal.proto`.
pub mod rehearsal {
    tonic::include_proto!("rehearsal.v1");
}

/// gRPC's standard health protocol: `proto/health.proto`.
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
