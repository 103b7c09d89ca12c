//! Makes the optimization level a variable of the compiler: no condition of `cfg` has it.

use std::env;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let level = env::var("OPT_LEVEL").expect("cargo sets it for build scripts");
    println!("cargo::rustc-env=OPT_LEVEL={level}");
}
