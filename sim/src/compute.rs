//! Computing: the kernel really runs, and holds its worker for a modelled time.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use kernel::{
    entropy::Entropy,
    workload::{Input, Job, Output, dfs::Search},
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
    outputs: BTreeMap<(&'static str, Key), Output>,
    bytes: usize,
}

/// An input, small enough to be kept and compared.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Image { width: u32, height: u32, digest: u128 },
    Search(Search),
    Data,
}

impl Key {
    fn of(input: &Input) -> Self {
        match input {
            Input::Image(picture) => Self::Image {
                width: picture.width,
                height: picture.height,
                digest: XxHash3_128::oneshot(&picture.pixels),
            },
            Input::Search(search) => Self::Search(*search),
            Input::Data => Self::Data,
        }
    }
}

impl Compute {
    pub(crate) fn new(calibration: Calibration, entropy: Entropy) -> Self {
        Self { calibration, entropy, known: Mutex::default() }
    }

    /// The job's result.
    pub(crate) fn run(&self, job: &Job) -> Output {
        let key = (job.workload.name(), Key::of(&job.input));
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(output) = known.outputs.get(&key) {
            return output.clone();
        }
        let output = job.run();
        let bytes = output.byte_count();
        if known.bytes + bytes > MEMORY_BYTES {
            *known = Known::default();
        }
        known.bytes += bytes;
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
