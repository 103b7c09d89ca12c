//! Computing: the workload function really runs, and occupies its worker for a time that is drawn.

use std::{collections::BTreeMap, sync::Mutex, time::Duration};

use kernel::{
    entropy::Entropy,
    sync::lock,
    workload::{Input, Job, Output},
};
use twox_hash::XxHash3_128;

use crate::calibration::Calibration;

/// Most bytes of results that are kept.
const RESULTS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The processors of all hosts.
#[derive(Debug)]
pub(crate) struct Compute {
    calibration: Calibration,
    entropy: Entropy,
    results: Mutex<Results>,
}

/// Results by workload and input, so that no workload function runs twice on the same bytes.
#[derive(Debug, Default)]
struct Results {
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

impl Compute {
    pub(crate) fn new(calibration: Calibration, entropy: Entropy) -> Self {
        Self { calibration, entropy, results: Mutex::default() }
    }

    /// Computes the job's result, or returns the one that was computed before for the same input.
    pub(crate) fn run(&self, job: &Job) -> Output {
        let key = (job.workload.name(), InputKey::new(&job.input));
        let mut results = lock(&self.results);
        if let Some(output) = results.outputs.get(&key) {
            return output.clone();
        }
        let output = job.run();
        let bytes = output.byte_count();
        // Dropping all results is rare and simple. Which ones are kept makes no difference to a run.
        if results.bytes + bytes > RESULTS_BYTES_MAX {
            *results = Results::default();
        }
        results.bytes += bytes;
        results.outputs.insert(key, output.clone());
        output
    }

    /// Draws how long the job occupies its worker. The draw depends on the seed, the request and the attempt only, so it
    /// is the same in every variant of a scenario and on every server.
    pub(crate) fn service_time(&self, job: &Job) -> Duration {
        let mut rng = self.entropy.stream_of("compute.service_time", &[job.request, u64::from(job.attempt)]);
        self.calibration.service_time(job, &mut rng)
    }

    /// Draws how long the `start`-th process of `server` takes until it listens.
    pub(crate) fn exec_to_listen(&self, server: usize, start: u64) -> Duration {
        let mut rng = self.entropy.stream_of("process.exec_to_listen", &[server as u64, start]);
        self.calibration.process.exec_to_listen_us.sample(&mut rng)
    }
}
