//! What the functions of the C library that `sim` replaces cost a program outside of simulations.
//!
//! An app is one program for the simulation and for real processes, so its real processes have these functions, too, which pass each call
//! on. This program has them, and `not_interposed` is the same without `sim`. Both make the same calls over the loopback device, in turns of
//! some tens of milliseconds, so that a machine that is slow for a while slows both alike:
//!
//! ```console
//! $ cargo bench -p sim --bench interposed --bench not_interposed
//! ```

#[path = "interposed/calls.rs"]
mod calls;

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
    time::Duration,
};

/// Makes a process the one that is measured.
const MEASURED: &str = "REHEARSAL_BENCH_MEASURED";

/// What a round costs: nanoseconds of processor time for each call, and for each reading of the clock.
type Costs = [f64; 2];

/// Rounds before those that count.
const WARM_UP: usize = 10;

/// Turns of both programs.
const TURNS: usize = 400;

/// The bound on what the functions add to a call, in percent.
const BOUND: f64 = 1.0;

fn main() {
    // A program has the functions if it names something of `sim`. No date is moved by it.
    sim::shift_date(Duration::ZERO);
    if env::var_os(MEASURED).is_some() {
        return calls::serve_rounds();
    }
    let own = env::current_exe().expect("a process knows its program");
    let Some(other) = other_program(&own) else {
        println!("there is no program without the functions; name both: --bench interposed --bench not_interposed");
        return;
    };
    let mut programs = [&own, &other].map(|program| Program::start(program));
    let mut turns: Vec<[Costs; 2]> = Vec::with_capacity(TURNS);
    for turn in 0..WARM_UP + TURNS {
        let mut costs = [[0.0; 2]; 2];
        let order = if turn % 2 == 0 { [0, 1] } else { [1, 0] };
        for side in order {
            costs[side] = programs[side].round();
        }
        if turn >= WARM_UP {
            turns.push(costs);
        }
    }
    print(&turns);
}

/// Returns the newest program of the benchmark `not_interposed` beside this one.
fn other_program(own: &Path) -> Option<PathBuf> {
    let programs = own.parent()?.read_dir().ok()?.filter_map(Result::ok).filter(|entry| {
        let name = entry.file_name();
        name.to_str().is_some_and(|name| name.starts_with("not_interposed-") && !name.contains('.'))
    });
    programs.max_by_key(|entry| entry.metadata().and_then(|data| data.modified()).ok()).map(|entry| entry.path())
}

/// A program that makes rounds of calls. It ends with its standard input.
struct Program {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
}

impl Program {
    fn start(program: &Path) -> Self {
        let mut command = Command::new(program);
        command.env(MEASURED, "1").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("the program can be started");
        let input = child.stdin.take();
        let output = BufReader::new(child.stdout.take().expect("it is a pipe"));
        Self { child, input, output }
    }

    fn round(&mut self) -> Costs {
        let input = self.input.as_mut().expect("it is a pipe");
        writeln!(input, "go").expect("the program reads");
        let mut line = String::new();
        self.output.read_line(&mut line).expect("the program writes");
        let mut costs = line.split_whitespace().map(|cost| cost.parse().expect("a number"));
        std::array::from_fn(|_| costs.next().expect("two numbers"))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        drop(self.input.take());
        let _ = self.child.wait();
    }
}

/// Prints the medians over the turns.
fn print(turns: &[[Costs; 2]]) {
    let median = |of: &dyn Fn(&[Costs; 2]) -> f64| sorted(turns.iter().map(of))[turns.len() / 2];
    let shares = sorted(turns.iter().map(|[with, without]| (with[0] / without[0] - 1.0) * 100.0));
    // The interval of the median by the order of its values, of 95 %: the binomial distribution with a probability of a half.
    let half_width = (1.96 * (turns.len() as f64).sqrt() / 2.0).ceil() as usize;
    let middle = shares.len() / 2;
    println!("processor time of a program, without and with the functions that `sim` replaces");
    println!(
        "  a call over the loopback device        {:8.2} µs   {:8.2} µs",
        median(&|[_, without]| without[0]) / 1e3,
        median(&|[with, _]| with[0]) / 1e3
    );
    println!(
        "  a reading of the clock                 {:8.2} ns   {:8.2} ns",
        median(&|[_, without]| without[1]),
        median(&|[with, _]| with[1])
    );
    println!(
        "  what they add to a call                {:8.2} %    ({:.2} to {:.2} %; the bound is {BOUND} %)\n",
        shares[middle],
        shares[middle.saturating_sub(half_width)],
        shares[(middle + half_width).min(shares.len() - 1)]
    );
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<_> = values.collect();
    values.sort_unstable_by(f64::total_cmp);
    values
}
