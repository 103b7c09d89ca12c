//! What a client sends on a connection, whose requests may have any authority.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| real::fuzzing::authority(data));
