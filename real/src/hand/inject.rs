//! `real inject`: faults on servers and proxies that run.

use std::{path::Path, pin::pin, time::Duration};

use clap::{Args, Subcommand};
use futures_util::future::{Either, select};
use kernel::{
    cli::{Exit, Failure},
    link::Shape,
    scenario::{Direction, bandwidth, duration},
    server::{InjectedErrors, Injection},
    status::Code,
    world::SharedWorld,
};
use rustix::process::Signal;
use tokio::runtime::Runtime;

use super::{
    control::{Answer, Control, Order},
    down::is_gone,
    identity::{Hold, State},
    log::say,
    registry::{Entry, Kind, Registry},
    target,
};
use crate::{clock::Clock, host::Host, interrupt::Interrupt, option, timer::Timer};

/// How long a process that was killed may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);

/// What to inject.
#[derive(Debug, Clone, Args)]
#[command(subcommand_help_heading = "Faults", subcommand_value_name = "FAULT", disable_help_subcommand = true)]
pub struct InjectArgs {
    #[command(subcommand)]
    fault: Fault,
}

#[derive(Debug, Clone, Subcommand)]
enum Fault {
    /// Kill the process (SIGKILL); nothing starts it again
    Crash(On),
    /// Stop the process (SIGSTOP), until it is resumed
    Freeze(Lasting),
    /// Let a frozen process go on (SIGCONT)
    Resume(On),
    /// Every message takes longer, each way
    Delay {
        #[command(flatten)]
        lasting: Lasting,

        /// How much longer; of a round trip, twice that
        #[arg(long, value_parser = option::wait, value_name = "TIME", required_unless_present = "jitter")]
        latency: Option<Duration>,

        /// How far that varies, up and down
        #[arg(long, value_parser = option::wait, value_name = "TIME")]
        jitter: Option<Duration>,
    },
    /// Nothing passes; what was sent meanwhile passes afterwards, as TCP would have it
    Partition {
        #[command(flatten)]
        lasting: Lasting,

        /// Which way: both, to the server, or from it
        #[arg(long, default_value_t = Direction::Both)]
        direction: Direction,
    },
    /// Segments are lost, and come later
    Loss {
        #[command(flatten)]
        lasting: Lasting,

        /// The share of them, from 0 to 1
        #[arg(long, value_parser = option::share)]
        rate: f64,
    },
    /// No more passes than so much, each way
    Bandwidth {
        #[command(flatten)]
        lasting: Lasting,

        /// Per second, such as 10mbit
        #[arg(long, value_parser = option::bit_rate)]
        rate: u64,
    },
    /// Reset all open connections
    Reset(On),
    /// A server answers calls with a failure
    Errors {
        #[command(flatten)]
        lasting: Lasting,

        /// The share of them, from 0 to 1
        #[arg(long, value_parser = option::share)]
        rate: f64,

        /// What they are told
        #[arg(long, value_parser = option::failure_status, default_value_t = Code::Unavailable)]
        status: Code,
    },
    /// A server takes several times as long
    Slow {
        #[command(flatten)]
        lasting: Lasting,

        /// How many times, at least 1
        #[arg(long, value_parser = option::slow_factor)]
        factor: f64,
    },
    /// Lift all faults but a freeze, which ends with `resume`
    Heal(On),
}

#[derive(Debug, Clone, Args)]
struct On {
    /// Ids or ports of servers or proxies
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,

    /// Wait this long before
    #[arg(long, value_parser = option::wait, value_name = "TIME")]
    delay: Option<Duration>,
}

#[derive(Debug, Clone, Args)]
struct Lasting {
    #[command(flatten)]
    on: On,

    /// Stay and lift the fault after this long, or at Ctrl-C; without it, it lasts until `resume` or `heal`
    #[arg(long, value_parser = option::span, value_name = "TIME")]
    duration: Option<Duration>,
}

/// What is done to a target.
#[derive(Debug, Clone, PartialEq)]
enum Deed {
    Crash,
    Freeze,
    Resume,
    Reset,
    Heal,
    Afflict(Affliction),
}

