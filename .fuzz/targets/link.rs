//! A shape of a link, and bytes that pass it.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| kernel::fuzzing::wire::link(data));
