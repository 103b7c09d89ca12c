//! The crate of a user: the example that the README of `sim` builds up, outside of this workspace.

use std::{collections::BTreeSet, fs, path::PathBuf};

use crate::command::program;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(file: &str) -> String {
    let path = root().join(file);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Builds the crate and runs its tests, which play it in the simulation and on real processes, with the tests' own compiler settings so
/// that dependencies are compiled once.
#[test]
fn the_crate_of_a_user_passes_its_tests() {
    let folder = root().join("sim/examples/shop");
    let manifest = read("Cargo.toml");
    // The profiles are the last tables of the manifest, and a configuration of cargo may have the same.
    let profiles = manifest.find("[profile.").map(|start| &manifest[start..]).expect("the workspace has profiles");
    let config = tempfile::NamedTempFile::with_suffix(".toml").expect("there is room for a file");
    fs::write(config.path(), profiles).expect("there is room for a file");
    let target = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("..");
    let mut cargo = program(env!("CARGO"));
    // `cargo fetch` brings all of its packages. Some are compiled for no target of the workspace, and a build brings them only now.
    cargo.args(["test", "--locked", "--config"]).arg(config.path()).current_dir(folder);
    // Its own configuration and that of this repository would add the flag twice, and everything would be compiled again.
    cargo.env("RUSTFLAGS", "--cfg tokio_unstable").env("CARGO_TARGET_DIR", target);
    let ended = cargo.output().expect("cargo is there");
    let said = format!("{}{}", String::from_utf8_lossy(&ended.stdout), String::from_utf8_lossy(&ended.stderr));
    assert!(ended.status.success(), "{said}");
    assert!(said.contains("test a_wrong_reply_is_named_with_its_order ... ok"), "{said}");
}

/// Returns the packages of a lock file, with their versions and checksums. Those of this repository have no checksum.
fn locked(file: &str) -> BTreeSet<String> {
    let text = read(file);
    let packages =
        text.split("[[package]]\n").map(|package| package.split("dependencies = [").next().unwrap_or_default().trim());
    packages.filter(|package| package.contains("checksum = ")).map(str::to_owned).collect()
}

#[test]
fn the_packages_of_the_crate_are_among_those_of_the_workspace() {
    let workspace = locked("Cargo.lock");
    let others: Vec<_> = locked("sim/examples/shop/Cargo.lock").difference(&workspace).cloned().collect();
    assert!(others.is_empty(), "the workspace does not fetch {others:#?}");
}

#[test]
fn the_readme_shows_the_files_of_the_crate() {
    let readme = read("sim/README.md");
    for file in [
        "proto/shop.proto",
        "build.rs",
        "src/lib.rs",
        "src/bin/shop-sim.rs",
        "src/bin/shop-real.rs",
        "scenarios/crash.toml",
        "scenarios/checkout.toml",
        "tests/crash.rs",
    ] {
        let text = read(&format!("sim/examples/shop/{file}"));
        assert!(readme.contains(&format!("\n{text}```\n")), "{file} is another one than in the README");
    }
    let lines = read("sim/examples/shop/tests/crash.rs").lines().count();
    assert!(lines <= 25, "the test of a crash has {lines} lines");
}
