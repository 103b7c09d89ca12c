//! The command line of `real inject`.

use std::time::Duration;

use clap::{Args, Subcommand};
use kernel::{
    cli::{help::NO_VERDICT, help_sections},
    link::{Selection, Shape},
    scenario::{Direction, bandwidth, duration},
    server::{InjectedErrors, Injection},
    status::Code,
};

use super::command::{Command, InjectedFault};
use crate::option;

/// Options of `real inject`.
#[derive(Debug, Clone, Args)]
#[command(subcommand_help_heading = "Faults", subcommand_value_name = "FAULT", disable_help_subcommand = true)]
pub struct InjectArgs {
    #[command(subcommand)]
    fault: FaultArgs,
}

#[derive(Debug, Clone, Subcommand)]
enum FaultArgs {
    /// Kills the process (SIGKILL); nothing starts it again.
    #[command(after_long_help = help_sections(&["real inject crash server-0"], NO_VERDICT))]
    Crash(TargetArgs),
    /// Asks the process to finish its calls and to end (SIGTERM), and kills it after a grace period; nothing starts it again.
    #[command(after_long_help = help_sections(&["real inject drain server-0 --grace 5s"], NO_VERDICT))]
    Drain {
        #[command(flatten)]
        on: TargetArgs,

        /// The time that calls under way have to finish.
        #[arg(long, value_parser = option::wait, value_name = "TIME", default_value = "30s")]
        grace: Duration,
    },
    /// Stops the process (SIGSTOP) until it is resumed.
    #[command(after_long_help = help_sections(&["real inject freeze server-0 --duration 5s"], NO_VERDICT))]
    Freeze(LastingArgs),
    /// Continues a frozen process (SIGCONT).
    #[command(after_long_help = help_sections(&["real inject resume server-0"], NO_VERDICT))]
    Resume(TargetArgs),
    /// Delays every message, each way.
    #[command(after_long_help = help_sections(&["real inject delay server-0 --latency 200ms --jitter 50ms"], NO_VERDICT))]
    Delay {
        #[command(flatten)]
        lasting: LastingArgs,

        /// The delay in one direction; a round trip takes twice that.
        #[arg(long, value_parser = option::wait, value_name = "TIME", required_unless_present = "jitter")]
        latency: Option<Duration>,

        /// How far the delay varies, up and down.
        #[arg(long, value_parser = option::wait, value_name = "TIME")]
        jitter: Option<Duration>,
    },
    /// Holds all messages; they pass once the fault is lifted, as with TCP.
    #[command(after_long_help = help_sections(&["real inject partition server-0 --direction from --duration 10s"], NO_VERDICT))]
    Partition {
        #[command(flatten)]
        lasting: LastingArgs,

        /// The direction that is cut: both, to the server, or from the server.
        #[arg(long, default_value_t = Direction::Both)]
        direction: Direction,
    },
    /// Swallows all packets of the connections that are open now, while new connections work.
    #[command(alias = "half_open")]
    #[command(after_long_help = help_sections(&["real inject half-open server-0 --duration 30s"], NO_VERDICT))]
    HalfOpen(LastingArgs),
    /// Loses segments, which arrive later.
    #[command(after_long_help = help_sections(&["real inject loss server-0 --rate 0.05"], NO_VERDICT))]
    Loss {
        #[command(flatten)]
        lasting: LastingArgs,

        /// The share of the segments, from 0 to 1.
        #[arg(long, value_parser = option::share)]
        rate: f64,
    },
    /// Limits the bandwidth, each way.
    #[command(after_long_help = help_sections(&["real inject bandwidth server-0 --rate 1mbit"], NO_VERDICT))]
    Bandwidth {
        #[command(flatten)]
        lasting: LastingArgs,

        /// The bandwidth per second, such as 10mbit.
        #[arg(long, value_parser = option::bit_rate)]
        rate: u64,
    },
    /// Resets all open connections.
    #[command(after_long_help = help_sections(&["real inject reset server-0"], NO_VERDICT))]
    Reset(TargetArgs),
    /// Has a server answer calls with an error, or late.
    #[command(after_long_help = help_sections(
        &["real inject errors server-0 --rate 0.5 --status INTERNAL", "real inject errors server-0 --rate 0.1 --call-delay 200ms"],
        NO_VERDICT
    ))]
    Errors {
        #[command(flatten)]
        lasting: LastingArgs,

        /// The share of the calls, from 0 to 1.
        #[arg(long, value_parser = option::share)]
        rate: f64,

        /// The status of these calls; UNAVAILABLE unless they are delayed.
        #[arg(long, value_parser = option::failure_status)]
        status: Option<Code>,

        /// The time by which these calls are delayed.
        #[arg(long, value_parser = option::wait, value_name = "TIME")]
        call_delay: Option<Duration>,
    },
    /// Multiplies the service times of a server.
    #[command(after_long_help = help_sections(&["real inject slow server-0 --factor 10"], NO_VERDICT))]
    Slow {
        #[command(flatten)]
        lasting: LastingArgs,

        /// The factor, at least 1.
        #[arg(long, value_parser = option::slow_factor)]
        factor: f64,
    },
    /// Lifts all faults but a freeze, which ends with `resume`.
    #[command(after_long_help = help_sections(&["real inject heal server-0"], NO_VERDICT))]
    Heal(TargetArgs),
}