#[derive(Debug, Clone, PartialEq)]
struct Affliction {
    /// The kind of fault.
    kind: &'static str,
    /// What it is to the link.
    shape: Shape,
    /// What it is to a server.
    injection: Injection,
    /// All of that in words.
    what: String,
}

impl Affliction {
    fn of_link(kind: &'static str, shape: Shape, what: String) -> Deed {
        Deed::Afflict(Self { kind, shape, injection: Injection::default(), what })
    }

    fn of_server(kind: &'static str, injection: Injection, what: String) -> Deed {
        Deed::Afflict(Self { kind, shape: Shape::default(), injection, what })
    }
}

impl Fault {
    /// What it is done to, and for how long.
    fn reach(&self) -> (&On, Option<Duration>) {
        match self {
            Self::Crash(on) | Self::Resume(on) | Self::Reset(on) | Self::Heal(on) => (on, None),
            Self::Freeze(lasting)
            | Self::Delay { lasting, .. }
            | Self::Partition { lasting, .. }
            | Self::Loss { lasting, .. }
            | Self::Bandwidth { lasting, .. }
            | Self::Errors { lasting, .. }
            | Self::Slow { lasting, .. } => (&lasting.on, lasting.duration),
        }
    }

    fn deed(&self) -> Deed {
        let none = Shape::default();
        match *self {
            Self::Crash(_) => Deed::Crash,
            Self::Freeze(_) => Deed::Freeze,
            Self::Resume(_) => Deed::Resume,
            Self::Reset(_) => Deed::Reset,
            Self::Heal(_) => Deed::Heal,
            Self::Delay { latency, jitter, .. } => {
                let (latency, jitter) = (latency.unwrap_or_default(), jitter.unwrap_or_default());
                let spread = if jitter.is_zero() { String::new() } else { format!(" ± {}", duration::text(jitter)) };
                let what = format!("delay {}{spread} each way", duration::text(latency));
                Affliction::of_link("delay", Shape { latency, jitter, ..none }, what)
            }
            Self::Partition { direction, .. } => {
                let cut_to = matches!(direction, Direction::Both | Direction::To);
                let cut_from = matches!(direction, Direction::Both | Direction::From);
                let what = format!("partition ({direction})");
                Affliction::of_link("partition", Shape { cut_to, cut_from, ..none }, what)
            }
            Self::Loss { rate, .. } => {
                let what = format!("loss of {} %", rate * 100.0);
                Affliction::of_link("loss", Shape { loss: rate, ..none }, what)
            }
            Self::Bandwidth { rate, .. } => {
                let what = format!("bandwidth {}", bandwidth::text(rate));
                Affliction::of_link("bandwidth", Shape { bandwidth: Some(rate), ..none }, what)
            }
            Self::Errors { rate, status, .. } => {
                // By hand there is one of them at a time, mostly; two draw alike.
                let errors = vec![InjectedErrors { fault: 0, rate, status }];
                let what = format!("{status} for {} % of the calls", rate * 100.0);
                Affliction::of_server("errors", Injection { errors, ..Injection::default() }, what)
            }
            Self::Slow { factor, .. } => {
                let what = format!("{factor} times as slow");
                Affliction::of_server("slow", Injection { slow: factor, ..Injection::default() }, what)
            }
        }
    }
}

