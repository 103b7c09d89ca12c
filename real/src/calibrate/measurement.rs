//! Everything that the runs of a calibration measured.

use std::{collections::BTreeMap, io};

use super::{machine::MachineRuns, observed::Observed, samples::Samples};
use crate::rehearsal::RehearsalError;

/// The quantity that a kind of run measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Measures {
    /// The service time of images.
    Computing,
    /// The delays of requests whose worker waits most of its time.
    Waiting,
    /// The same delays over slower links.
    Shaped,
    /// The service time of another workload, by its name.
    Other(&'static str),
}

/// The samples of all runs, by the quantity that a run measures.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Measurement {
    /// Runs whose workers compute all the time.
    pub(super) computing: RunSamples,
    /// Runs whose workers wait most of the time.
    pub(super) waiting: RunSamples,
    /// Runs like `waiting`, over slower links.
    pub(super) shaped: RunSamples,
    /// Runs of other workloads, by the workload's name.
    pub(super) others: BTreeMap<&'static str, RunSamples>,
    /// Times of what the service of an app computes, by its name and units.
    pub(super) computed: BTreeMap<(String, u64), Samples>,
    /// Runs at several rates, which the model of the machine is fitted to.
    pub(super) machine: MachineRuns,
}

/// The samples of one kind of run.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RunSamples {
    /// Lateness of the client's timers.
    pub(super) client_late: Samples,
    /// Time that a connection takes to open.
    pub(super) connect: Samples,
    /// Times of requests, by the size of their input, such as `64x64`.
    pub(super) by_size: BTreeMap<String, PathSamples>,
}

/// The samples of the parts of a request's path.
#[derive(Debug, Default, PartialEq)]
pub(super) struct PathSamples {
    /// Time between the call and the start of its worker.
    pub(super) to_server: Samples,
    /// Time that the request occupied its worker, without the configured minimum.
    pub(super) held: Samples,
    /// Time between the end of the worker and the end of the call.
    pub(super) to_client: Samples,
}

/// An error that ends a calibration without a result.
#[derive(Debug, thiserror::Error)]
pub(super) enum CalibrationError {
    /// A run failed.
    #[error(transparent)]
    Rehearsal(#[from] RehearsalError),
    /// There is no folder for the runs.
    #[error("cannot make a folder for runs: {0}")]
    Logs(#[from] io::Error),
    /// A signal asked this process to end.
    #[error("interrupted; nothing was written")]
    Signal,
}

impl Measurement {
    /// Adds the times of what the service of an app computed in a run, as a round of their own.
    pub(super) fn add_computing(&mut self, times: BTreeMap<(String, u64), Vec<f64>>) {
        for (what, times) in times {
            self.computed.entry(what).or_default().add_round(times);
        }
    }

    /// The samples of `quantity`, which a run adds to.
    pub(super) fn samples_mut(&mut self, quantity: Measures) -> &mut RunSamples {
        match quantity {
            Measures::Computing => &mut self.computing,
            Measures::Waiting => &mut self.waiting,
            Measures::Shaped => &mut self.shaped,
            Measures::Other(workload) => self.others.entry(workload).or_default(),
        }
    }
}

impl RunSamples {
    /// Adds the times of another run as a round of their own.
    pub(super) fn add(&mut self, observed: Observed) {
        self.client_late.add_round(observed.client_late);
        self.connect.add_round(observed.connect);
        for (size, path) in observed.by_size {
            let samples = self.by_size.entry(size).or_default();
            samples.to_server.add_round(path.to_server);
            samples.held.add_round(path.held);
            samples.to_client.add_round(path.to_client);
        }
    }
}
