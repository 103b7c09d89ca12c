//! The draw of a set: load, background, client and faults of a run.

use std::fmt::Write;

use kernel::{
    detect::set::{Half, SetFault, SetRun},
    dice::{Dice, two_digits},
    scenario::FaultName,
};

/// Duration of a run with faults, in seconds.
const RUN_S: u64 = 900;

/// Duration of a run without faults, in seconds.
pub(super) const CALM_S: u64 = 43_200;

/// Number of replicas.
const REPLICAS: usize = 3;

/// The seconds of a run in which faults begin: detectors learn before, and what follows is calm again.
const STARTS_S: [f64; 2] = [330.0, 660.0];

/// The shortest and the longest fault in seconds.
const LASTS_S: [f64; 2] = [20.0, 240.0];

/// The kinds of faults: those that have an end of their own.
const KINDS: [FaultName; 8] = [
    FaultName::Crash,
    FaultName::Freeze,
    FaultName::Delay,
    FaultName::Partition,
    FaultName::Loss,
    FaultName::Reset,
    FaultName::Errors,
    FaultName::Slow,
];

/// Draws run number `run` of the set of `seed`; those from number `with_faults` on have no faults and are long.
pub(super) fn draw(seed: u64, run: u64, with_faults: u64) -> SetRun {
    let is_calm = run >= with_faults;
    let seconds = if is_calm { CALM_S } else { RUN_S };
    let mut dice = Dice::new(seed, "incidents.load", &[run]);
    let mut faults = if is_calm { Vec::new() } else { faults(seed, run) };
    faults.sort_by_key(|(fault, _)| fault.start_us);
    let mut scenario = format!("name = \"incident-{run}\"\nduration = \"{seconds}s\"\n");
    scenario += &load(&mut dice, is_calm);
    scenario += &service(&mut dice);
    faults.iter().for_each(|(_, table)| scenario += table);
    SetRun {
        run,
        half: if run.is_multiple_of(2) { Half::Tuning } else { Half::Evaluation },
        seed: Dice::new(seed, "incidents.seed", &[run]).below(1 << 31) as u64,
        duration_us: seconds * 1_000_000,
        faults: faults.into_iter().map(|(fault, _)| fault).collect(),
        scenario,
    }
}

/// Returns the load: 3 to 20 requests/s at random times, by a third more or less over a day or over the run.
fn load(dice: &mut Dice, is_calm: bool) -> String {
    let rate = two_digits(dice.spread(3.0, 20.0));
    let swing = dice.between(0.0, 0.33);
    let (stages, length_s) = if is_calm { (12, 3_600) } else { (3, 300) };
    let phase = dice.between(0.0, std::f64::consts::TAU);
    let at =
        |stage: u32| two_digits(rate * (1.0 + swing * (phase + f64::from(stage) / 24.0 * std::f64::consts::TAU).sin()));
    let mut text = format!("\n[load]\nrate = {:?}\narrivals = \"poisson\"\n", at(0));
    for stage in 1..=stages {
        write!(text, "\n[[load.stage]]\nduration = \"{length_s}s\"\nrate = {:?}\n", at(stage))
            .expect("a string takes all");
    }
    text
}

/// Returns the service and its client: a third of the services never fail by themselves, of the others up to one call in 200 does.
fn service(dice: &mut Dice) -> String {
    let failures = if dice.odds(0.33) { 0.0 } else { two_digits(dice.spread(0.0005, 0.005)) };
    let delay = two_digits(dice.spread(5.0, 50.0));
    let jitter = two_digits(dice.spread(0.1, 3.0));
    let client = dice.any(&[
        "profile = \"grpc\"\n[client.load_balancing]\npolicy = \"round_robin\"\n",
        "profile = \"resilient\"\n",
        "profile = \"resilient\"\n[client.retry]\nmax_attempts = 1\n",
    ]);
    format!(
        "\n[servers]\nreplicas = {REPLICAS}\nworkers = 8\n\n[workload]\nkind = \"backend\"\nfailure_rate = {failures:?}\n\
         delay = \"{delay:?}ms\"\n\n[network]\nlatency = \"{jitter:?}ms\"\njitter = \"{jitter:?}ms\"\n\n[client]\ndeadline = \"3s\"\n\
         attempt_timeout = \"1s\"\n{client}"
    )
}

/// Draws no fault, one, or two, which may overlap; with the table of each.
fn faults(seed: u64, run: u64) -> Vec<(SetFault, String)> {
    let mut dice = Dice::new(seed, "incidents.faults", &[run]);
    let count = dice.any(&[0, 1, 1, 1, 2]);
    (0..count).map(|number| fault(&mut Dice::new(seed, "incidents.fault", &[run, number]))).collect()
}

fn fault(dice: &mut Dice) -> (SetFault, String) {
    let kind = dice.any(&KINDS);
    let start_s = dice.between(STARTS_S[0], STARTS_S[1]).round();
    let lasts_s = dice.spread(LASTS_S[0], LASTS_S[1]).round();
    let target = match dice.below(REPLICAS + 1) {
        all if all == REPLICAS => r#"["server-0", "server-1", "server-2"]"#.to_owned(),
        one => format!("\"server-{one}\""),
    };
    let lasts = if kind == FaultName::Crash { "restart_after" } else { "duration" };
    let size = match kind {
        FaultName::Delay => format!("latency = \"{:?}ms\"\n", two_digits(dice.spread(5.0, 2_000.0))),
        FaultName::Loss => format!("rate = {:?}\n", two_digits(dice.spread(0.01, 0.5))),
        FaultName::Errors => format!("rate = {:?}\n", two_digits(dice.spread(0.01, 0.9))),
        FaultName::Slow => format!("factor = {:?}\n", two_digits(dice.spread(1.5, 50.0))),
        _ => String::new(),
    };
    let table = format!(
        "\n[[fault]]\nat = \"{start_s}s\"\nkind = \"{kind}\"\ntarget = {target}\n{lasts} = \"{lasts_s}s\"\n{size}"
    );
    let [start_us, lasts_us] = [start_s, lasts_s].map(|seconds| seconds as u64 * 1_000_000);
    (SetFault { kind: kind.to_string(), start_us, end_us: start_us + lasts_us }, table)
}