#[derive(Debug, Clone, Args)]
struct TargetArgs {
    /// The ids or ports of servers or proxies.
    #[arg(required = true, value_name = "TARGET")]
    targets: Vec<String>,

    /// The time to wait before the fault.
    #[arg(long, value_parser = option::wait, value_name = "TIME")]
    delay: Option<Duration>,
}

#[derive(Debug, Clone, Args)]
struct LastingArgs {
    #[command(flatten)]
    on: TargetArgs,

    /// The time after which the fault is lifted, or at Ctrl-C; without it, the fault lasts until `resume` or `heal`.
    #[arg(long, value_parser = option::span, value_name = "TIME")]
    duration: Option<Duration>,
}

/// A command line, as the targets, the times and the command that it stands for.
pub(super) struct InjectRequest {
    /// Targets as the user named them.
    pub(super) targets: Vec<String>,
    /// Time to wait before the command.
    pub(super) delay: Option<Duration>,
    /// Time after which the fault is reverted; `None` if it lasts.
    pub(super) duration: Option<Duration>,
    /// The action on each target.
    pub(super) command: Command,
}

impl InjectArgs {
    /// The request that the options stand for.
    pub(super) fn request(&self) -> InjectRequest {
        let (TargetArgs { targets, delay }, duration) = self.fault.targets();
        InjectRequest { targets: targets.clone(), delay: *delay, duration, command: self.fault.command() }
    }
}

impl FaultArgs {
    fn targets(&self) -> (&TargetArgs, Option<Duration>) {
        match self {
            Self::Crash(on) | Self::Drain { on, .. } | Self::Resume(on) | Self::Reset(on) | Self::Heal(on) => {
                (on, None)
            }
            Self::Freeze(lasting)
            | Self::HalfOpen(lasting)
            | Self::Delay { lasting, .. }
            | Self::Partition { lasting, .. }
            | Self::Loss { lasting, .. }
            | Self::Bandwidth { lasting, .. }
            | Self::Errors { lasting, .. }
            | Self::Slow { lasting, .. } => (&lasting.on, lasting.duration),
        }
    }

