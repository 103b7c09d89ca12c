//! The messages and services of `proto/`, as Rust that is generated from there.
//!
//! The generated files are in the repository, so that a build does not have to compile a compiler of .proto files first. A
//! test generates them again and compares.

#![allow(missing_docs, unreachable_pub, clippy::all)]

/// The Rehearsal service and its messages: `proto/rehearsal.proto`.
pub mod rehearsal {
    include!("../proto/generated/rehearsal.v1.rs");
}

/// gRPC's standard health protocol: `proto/health.proto`.
pub mod health {
    include!("../proto/generated/grpc.health.v1.rs");
}

/// gRPC's server reflection: `proto/reflection.proto`.
pub mod reflection {
    include!("../proto/generated/grpc.reflection.v1.rs");
}

/// The messages in which collectors of OpenTelemetry take metrics: `proto/otlp.proto`.
pub mod otlp {
    include!("../proto/generated/opentelemetry.proto.metrics.v1.rs");
}

/// The messages in which Prometheus reads metrics: `proto/prometheus.proto`.
pub mod prometheus {
    include!("../proto/generated/io.prometheus.client.rs");
}
