//! The input, the time that workers are held, and the rate.

use kernel::{
    dice::{Dice, two_digits},
    scenario::Size,
};

use super::{
    BUSY_MAX, Host,
    cost::{self, Cost, Input},
    dice_of,
    strata::{Policy, Strata, Work},
};

/// Sides of images in pixels.
const SIDES: [u32; 6] = [16, 32, 64, 128, 256, 512];

/// The fewest and the most nodes of a graph. Beyond them, answers are longer than what is measured of messages.
const NODES: [f64; 2] = [50.0, 100_000.0];

/// The most workers of a replica.
pub(super) const WORKERS_MAX: usize = 16;

/// The share of the workers that calls hold at most while all replicas serve. Otherwise a single fault would make calls wait for
/// the rest of the run.
const HELD_MAX: f64 = 0.45;

/// The load of a scenario, and what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Load {
    /// Requests per second.
    pub(super) rate: f64,
    /// The input of a request.
    pub(super) input: Input,
    /// The least time that a worker is held, in seconds; 0 for the time that the function takes.
    pub(super) held: f64,
    /// Share of the attempts that a backend fails.
    pub(super) failure_rate: f64,
    /// Share of the attempts that a backend never answers.
    pub(super) hang_rate: f64,
    /// The longest time of an attempt, in seconds.
    pub(super) attempt_timeout: f64,
    /// Attempts of a call, at most.
    pub(super) max_attempts: u32,
    /// Workers of a replica.
    pub(super) workers: usize,
    /// Processor time of an attempt: the estimate, or what was measured if that lowers the rate.
    pub(super) cost: Cost,
    /// The share of the processors that are busy by that cost, without faults.
    pub(super) busy: f64,
    /// The rate of the draw, if a calibration lowers it.
    pub(super) lowered_from: Option<f64>,
}

impl Load {
    /// Returns the mean number of attempts of a call without faults.
    pub(super) fn attempts(&self, hedges: bool) -> f64 {
        if hedges {
            return 1.1;
        }
        let unanswered = self.failure_rate + self.hang_rate;
        (0..self.max_attempts).map(|attempt| unanswered.powi(attempt as i32)).sum()
    }

    /// Returns the mean time that an attempt holds its worker, in seconds.
    pub(super) fn hold(&self) -> f64 {
        let answered = self.held.max(self.cost.computing);
        answered + self.hang_rate * self.attempt_timeout
    }
}

/// Draws the load of a scenario on that machine.
pub(super) fn draw(strata: &Strata, seed: u64, host: &Host) -> Load {
    let cores = host.cores as f64;
    let mut dice = dice_of(seed, "work", &[strata.index]);
    let hedges = strata.has(Policy::Hedging);
    let is_one = hedges || strata.has(Policy::NoRetries);
    let mut load = Load {
        rate: strata.rate,
        input: Input::Data,
        held: 0.0,
        failure_rate: 0.0,
        hang_rate: 0.0,
        attempt_timeout: (dice.spread(0.25, 2.0) / 0.05).round() * 0.05,
        max_attempts: if is_one { 1 } else { dice.any(&[2, 3, 4]) },
        workers: 1,
        cost: Input::Data.cost(),
        busy: 0.0,
        lowered_from: None,
    };
    if strata.work == Work::Backend {
        // A quarter of the backends fails never, rarely, sometimes, often.
        load.failure_rate = [0.0, 0.05, 0.2, 0.5][(strata.size * 4.0) as usize];
        // Each attempt that hangs holds a worker until its time is over.
        load.hang_rate = if strata.rate < 50.0 && dice.odds(0.5) { 0.02 } else { 0.0 };
    }
    let target = strata.busy.map(|busy| busy * cores / (strata.rate * load.attempts(hedges)));
    load.input = input(strata, target, &mut dice);
    let longest = HELD_MAX * (WORKERS_MAX * strata.servers_used()) as f64 / (strata.rate * load.attempts(hedges));
    let held = dice.spread(0.002, 0.05).min(longest);
    if strata.is_held {
        load.held = (held * 1e4).floor() / 1e4;
    }
    load.cost = load.input.cost();
    fit(&mut load, hedges, cores);
    if let Some(measured) = &host.measured {
        let drawn = load.clone();
        load.cost = measured.cost(&load.input);
        fit(&mut load, hedges, cores);
        // A machine that is not too busy plays the scenario that every other machine plays.
        load = if load.rate < drawn.rate { Load { lowered_from: Some(drawn.rate), ..load } } else { drawn };
    }
    load.workers = workers(&load, hedges, strata.servers_used(), &mut dice);
    load
}

/// Draws the input of a scenario; with a target, the largest that takes no more than `target` seconds of processor time.
fn input(strata: &Strata, target: Option<f64>, dice: &mut Dice) -> Input {
    match strata.work {
        Work::Sobel => Input::Pictures(pictures(strata.size, target, dice)),
        Work::Dfs => {
            let ratio = dice.between(1.5, 4.0);
            let nodes = match target {
                Some(target) => cost::nodes_for(target, ratio),
                None => NODES[0] * (NODES[1] / NODES[0]).powf(strata.size),
            };
            let nodes = two_digits(nodes.clamp(NODES[0], NODES[1]));
            Input::Graph { nodes: nodes as u32, edges: two_digits(nodes * ratio) as u32 }
        }
        Work::Backend => Input::Data,
    }
}

fn square(side: u32) -> Size {
    Size { width: side, height: side }
}

/// Draws one size of images, or two.
fn pictures(size: f64, target: Option<f64>, dice: &mut Dice) -> Vec<Size> {
    let other = dice.odds(0.4).then(|| dice.any(&SIDES));
    let largest = match target {
        Some(target) => {
            let mut sides = SIDES.into_iter().rev();
            sides.find(|side| Input::Pictures(vec![square(*side)]).cost().all <= target).unwrap_or(SIDES[0])
        }
        None => SIDES[(size * SIDES.len() as f64) as usize],
    };
    let mut sides = vec![largest];
    // With a target, a second size may not add to it.
    sides.extend(other.filter(|side| *side != largest && (target.is_none() || *side < largest)));
    sides.sort_unstable();
    sides.into_iter().map(square).collect()
}

/// Lowers the rate until no more than [`BUSY_MAX`] of the processors are busy, and notes how many are.
fn fit(load: &mut Load, hedges: bool, cores: f64) {
    let busy = |load: &Load| load.rate * load.attempts(hedges) * load.cost.all / cores;
    if busy(load) > BUSY_MAX {
        // Rounded down, as two digits may be more.
        load.rate = two_digits(load.rate * BUSY_MAX / busy(load) * 0.95);
    }
    load.busy = busy(load);
}

/// Draws the number of workers of a replica: as many as keep calls from waiting, or twice as many. `servers` share the calls.
fn workers(load: &Load, hedges: bool, servers: usize, dice: &mut Dice) -> usize {
    let held = load.rate * load.attempts(hedges) * load.hold() / servers as f64;
    // A call that hangs would make all others wait for the only worker.
    let least = if load.hang_rate > 0.0 { 4 } else { 1 };
    let mut numbers = [1, 2, 4, 8].into_iter();
    let enough = numbers.find(|workers| *workers >= least && held <= HELD_MAX * *workers as f64).unwrap_or(WORKERS_MAX);
    if dice.odds(0.5) { (2 * enough).min(WORKERS_MAX) } else { enough }
}
