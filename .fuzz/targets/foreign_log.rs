//! A log of another program, after a line with the name of its format.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;

static PLACE: LazyLock<TempDir> = LazyLock::new(|| tempfile::tempdir().expect("a folder can be created"));

fuzz_target!(|data: &[u8]| reports::fuzzing::foreign_log(data, PLACE.path()));