/// Injects; with a duration, done when the fault has been lifted.
pub fn run(args: &InjectArgs) -> Result<Exit, Failure> {
    let registry = Registry::of_user()?;
    let (on, duration) = args.fault.reach();
    let targets = target::find_all(&registry.entries()?, &on.targets)?;
    let runtime = Runtime::new().map_err(Failure::run_failed)?;
    runtime.block_on(async {
        let mut interrupt = Interrupt::listen().map_err(Failure::run_failed)?;
        let world = Host::new(Clock::MACHINE, Timer::start().map_err(Failure::run_failed)?).shared();
        if let Some(delay) = on.delay {
            say(format!("in {}: {} {}", duration::text(delay), args.fault.deed().name(), on.targets.join(", ")));
            if waits(&world, delay, &mut interrupt).await.is_interrupted() {
                return Err(Failure::run_failed("interrupted before anything was injected"));
            }
        }
        let mut lifts = Vec::new();
        let mut injected = Ok(());
        for target in &targets {
            match inject(&world, target, &registry.socket(&target.id), &args.fault.deed(), duration).await {
                Ok(lift) => lifts.extend(lift),
                Err(failure) => {
                    injected = Err(failure);
                    break;
                }
            }
        }
        if let (Ok(()), Some(duration)) = (&injected, duration) {
            waits(&world, duration, &mut interrupt).await;
        }
        // What was injected with a duration before another target failed is lifted, too.
        lifts.into_iter().try_for_each(Lift::now)?;
        injected?;
        Ok(Exit::Passed)
    })
}

/// How a wait ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Waited {
    Through,
    Interrupted,
}

impl Waited {
    fn is_interrupted(self) -> bool {
        self == Self::Interrupted
    }
}

async fn waits(world: &SharedWorld, duration: Duration, interrupt: &mut Interrupt) -> Waited {
    match select(world.sleep_until(world.now() + duration), pin!(interrupt.next())).await {
        Either::Left(_) => Waited::Through,
        Either::Right(_) => Waited::Interrupted,
    }
}

impl Deed {
    fn name(&self) -> &str {
        match self {
            Self::Crash => "crash",
            Self::Freeze => "freeze",
            Self::Resume => "resume",
            Self::Reset => "reset",
            Self::Heal => "heal",
            Self::Afflict(Affliction { what, .. }) => what,
        }
    }
}

/// Does it to one target, and returns how to lift it if it has a duration.
async fn inject(
    world: &SharedWorld,
    target: &Entry,
    socket: &Path,
    deed: &Deed,
    duration: Option<Duration>,
) -> Result<Option<Lift>, Failure> {
    let id = &target.id;
    let failed = |error: String| Failure::run_failed(format!("cannot {} {id}: {error}", deed.name()));
    let process = target.process.hold().map_err(|error| failed(error.to_string()))?;
    let process = process.ok_or_else(|| failed("it has ended".to_owned()))?;
    let until = duration.map_or_else(String::new, |time| format!(" for {}", duration::text(time)));
    let signal = |signal| process.signal(signal).map_err(|error| failed(error.to_string()));
    let said = format!("{id} (pid {}): {}{until}", target.process.pid, deed.name());
    match deed {
        Deed::Crash => {
            signal(Signal::KILL)?;
            if !is_gone(&**world, &process, KILL_TIMEOUT).await {
                return Err(failed("it does not end".to_owned()));
            }
            say(said);
        }
        Deed::Freeze => {
            signal(Signal::STOP)?;
            let lifted_by =
                if duration.is_none() { format!("; `real inject resume {id}` lifts it") } else { String::new() };
            say(format!("{said}{lifted_by}"));
            return Ok(duration.map(|_| Lift::Resume(id.clone(), process)));
        }
        Deed::Resume => {
            let was_frozen = process.state() == Some(State::Frozen);
            signal(Signal::CONT)?;
            say(if was_frozen { said } else { format!("{said}; it was not frozen") });
        }
        Deed::Reset => {
            order(world, socket, &Order::Reset).await.map_err(failed)?;
            say(said);
        }
        Deed::Heal => {
            let (before, _) = order(world, socket, &Order::Heal).await.map_err(failed)?;
            let healed = if before.is_empty() { "it had no fault".to_owned() } else { before.join(", ") };
            say(format!("{said} ({healed})"));
        }
        Deed::Afflict(Affliction { kind, shape, injection, what }) => {
            if target.kind != Kind::Server && *injection != Injection::default() {
                return Err(Failure::wrong_input(format!("`{kind}` befalls calls at a server, and {id} is a proxy")));
            }
            let (kind, what) = ((*kind).to_owned(), what.clone());
            let (injection, held) = (injection.clone(), duration.is_some());
            let afflict = Order::Afflict { kind, shape: *shape, injection, what: what.clone(), held };
            let (_, control) = order(world, socket, &afflict).await.map_err(failed)?;
            let lifted_by =
                if duration.is_none() { format!("; `real inject heal {id}` lifts it") } else { String::new() };
            say(format!("{said}{lifted_by}"));
            return Ok(duration.map(|_| Lift::LetGo(id.clone(), what, control)));
        }
    }
    Ok(None)
}

