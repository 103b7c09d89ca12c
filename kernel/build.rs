//! Generates the gRPC messages, clients and servers from `proto/`, with no `protoc`. Without the feature `service` there is nothing to generate.

#[cfg(not(feature = "service"))]
fn main() {
    println!("cargo::rerun-if-changed=build.rs");
}

#[cfg(feature = "service")]
fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("cargo::rerun-if-changed=proto");
    let descriptors = protox::compile(["rehearsal.proto", "health.proto"], ["proto"])?;
    tonic_prost_build::configure()
        .build_transport(false)
        // Pixels arrive as a slice of the received message instead of a copy of it.
        .bytes(".")
        .btree_map(".")
        .compile_fds(descriptors)?;
    Ok(())
}
