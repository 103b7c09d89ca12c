//! A message to a process of a run, or to a server that was started by hand.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| real::fuzzing::control_message(data));
