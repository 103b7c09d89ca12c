//! The generated code in the repository is that of the .proto files.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use tempfile::TempDir;

/// Set to any value, it makes the test write the generated code into the repository.
const GENERATE: &str = "GENERATE";

/// Returns the folder of the .proto files.
fn proto() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("proto")
}

/// The .proto files of services.
const FILES: [&str; 3] = ["rehearsal.proto", "health.proto", "reflection.proto"];

/// The .proto files of messages that no service has, so that reflection does not answer with them.
const MESSAGE_FILES: [&str; 2] = ["otlp.proto", "prometheus.proto"];

/// Generates messages, clients and servers of the .proto files in `folder`, and their descriptors, which reflection answers with.
fn generate(folder: &Path) {
    let files: Vec<_> = FILES.into_iter().chain(MESSAGE_FILES).collect();
    let descriptors = protox::compile(files, [proto()]).unwrap();
    // With the names of the files and without their comments.
    let bare = protox::Compiler::new([proto()])
        .unwrap()
        .include_source_info(false)
        .open_files(FILES)
        .unwrap()
        .encode_file_descriptor_set();
    fs::write(folder.join("descriptors.bin"), bare).unwrap();
    tonic_prost_build::configure()
        .build_transport(false)
        // Pixels arrive as a slice of the received message instead of a copy of it.
        .bytes(".")
        .btree_map(".")
        .out_dir(folder)
        .compile_fds(descriptors)
        .unwrap();
}

#[test]
fn the_generated_code_is_that_of_the_proto_files() {
    let kept = proto().join("generated");
    if env::var_os(GENERATE).is_some() {
        generate(&kept);
    }
    let fresh = TempDir::new().unwrap();
    generate(fresh.path());
    let mut names: Vec<_> = fs::read_dir(fresh.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(
        names,
        [
            "descriptors.bin",
            "grpc.health.v1.rs",
            "grpc.reflection.v1.rs",
            "io.prometheus.client.rs",
            "opentelemetry.proto.metrics.v1.rs",
            "rehearsal.v1.rs"
        ]
    );
    for name in names {
        assert!(
            fs::read(fresh.path().join(&name)).unwrap() == fs::read(kept.join(&name)).unwrap_or_default(),
            "{} is not what the .proto files say: GENERATE=1 cargo test -p kernel --test it generated",
            kept.join(&name).display()
        );
    }
}
