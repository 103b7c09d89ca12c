//! Computing: the kernel really runs, and holds its worker for a modelled time.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kernel::{
    entropy::Entropy,
    workload::{Input, Job, Output},
};
use twox_hash::XxHash3_128;

use crate::calibration::Calibration;

/// Results kept at most, by their bytes.
const MEMORY_BYTES: usize = 64 * 1024 * 1024;

/// All machines' computing power.
#[derive(Debug)]
pub(crate) struct Compute {
    calibration: Calibration,
    entropy: Entropy,
    known: Mutex<Known>,
}

/// Results by workload and input, so that no kernel runs twice on the same bytes.
#[derive(Debug, Default)]
struct Known {
    outputs: BTreeMap<(&'static str, [u64; 2], u128), Output>,
    bytes: usize,
}

impl Compute {
    pub(crate) fn new(calibration: Calibration, entropy: Entropy) -> Self {
        Self { calibration, entropy, known: Mutex::default() }
    }

    /// The job's result.
    pub(crate) fn run(&self, job: &Job) -> Output {
        let Input::Image(picture) = &job.input;
        let shape = [u64::from(picture.width), u64::from(picture.height)];
        let key = (job.workload.name(), shape, XxHash3_128::oneshot(&picture.pixels));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(output) = known.outputs.get(&key) {
            return output.clone();
        }
        let output = job.run();
        let Output::Image(pixels) = &output;
        if known.bytes + pixels.len() > MEMORY_BYTES {
            *known = Known::default();
        }
        known.bytes += pixels.len();
        known.outputs.insert(key, output.clone());
        output
    }

    /// How long the job holds its worker. It depends on the seed, the request and the attempt only: variants of a
    /// scenario and other servers would have drawn the same.
    pub(crate) fn service_time(&self, job: &Job) -> Duration {
        let mut rng = self.entropy.stream_of("compute.service_time", &[job.request, u64::from(job.attempt)]);
        self.calibration.service_time(job, &mut rng)
    }

    /// A draw of how long the `start`-th process of `server` takes until it listens.
    pub(crate) fn exec_to_listen(&self, server: usize, start: u64) -> Duration {
        let mut rng = self.entropy.stream_of("process.exec_to_listen", &[server as u64, start]);
        self.calibration.process.exec_to_listen_us.sample(&mut rng)
    }
}
