//! Many runs at a time: runs per second, and the gain of a second thread.

use std::{num::NonZeroUsize, ops::ControlFlow, path::Path, sync::atomic::AtomicBool, time::Duration};

use kernel::{
    experiment::sweep::{Axis, Seeds, Shard, grid},
    scenario::Scenario,
};
use sim::{
    REAL_TIME_MAX,
    calibration::Calibration,
    sweep::{Pool, Sweep, Variant},
};

use crate::rounds::{compare, processor_time_of};

/// Rounds of each number of threads.
const ROUNDS: usize = 5;

/// Measures runs of ten seconds at 10 requests a second of 64x64 images, which are among the smallest useful ones.
pub(crate) fn sweep() {
    let base = ["duration=10s", "load.rate=10", "workload.sizes=[\"64x64\"]"];
    scaling("sweep, 10 s at 10 requests/s of 64x64", &base, &[], 200);
}

/// Measures runs of thirty seconds at 50 requests a second, in a hundred variants.
pub(crate) fn grid_of_variants() {
    let base = ["duration=30s", "load.rate=50", "workload.sizes=[\"64x64\"]"];
    let axes = ["client.retry.max_attempts=1,2,3,4,5,6,7,8,9,10", "servers.workers=1,2,3,4,5,6,7,8,9,10"];
    scaling("grid, 30 s at 50 requests/s, 100 variants", &base, &axes, 1);
}

/// Compares two threads to one.
fn scaling(name: &str, settings: &[&str], axes: &[&str], seeds: u64) {
    let axes: Vec<Axis> = axes.iter().map(|axis| axis.parse().expect("an axis")).collect();
    let variants = grid(&axes).expect("a grid").into_iter().map(|varied| variant(settings, varied)).collect();
    let seeds = Seeds { start: 0, end: seeds };
    let sweep = Sweep {
        variants,
        seeds,
        shard: Shard::WHOLE,
        calibration: Calibration::default(),
        time_limit: REAL_TIME_MAX,
        app: None,
    };
    let mut cpu_of_one = Duration::MAX;
    let mut cpu_of_two = Duration::MAX;
    let (one, two) = compare(
        ROUNDS,
        || cpu_of_one = cpu_of_one.min(processor_time_of(|| run(&sweep, 1))),
        || cpu_of_two = cpu_of_two.min(processor_time_of(|| run(&sweep, 2))),
    );
    let rate_of_one = sweep.count() as f64 / one.as_secs_f64();
    let rate_of_two = sweep.count() as f64 / two.as_secs_f64();
    println!("{name}, {} runs", sweep.count());
    println!("  on one thread                          {:8.1} runs/s", rate_of_one);
    println!("  on two                                 {:8.1} runs/s", rate_of_two);
    println!("  which is, an hour                      {:8.0} runs", rate_of_two * 3_600.0);
    println!("  two threads against one                {:8.2} x", one.as_secs_f64() / two.as_secs_f64());
    println!(
        "  processor time of two against one      {:8.2} x\n",
        cpu_of_two.as_secs_f64() / cpu_of_one.as_secs_f64()
    );
}

/// The baseline scenario with these settings and those of a combination of the grid.
fn variant(settings: &[&str], varied: Vec<String>) -> Variant {
    let overrides: Vec<_> = settings.iter().map(ToString::to_string).chain(varied.clone()).collect();
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scenarios/baseline.toml");
    let scenario = Scenario::load(&path, &overrides).unwrap_or_else(|error| panic!("{error}"));
    Variant { settings: varied, scenario }
}

/// Runs the whole sweep on this number of threads.
fn run(sweep: &Sweep, jobs: usize) {
    let jobs = NonZeroUsize::new(jobs).expect("at least one");
    Pool { sweep, jobs, stop: &AtomicBool::new(false) }.run(sweep.tasks(), |_, outcome| {
        outcome.unwrap_or_else(|error| panic!("{error}"));
        ControlFlow::Continue(())
    });
}
