//! A gRPC service config, after a line with the name of a method.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| kernel::fuzzing::settings::service_config(data));
