//! Results of workload functions that are used again.

use std::{collections::BTreeMap, sync::Mutex};

use twox_hash::XxHash3_128;

use super::{Input, Output, Workload};
use crate::sync::lock;

/// Most bytes of results that are kept.
const RESULTS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Results by workload and input, so that no workload function runs twice on the same bytes. It fits a simulation, where computing takes
/// no real time.
#[derive(Debug, Default)]
pub struct Results(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    outputs: BTreeMap<(&'static str, InputKey), Output>,
    bytes: usize,
}

/// Identifies an input. It has only a digest of the bytes, which is small enough to be kept and compared.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct InputKey {
    numbers: [u64; 4],
    digest: u128,
}

impl InputKey {
    fn new(input: &Input) -> Self {
        let (numbers, bytes) = input.identity();
        Self { numbers, digest: XxHash3_128::oneshot(bytes) }
    }
}

impl Results {
    /// Runs the function of `workload` on `input`, or returns the result that it had before.
    pub(super) fn get_or_run(&self, workload: &dyn Workload, input: &Input) -> Output {
        let key = (workload.name(), InputKey::new(input));
        let mut known = lock(&self.0);
        if let Some(output) = known.outputs.get(&key) {
            return output.clone();
        }
        let output = workload.run(input);
        let bytes = output.byte_count();
        // Dropping all results is rare and simple. Which ones are kept makes no difference to a run.
        if known.bytes + bytes > RESULTS_BYTES_MAX {
            *known = Known::default();
        }
        known.bytes += bytes;
        known.outputs.insert(key, output.clone());
        output
    }
}
