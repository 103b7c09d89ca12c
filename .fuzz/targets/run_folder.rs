//! A file of a run folder, which the first byte chooses.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static PLACE: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder can be created"));

fuzz_target!(|data: &[u8]| kernel::fuzzing::folder::run_folder(data, PLACE.path()));