    fn command(&self) -> Command {
        let none = Shape::default();
        let fault = match *self {
            Self::Crash(_) => return Command::Crash,
            Self::Drain { grace, .. } => return Command::Drain { grace },
            Self::Freeze(_) => return Command::Freeze,
            Self::Resume(_) => return Command::Resume,
            Self::Reset(_) => return Command::Reset,
            Self::Heal(_) => return Command::Heal,
            Self::Delay { latency, jitter, .. } => {
                let latency = latency.unwrap_or_default();
                let jitter = jitter.unwrap_or_default();
                let spread = if jitter.is_zero() { String::new() } else { format!(" ± {}", duration::text(jitter)) };
                let text = format!("delay {}{spread} each way", duration::text(latency));
                InjectedFault::on_link("delay", Shape { latency, jitter, ..none }, text)
            }
            Self::Partition { direction, .. } => {
                let cut_to = matches!(direction, Direction::Both | Direction::To);
                let cut_from = matches!(direction, Direction::Both | Direction::From);
                let text = format!("partition ({direction})");
                InjectedFault::on_link("partition", Shape { cut_to, cut_from, ..none }, text)
            }
            Self::HalfOpen(_) => {
                let shape = Shape { cut_to: true, cut_from: true, ..none };
                let fault = InjectedFault::on_link("half_open", shape, "half-open connections".to_owned());
                InjectedFault { connections: Some(Selection::OpenAtStart), ..fault }
            }
            Self::Loss { rate, .. } => {
                let text = format!("loss of {} %", rate * 100.0);
                InjectedFault::on_link("loss", Shape { loss: rate, ..none }, text)
            }
            Self::Bandwidth { rate, .. } => {
                let text = format!("bandwidth {}", bandwidth::text(rate));
                InjectedFault::on_link("bandwidth", Shape { bandwidth: Some(rate), ..none }, text)
            }
            Self::Errors { rate, status, call_delay, .. } => {
                let status = status.or(call_delay.is_none().then_some(Code::Unavailable));
                let delay = call_delay.unwrap_or_default();
                // There is no fault index to seed the draws with, as in a scenario. Two faults of the same rate on one
                // server therefore fail the same calls.
                let errors = vec![InjectedErrors { fault: 0, rate, status, delay }];
                let late = call_delay.map(|delay| format!("{} late", duration::text(delay)));
                let failed = status.map(|status| status.to_string());
                let what: Vec<_> = late.into_iter().chain(failed).collect();
                let text = format!("{} for {} % of the calls", what.join(", then "), rate * 100.0);
                InjectedFault::on_server("errors", Injection { errors, ..Injection::default() }, text)
            }
            Self::Slow { factor, .. } => {
                let text = format!("{factor} times as slow");
                InjectedFault::on_server("slow", Injection { slow: factor, ..Injection::default() }, text)
            }
        };
        Command::Inject(fault)
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

    fn request(words: &str) -> Result<InjectRequest, clap::Error> {
        Line::try_parse_from(["inject"].into_iter().chain(words.split(' '))).map(|line| line.inject.request())
    }

    /// The fault that the command line injects.
    fn fault(words: &str) -> InjectedFault {
        match request(words).unwrap().command {
            Command::Inject(fault) => fault,
            command => panic!("{command:?}"),
        }
    }

    #[test]
    fn delay_is_the_wait_before_a_fault_and_latency_is_the_fault() {
        let words = "delay a 50052 --latency 300ms --delay 5s --duration 10s";
        let request = request(words).unwrap();
        assert_eq!((request.delay, request.duration), (Some(Duration::from_secs(5)), Some(Duration::from_secs(10))));
        assert_eq!(request.targets, ["a", "50052"]);
        let shape = Shape { latency: Duration::from_millis(300), ..Shape::default() };
        assert_eq!(fault(words), InjectedFault::on_link("delay", shape, "delay 300ms each way".to_owned()));
    }

    #[test]
    fn a_partition_cuts_the_directions_it_names() {
        let commands = ["partition a", "partition a --direction to", "partition a --direction from"];
        let cuts = commands.map(|words| (fault(words).shape.cut_to, fault(words).shape.cut_from));
        assert_eq!(cuts, [(true, true), (true, false), (false, true)]);
    }

    #[test]
    fn half_open_cuts_the_connections_that_are_open() {
        let half_open = fault("half-open a --duration 1s");
        assert_eq!((half_open.shape.cut_to, half_open.shape.cut_from), (true, true));
        assert_eq!(half_open.connections, Some(Selection::OpenAtStart));
        assert_eq!(fault("half_open a"), half_open, "the name of the kind in scenarios is another name");
        assert_eq!(fault("partition a").connections, None);
    }

    #[test]
    fn errors_and_slow_affect_the_server_and_not_the_link() {
        let [errors, slow] = ["errors a --rate 0.5 --status INTERNAL", "slow a --factor 4 --duration 1s"].map(fault);
        assert!(errors.shape == Shape::default() && slow.shape == Shape::default());
        let half = InjectedErrors { fault: 0, rate: 0.5, status: Some(Code::Internal), delay: Duration::ZERO };
        assert_eq!(errors.injection, Injection { errors: vec![half], slow: 1.0 });
        let late = InjectedErrors { status: None, delay: Duration::from_millis(200), ..half };
        assert_eq!(fault("errors a --rate 0.5 --call-delay 200ms").injection.errors, [late]);
        let unavailable = InjectedErrors { status: Some(Code::Unavailable), ..half };
        assert_eq!(fault("errors a --rate 0.5").injection.errors, [unavailable]);
        assert_eq!(slow.injection, Injection { errors: Vec::new(), slow: 4.0 });
    }

    #[test]
    fn missing_and_unknown_options_of_a_fault_are_rejected() {
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
            assert!(request(words).is_err(), "{words}");
        }
    }
}
