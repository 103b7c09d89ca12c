//! The messages and services of `proto/`, generated when the crate is built.

#![allow(missing_docs, unreachable_pub, clippy::all)]

/// `proto/rehearsal.proto`
pub mod rehearsal {
    tonic::include_proto!("rehearsal.v1");
}

/// `proto/health.proto`, gRPC's standard health protocol
pub mod health {
    tonic::include_proto!("grpc.health.v1");
}