/// The faults that were there before, and the connection that holds the new one.
async fn order(world: &SharedWorld, socket: &Path, order: &Order) -> Result<(Vec<String>, Control), String> {
    let told = async {
        let mut control = Control::of(socket).await?;
        let Answer::Done { before } = control.tell(world, order).await?;
        Ok((before, control))
    };
    told.await.map_err(|error: super::control::ControlError| error.to_string())
}

/// How a fault is lifted.
enum Lift {
    Resume(String, Hold),
    LetGo(String, String, Control),
}

impl Lift {
    fn now(self) -> Result<(), Failure> {
        match self {
            Self::Resume(id, process) => {
                let lives = process.signal(Signal::CONT);
                let lives = lives.map_err(|error| Failure::run_failed(format!("cannot resume {id}: {error}")))?;
                say(format!("{id}: {}", if lives { "resume" } else { "it has ended meanwhile" }));
            }
            Self::LetGo(id, what, control) => {
                drop(control);
                say(format!("{id}: {what} is over"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Debug, Parser)]
    struct Line {
        #[command(flatten)]
        inject: InjectArgs,
    }

    fn fault(words: &str) -> Result<Fault, clap::Error> {
        Line::try_parse_from(["inject"].into_iter().chain(words.split(' '))).map(|line| line.inject.fault)
    }

    #[test]
    fn delay_is_the_wait_before_a_fault_and_latency_is_what_it_adds() {
        let fault = fault("delay a 50052 --latency 300ms --delay 5s --duration 10s").unwrap();
        let (on, duration) = fault.reach();
        assert_eq!((on.delay, duration), (Some(Duration::from_secs(5)), Some(Duration::from_secs(10))));
        assert_eq!(on.targets, ["a", "50052"]);
        let shape = Shape { latency: Duration::from_millis(300), ..Shape::default() };
        assert_eq!(fault.deed(), Affliction::of_link("delay", shape, "delay 300ms each way".to_owned()));
    }

    #[test]
    fn a_partition_cuts_the_ways_it_names() {
        let cuts = |words| match fault(words).unwrap().deed() {
            Deed::Afflict(Affliction { shape, .. }) => (shape.cut_to, shape.cut_from),
            deed => panic!("{deed:?}"),
        };
        assert_eq!(cuts("partition a"), (true, true));
        assert_eq!(cuts("partition a --direction to"), (true, false));
        assert_eq!(cuts("partition a --direction from"), (false, true));
    }

    #[test]
    fn errors_and_slowness_are_of_the_server() {
        let injection = |words| match fault(words).unwrap().deed() {
            Deed::Afflict(Affliction { shape, injection, .. }) if shape == Shape::default() => injection,
            deed => panic!("{deed:?}"),
        };
        let errors = vec![InjectedErrors { fault: 0, rate: 0.5, status: Code::Internal }];
        assert_eq!(injection("errors a --rate 0.5 --status INTERNAL"), Injection { errors, slow: 1.0 });
        assert_eq!(injection("slow a --factor 4 --duration 1s"), Injection { errors: Vec::new(), slow: 4.0 });
    }

    #[test]
    fn what_a_fault_needs_and_what_it_does_not_take_is_turned_down() {
        for words in [
            "delay a",
            "errors a",
            "slow a --factor 0.5",
            "loss a",
            "loss a --rate 2",
            "bandwidth a --rate 0",
            "crash",
            "crash a --duration 1s",
        ] {
            assert!(fault(words).is_err(), "{words}");
        }
    }
}
